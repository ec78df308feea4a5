"""Command `tradepipe produce`: trades from a file, or sample trades, to a topic."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.input_options import InputFile
from tradepipe.cli.logs import print_status
from tradepipe.cli.options import (
    DEADLINE,
    SUBJECT,
    TOPIC,
    DeadlineSeconds,
    Format,
    MissingOptions,
    Subject,
    Topic,
    check_finite,
    option,
    refuse_lines_in_json,
)
from tradepipe.cli.produce_run import Destination, ProduceRun
from tradepipe.cli.settings import Kafka, Logs, Registry
from tradepipe.cli.terminal import echo
from tradepipe.files.drafts import write_file
from tradepipe.files.suggest import suggest_mapping
from tradepipe.files.trade_file import FileSource, TradeFile
from tradepipe.trade.samples import random_seed

app = command_line()

Count = Annotated[
    int | None, option("--count N", "Maximum number of records, of a file its first ones; unlimited if omitted.", min=1)
]
Rate = Annotated[
    float | None,
    option("--rate N", "Maximum records per second; unlimited if omitted.", min=0.001, callback=check_finite),
]
Seed = Annotated[int | None, option("--seed N", "Seed of the sample trades; random if omitted.", min=0)]
Bad = Annotated[
    float, option("--bad SHARE", "Share of invalid records, of each kind in turn.", min=0, max=1, callback=check_finite)
]
Resend = Annotated[
    float,
    option("--resend SHARE", "Share of trades to send again, as exact copies.", min=0, max=1, callback=check_finite),
]
Verbose = Annotated[
    bool, option("-v --verbose", "Print each trade that is sent.", variable="TRADEPIPE_PRODUCE_VERBOSE")
]


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
    file: InputFile | None = None,
    deadline: DeadlineSeconds = DEADLINE,
    verbose: Verbose = False,
    output: Format = "text",
    logs: Logs,
) -> None:
    """
    Send trades from a file, or generated sample trades, to a topic.

    If Kafka is unavailable the command waits; at the end it waits up to --deadline for the acknowledgements. Sending
    trades again is safe: each version of a trade is stored once.
    """
    refuse_lines_in_json(output, verbose=verbose)
    status = logs.configure(progress=True)
    if file is None:
        if bad + resend > 1:
            raise typer.BadParameter("the two shares must add up to at most 1", param_hint="'--bad', '--resend'")
    elif seed is not None or bad or resend:
        raise typer.BadParameter(
            "only valid for sample trades, without --input", param_hint="'--seed', '--bad', '--resend'"
        )
    elif file.suggest_mapping is not None:
        _write_suggestion(file.source, file.suggest_mapping)
        return
    destination = None
    if not file or not file.dry_run:
        if kafka is None or registry is None:
            raise MissingOptions(*([Kafka] if kafka is None else []), *([Registry] if registry is None else []))
        destination = Destination(kafka.config, registry, topic, subject)
    run = ProduceRun(
        destination, status=status, count=count, rate=rate, deadline=deadline, verbose=verbose, output=output
    )
    if file is None:
        run.send_samples(random_seed() if seed is None else seed, bad=bad, resend=resend)
        return
    with TradeFile(file.source, stopped=run.stopped, notify=print_status) as trades:
        run.send_file(trades)


def _write_suggestion(file: FileSource, target: str) -> None:
    text = suggest_mapping(file.path, file.form, file.mapping)
    if target == "-":
        echo(text.rstrip())
        return
    with write_file(Path(target), overwrite=None, private=False, option="--suggest-mapping") as suggestion:
        suggestion.write(text)
    command = shlex.join(["tradepipe", "produce", "--input", file.path, "--mapping", target, "--dry-run"])
    print_status(f"wrote {target}: edit it, then run: {command}")
