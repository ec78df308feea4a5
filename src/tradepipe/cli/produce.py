"""`tradepipe produce`: the trades of a file, or made-up ones, into a topic."""

from pathlib import Path
from typing import Annotated

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.input import columns as input_options
from tradepipe.cli.input.columns import ColumnMapping, form_of
from tradepipe.cli.input.trade_file import TradeFile, default_path
from tradepipe.cli.logs import configure
from tradepipe.cli.options import (
    DEADLINE,
    SUBJECT,
    TOPIC,
    DeadlineSeconds,
    LogLevel,
    OptionalBootstrapServers,
    OptionalRegistry,
    Properties,
    Subject,
    Topic,
)
from tradepipe.cli.parsing import kafka_config, missing_option
from tradepipe.cli.produce_run import Destination, ProduceRun
from tradepipe.cli.terminal import StatusLine
from tradepipe.trade.samples import random_seed

app = command_line()

Count = Annotated[
    int | None,
    typer.Option(
        "--count",
        envvar="TRADEPIPE_COUNT",
        metavar="N",
        min=1,
        help="How many records at most; until it is stopped, or the file ends, if not given.",
        show_default=False,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        envvar="TRADEPIPE_RATE",
        metavar="N",
        min=0.001,
        help="Records a second at most; as fast as can be if not given.",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        envvar="TRADEPIPE_SEED",
        metavar="N",
        min=0,
        help="The same seed makes the same trades; drawn at random if not given.",
        show_default=False,
    ),
]
Bad = Annotated[
    float,
    typer.Option(
        "--bad",
        envvar="TRADEPIPE_BAD",
        metavar="SHARE",
        min=0,
        max=1,
        help="The share of bad records, of every kind in turn.",
    ),
]
Resend = Annotated[
    float,
    typer.Option(
        "--resend",
        envvar="TRADEPIPE_RESEND",
        metavar="SHARE",
        min=0,
        max=1,
        help="The share of trades that are sent again, as exact copies.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", envvar="TRADEPIPE_VERBOSE", help="Print each trade that is sent.")
]


@app.command()
def produce(
    *,
    bootstrap_servers: OptionalBootstrapServers = None,
    registry: OptionalRegistry = None,
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
    properties: Properties = None,
    deadline: DeadlineSeconds = DEADLINE,
    verbose: Verbose = False,
    log_level: LogLevel = None,
) -> None:
    """
    Send the trades of a file, or made-up ones, and bad records if asked for.

    While Kafka is away it waits; at the end it waits for the acknowledgements, as long as --deadline says. What was
    sent before can be sent again: each version of a trade is stored once.
    """
    status = StatusLine()
    configure(log_level, usual="warning" if status.is_live else "info", status=status)
    target = None if dry_run else _target(bootstrap_servers, registry, properties, topic, subject)
    run = ProduceRun(target, status=status, count=count, rate=rate, deadline=deadline, verbose=verbose)
    if path is None:
        input_options.require_none(
            {"--format": form, "--column": columns, "--default": defaults, "--rejects": rejects, "--dry-run": dry_run},
            "it is for a file: give --input FILE too",
        )
        _require_shares(bad, resend)
        run.send_samples(random_seed() if seed is None else seed, bad=bad, resend=resend)
        return
    input_options.require_none(
        {"--seed": seed is not None, "--bad": bad, "--resend": resend}, "it is for made-up trades, not for --input"
    )
    layout = ColumnMapping(columns or (), defaults or ())
    place = _rejects(path, rejects, on_error)
    with TradeFile(path, form=form or form_of(path), layout=layout, rejects=place, stopped=run.stopped) as file:
        run.send_file(file)


def _target(
    bootstrap_servers: str | None, registry: str | None, properties: list[str] | None, topic: str, subject: str
) -> Destination:
    if bootstrap_servers is None:
        raise missing_option("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS")
    if registry is None:
        raise missing_option("--registry", "SCHEMA_REGISTRY_URL")
    return Destination(kafka_config(bootstrap_servers, properties), registry, topic, subject)


def _require_shares(bad: float, resend: float) -> None:
    if bad + resend > 1:
        raise typer.BadParameter("they are shares of all records: together at most 1", param_hint="'--bad', '--resend'")


def _rejects(path: str, rejects: Path | None, on_error: str) -> Path | None:
    if on_error == "skip":
        return rejects or default_path(path)
    input_options.require_none({"--rejects": rejects}, "it is for records that are skipped: give --on-error skip too")
    return None
