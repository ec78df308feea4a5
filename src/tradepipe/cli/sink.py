"""`tradepipe sink`: trades from a topic into PostgreSQL."""

import sys
from contextlib import nullcontext
from signal import SIGPIPE
from typing import Annotated, Any, Final

import typer

from tradepipe.cli.app import Group, command_line
from tradepipe.cli.exits import BY_SIGNAL
from tradepipe.cli.logs import configure, tell
from tradepipe.cli.offsets import GROUP, GroupName
from tradepipe.cli.offsets import app as offsets
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
from tradepipe.cli.rules import rules as loaded
from tradepipe.cli.serving import awaited
from tradepipe.cli.shared import registry_at
from tradepipe.cli.stage import served, short, spare_garbage_collection
from tradepipe.cli.stage_options import (
    Begin,
    KeyOfRecord,
    MaxRefused,
    MetricsHost,
    MetricsPort,
    Rules,
    Unknown,
    UntilEnd,
    share,
)
from tradepipe.cli.stage_options import start as begin
from tradepipe.cli.stopping import Stopping
from tradepipe.cli.terminal import Progress, StatusLine
from tradepipe.errors import TradepipeError
from tradepipe.pipeline.account import Counts
from tradepipe.pipeline.ceiling import SHARE
from tradepipe.pipeline.judge import JudgedBy
from tradepipe.pipeline.sink import Sink
from tradepipe.postgres.batch import Stored
from tradepipe.postgres.staleness import Stale

BATCH_ROWS: Final = 5_000

BatchRows = Annotated[
    int,
    typer.Option("--batch-rows", envvar="TRADEPIPE_BATCH_ROWS", metavar="N", min=1, help="Records in one transaction."),
]
WhoJudges = Annotated[
    JudgedBy,
    typer.Option(
        "--judge",
        envvar="TRADEPIPE_JUDGE",
        metavar="python|database",
        help="Who applies our rules: Python to every trade, or the table's CHECK constraints, "
        "which is faster; for a topic that was validated.",
    ),
]
OldVersions = Annotated[
    Stale,
    typer.Option(
        "--stale",
        envvar="TRADEPIPE_STALE",
        metavar="accept|refuse",
        help="A version that comes after a newer one of its trade was stored.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", envvar="TRADEPIPE_VERBOSE", help="Print each trade that is stored.")
]


class _SinkOrCommand(Group):
    """The sink itself, or a command beside it, which needs less than the sink does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] in self.commands:
            self.callback = None
            for parameter in self.params:
                parameter.required = False
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        found = super().resolve_command(ctx, args)
        if self.callback is not None:  # the sink would run, and the command after it
            ctx.fail(
                f"options of `{args[0]}` stand behind it, as in `{ctx.command_path} {args[0]} show --topic trades`"
            )
        return found


app = command_line()
app.add_typer(offsets, name="offsets")


@app.callback(invoke_without_command=True, cls=_SinkOrCommand, subcommand_metavar="[COMMAND]")
def sink(
    *,
    bootstrap_servers: BootstrapServers,
    registry: Registry,
    database: Database,
    topic: Topic = TOPIC,
    group: GroupName = GROUP,
    subject: Subject = SUBJECT,
    until_end: UntilEnd = False,
    start: Begin = "earliest",
    batch_rows: BatchRows = BATCH_ROWS,
    max_refused: MaxRefused = str(SHARE),
    unknown_fields: Unknown = "stop",
    judge: WhoJudges = "python",
    rules: Rules = None,
    record_key: KeyOfRecord = "refuse",
    stale: OldVersions = "accept",
    properties: Properties = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    verbose: Verbose = False,
    log_level: LogLevel = None,
) -> None:
    """
    Store trades, each version of each trade once; refused records are kept with their reasons.

    A part that is away is waited for. SIGINT and SIGTERM end it behind the batch in hand.
    """
    if rules and judge == "database":
        raise typer.BadParameter("they need trades, and --judge database makes none", param_hint="'--rules'")
    status = StatusLine()
    live = status.is_live and not verbose
    configure(log_level, usual="warning" if live else "info", status=status)
    printer = _Printer()
    with registry_at(registry) as client:
        storing = Sink(
            kafka_config(bootstrap_servers, properties),
            registry=client,
            database=database,
            topic=topic,
            group=group,
            subject=subject,
            start=begin(start),
            batch_rows=batch_rows,
            max_refused=share(max_refused),
            unknown_fields=unknown_fields,
            judge=judge,
            rules=loaded(rules),
            record_key=record_key,
            stale=stale,
            on_stored=printer if verbose else None,
        )
        printer.sink = storing
        stopping = Stopping(storing.stop, "stopping: the batch in hand is finished first")
        with storing, stopping, served(storing, metrics_host, metrics_port, status):
            _run(storing, None if verbose else status, until_end=until_end)
    if printer.is_cut:
        raise typer.Exit(BY_SIGNAL + SIGPIPE)


def _run(sink: Sink, status: StatusLine | None, *, until_end: bool) -> None:
    """Run it until it is done or asked to stop, and sum up; a status line, if any, shows how far it is."""
    counts = sink.counts
    progress = _progress(sink, status) if status else nullcontext()
    spare_garbage_collection()
    try:
        with progress:
            sink.run(until_end=until_end)
    except TradepipeError:
        if done(counts):
            tell(summary(counts))
        raise
    tell(summary(counts))


def _progress(sink: Sink, status: StatusLine) -> Progress:
    return Progress(status, lambda: (done(sink.counts), _telling(sink, briefly=status.is_live)), "records")


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


def _telling(sink: Sink, *, briefly: bool) -> str:
    """The same while it runs, with what is still to do and what it waits for; `briefly` fits 80 columns with a rate."""
    counts, lag = sink.counts, sink.lag
    show = short if briefly else "{:,}".format
    waiting = awaited(sink)
    numbers = [f"{show(counts.stored)} stored"]
    if not (briefly and waiting):
        numbers += [f"{show(counts.replayed)} replayed", f"{show(counts.refused.total())} refused"]
    if lag is not None:
        numbers.append(f"lag {show(lag)}")
    return (f"waiting for {waiting}: " if waiting else "") + ", ".join(numbers)


def summary(counts: Counts) -> str:
    """What a sink did, the refused by their first code."""
    codes = ", ".join(f"{code} {number:,}" for code, number in counts.refused.most_common())
    return so_far(counts) + (f": {codes}" if codes else "")
