"""`tradepipe sink`: trades from a topic into PostgreSQL."""

import logging
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from signal import SIGPIPE
from typing import Annotated, Final

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.exits import BY_SIGNAL
from tradepipe.cli.logs import configure
from tradepipe.cli.options import (
    SUBJECT,
    TOPIC,
    BootstrapServers,
    Database,
    LogLevel,
    Properties,
    Registry,
    Subject,
    Topic,
    kafka_config,
)
from tradepipe.cli.stopping import Stopping
from tradepipe.cli.terminal import Progress, StatusLine
from tradepipe.errors import TradepipeError
from tradepipe.pipeline.account import Counts
from tradepipe.pipeline.ceiling import SHARE
from tradepipe.pipeline.intake import Start
from tradepipe.pipeline.sink import Sink
from tradepipe.postgres.batch import Stored
from tradepipe.wire.admission import UnknownFields

logger = logging.getLogger(__name__)

app = command_line()

GROUP: Final = "tradepipe-sink"
BATCH_ROWS: Final = 5_000
OFF: Final = "off"

Group = Annotated[
    str,
    typer.Option(
        "--group",
        envvar="TRADEPIPE_GROUP",
        metavar="NAME",
        help="The consumer group; sinks of one group share the work.",
    ),
]
UntilEnd = Annotated[
    bool,
    typer.Option("--until-end", envvar="TRADEPIPE_UNTIL_END", help="End when all is stored that the topic holds now."),
]
Begin = Annotated[
    str,
    typer.Option(
        "--start",
        envvar="TRADEPIPE_START",
        metavar="WHERE",
        help="Where a group that is new begins: earliest, latest, or a time such as 2025-06-01T08:00:00Z.",
    ),
]
BatchRows = Annotated[
    int,
    typer.Option("--batch-rows", envvar="TRADEPIPE_BATCH_ROWS", metavar="N", min=1, help="Records in one transaction."),
]
MaxRefused = Annotated[
    str,
    typer.Option(
        "--max-refused",
        envvar="TRADEPIPE_MAX_REFUSED",
        metavar="SHARE|off",
        help="Stop when more of a partition's last 1000 records than this would be refused.",
    ),
]
Unknown = Annotated[
    UnknownFields,
    typer.Option(
        "--unknown-fields",
        envvar="TRADEPIPE_UNKNOWN_FIELDS",
        metavar="stop|drop",
        help="At a newer schema whose fields this build cannot hold: stop, or drop them for ever.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", envvar="TRADEPIPE_VERBOSE", help="Print each trade that is stored.")
]


@app.command()
def sink(
    *,
    bootstrap_servers: BootstrapServers,
    registry: Registry,
    database: Database,
    topic: Topic = TOPIC,
    group: Group = GROUP,
    subject: Subject = SUBJECT,
    until_end: UntilEnd = False,
    start: Begin = "earliest",
    batch_rows: BatchRows = BATCH_ROWS,
    max_refused: MaxRefused = str(SHARE),
    unknown_fields: Unknown = "stop",
    properties: Properties = None,
    verbose: Verbose = False,
    log_level: LogLevel = None,
) -> None:
    """
    Store trades, each version of each trade once; refused records are kept with their reasons.

    A part that is away is waited for. SIGINT and SIGTERM end it behind the batch in hand.
    """
    status = StatusLine()
    live = status.is_live and not verbose
    configure(log_level, usual="warning" if live else "info", status=status)
    printer = _Printer()
    storing = Sink(
        kafka_config(bootstrap_servers, properties),
        registry=registry,
        database=database,
        topic=topic,
        group=group,
        subject=subject,
        start=_start(start),
        batch_rows=batch_rows,
        max_refused=_share(max_refused),
        unknown_fields=unknown_fields,
        on_stored=printer if verbose else None,
    )
    printer.sink = storing
    counts = storing.counts
    progress = nullcontext() if verbose else Progress(status, lambda: (done(counts), so_far(counts)), "records")
    try:
        with storing, Stopping(storing.stop, "stopping: the batch in hand is finished first"), progress:
            storing.run(until_end=until_end)
    except TradepipeError:
        if done(counts):
            typer.echo(summary(counts), err=True)
        raise
    typer.echo(summary(counts), err=True)
    if printer.is_cut:
        raise typer.Exit(BY_SIGNAL + SIGPIPE)


class _Printer:
    """Prints what is stored, a batch at a time; stops the sink when nobody reads any more."""

    sink: Sink

    def __init__(self) -> None:
        self.is_cut = False

    def __call__(self, stored: Stored) -> None:
        try:
            sys.stdout.write(
                "".join(
                    f"Stored trade with ID {trade.trade_id} and version {trade.version}\n" for trade in stored.trades
                )
            )
            sys.stdout.flush()
        except BrokenPipeError:
            self.is_cut = True
            self.sink.stop()


def done(counts: Counts) -> int:
    """How many records a sink has dealt with."""
    return counts.stored + counts.replayed + counts.refused.total()


def so_far(counts: Counts) -> str:
    """How far a sink is."""
    return f"{counts.stored:,} stored, {counts.replayed:,} replayed, {counts.refused.total():,} refused"


def summary(counts: Counts) -> str:
    """What a sink did, the refused by their first code."""
    codes = ", ".join(f"{code} {number:,}" for code, number in counts.refused.most_common())
    return so_far(counts) + (f": {codes}" if codes else "")


def _start(text: str) -> Start:
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"it is earliest, latest, or a time such as 2025-06-01T08:00:00Z, not {text!r}", param_hint="'--start'"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _share(text: str) -> float | None:
    if text == OFF:
        return None
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise typer.BadParameter(
            f"it is a share above 0 and below 1, or {OFF}, not {text!r}", param_hint="'--max-refused'"
        )
    return share
