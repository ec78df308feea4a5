"""Command `tradepipe produce`: trades from a file, or sample trades, to a topic."""

from pathlib import Path
from typing import Annotated

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.input import columns as input_options
from tradepipe.cli.input.columns import ColumnMapping, form_of
from tradepipe.cli.input.trade_file import TradeFile, default_path
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
    columns: input_options.Columns = None,
    defaults: input_options.Defaults = None,
    on_error: input_options.OnError = "stop",
    rejects: input_options.RejectsFile = None,
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
    destination = None if dry_run else _destination(kafka, registry, topic, subject)
    run = ProduceRun(destination, status=status, count=count, rate=rate, deadline=deadline, verbose=verbose)
    if path is None:
        input_options.require_none(
            {"--format": form, "--column": columns, "--default": defaults, "--rejects": rejects, "--dry-run": dry_run},
            "only valid with --input FILE",
        )
        _require_shares(bad, resend)
        run.send_samples(random_seed() if seed is None else seed, bad=bad, resend=resend)
        return
    input_options.require_none(
        {"--seed": seed is not None, "--bad": bad, "--resend": resend}, "only valid for sample trades, without --input"
    )
    mapping = ColumnMapping(columns or (), defaults or ())
    rejects_path = _rejects_path(path, rejects, on_error)
    with TradeFile(
        path, form=form or form_of(path), mapping=mapping, rejects=rejects_path, stopped=run.stopped
    ) as file:
        run.send_file(file)


def _destination(kafka: Kafka | None, registry: Registry | None, topic: str, subject: str) -> Destination:
    if kafka is None or registry is None:
        raise MissingOptions(*([Kafka] if kafka is None else []), *([Registry] if registry is None else []))
    return Destination(kafka.config, registry, topic, subject)


def _require_shares(bad: float, resend: float) -> None:
    if bad + resend > 1:
        raise typer.BadParameter("the two shares must add up to at most 1", param_hint="'--bad', '--resend'")


def _rejects_path(path: str, rejects: Path | None, on_error: str) -> Path | None:
    if on_error == "skip":
        return rejects or default_path(path)
    input_options.require_none({"--rejects": rejects}, "only valid with --on-error skip")
    return None
