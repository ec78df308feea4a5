"""Command `tradepipe produce`: trades from a file, or sample trades, to a topic."""

from typing import Annotated

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.input import options as input_options
from tradepipe.cli.input.mapping import read_mapping
from tradepipe.cli.input.suggest import write_suggestion
from tradepipe.cli.input.trade_file import TradeFile
from tradepipe.cli.options import (
    DEADLINE,
    SUBJECT,
    TOPIC,
    DeadlineSeconds,
    MissingOptions,
    Subject,
    Topic,
    option,
)
from tradepipe.cli.produce_run import Destination, ProduceRun
from tradepipe.cli.settings import Kafka, Logs, Registry
from tradepipe.trade.samples import random_seed

app = command_line()

Count = Annotated[int | None, option("--count N", "Maximum number of records; unlimited if omitted.", min=1)]
Rate = Annotated[float | None, option("--rate N", "Maximum records per second; unlimited if omitted.", min=0.001)]
Seed = Annotated[int | None, option("--seed N", "Seed of the sample trades; random if omitted.", min=0)]
Bad = Annotated[float, option("--bad SHARE", "Share of invalid records, of each kind in turn.", min=0, max=1)]
Resend = Annotated[float, option("--resend SHARE", "Share of trades to send again, as exact copies.", min=0, max=1)]
Verbose = Annotated[bool, option("-v --verbose", "Print each trade that is sent.")]


@app.command()
def produce(
    *,
    kafka: Kafka | None = None,
    registry: Registry | None = None,
    topic: Topic = TOPIC,
    subject: Subject = SUBJECT,
    count: Count = None,
    rate: Rate = None,
    seed: Seed = None,
    bad: Bad = 0.0,
    resend: Resend = 0.0,
    path: input_options.Input = None,
    form: input_options.InputFormat = None,
    mapping_path: input_options.MappingFile = None,
    suggest_mapping: input_options.SuggestMapping = None,
    columns: input_options.Columns = None,
    defaults: input_options.Defaults = None,
    values: input_options.Values = None,
    delimiter: input_options.Delimiter = None,
    encoding: input_options.Encoding = None,
    date_format: input_options.DatesAs = None,
    time_format: input_options.TimesAs = None,
    timezone: input_options.Timezone = None,
    decimal: input_options.DecimalSign = None,
    thousands: input_options.Thousands = None,
    sheet: input_options.Sheet = None,
    trim: input_options.Trim = False,
    on_error: input_options.OnError = "stop",
    rejects: input_options.RejectsFile = None,
    overwrite: input_options.Overwrite = False,
    dry_run: input_options.DryRun = False,
    deadline: DeadlineSeconds = DEADLINE,
    verbose: Verbose = False,
    logs: Logs,
) -> None:
    """
    Send trades from a file, or generated sample trades, to a topic.

    If Kafka is unavailable the command waits; at the end it waits up to --deadline for the acknowledgements. Sending
    trades again is safe: each version of a trade is stored once.
    """
    status = logs.configure(progress=True)
    formats = {
        "delimiter": delimiter,
        "encoding": encoding,
        "date-format": date_format,
        "time-format": time_format,
        "timezone": timezone,
        "decimal": decimal,
        "thousands": thousands,
        "sheet": sheet,
        "trim": trim or None,
    }
    if path is None:
        tables = {"--column": columns, "--default": defaults, "--value": values, "--mapping": mapping_path}
        others = {"--format": form, "--suggest-mapping": suggest_mapping, "--rejects": rejects, "--dry-run": dry_run}
        given = {**tables, **others, "--overwrite": overwrite, **{f"--{key}": text for key, text in formats.items()}}
        input_options.require_none(given, "only valid with --input FILE")
        _require_shares(bad, resend)
    else:
        input_options.require_none(
            {"--seed": seed is not None, "--bad": bad, "--resend": resend},
            "only valid for sample trades, without --input",
        )
        mapping = read_mapping(mapping_path, formats, columns or (), defaults or (), values or ())
        if suggest_mapping is not None:
            write_suggestion(path, form, mapping, suggest_mapping)
            return
        if on_error == "stop":
            input_options.require_none(
                {"--rejects": rejects, "--overwrite": overwrite}, "only valid with --on-error skip"
            )
    destination = None if dry_run else _destination(kafka, registry, topic, subject)
    run = ProduceRun(destination, status=status, count=count, rate=rate, deadline=deadline, verbose=verbose)
    if path is None:
        run.send_samples(random_seed() if seed is None else seed, bad=bad, resend=resend)
        return
    with TradeFile(
        path,
        form=form,
        mapping=mapping,
        mapping_path=mapping_path,
        skips=on_error == "skip",
        rejects=rejects,
        overwrite=overwrite,
        stopped=run.stopped,
    ) as file:
        run.send_file(file)


def _destination(kafka: Kafka | None, registry: Registry | None, topic: str, subject: str) -> Destination:
    if kafka is None or registry is None:
        raise MissingOptions(*([Kafka] if kafka is None else []), *([Registry] if registry is None else []))
    return Destination(kafka.config, registry, topic, subject)


def _require_shares(bad: float, resend: float) -> None:
    if bad + resend > 1:
        raise typer.BadParameter("the two shares must add up to at most 1", param_hint="'--bad', '--resend'")
