"""Command `tradepipe demo`: the whole pipeline on embedded services."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from tradepipe.cli.app import command_line
from tradepipe.cli.exit_codes import StopOnSignal
from tradepipe.cli.load_generator import LoadGenerator, SendCounts
from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEADLINE, SUBJECT, TOPIC, LogLevel
from tradepipe.cli.produce_run import progress_text as produced_so_far
from tradepipe.cli.sink import progress_text as stored_so_far
from tradepipe.cli.terminal import Progress, StatusLine, format_table
from tradepipe.embedded.postgres import Binaries
from tradepipe.embedded.stack import LocalStack
from tradepipe.errors import ConfigurationError
from tradepipe.pipeline.sink import Sink
from tradepipe.pipeline.stats import SinkCounts
from tradepipe.postgres import migrate
from tradepipe.postgres.batch import BatchResult
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.session import create_engine_for
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.registration import register
from tradepipe.registry.serde import TradeSerializer
from tradepipe.trade.record import Refusal
from tradepipe.trade.samples import sample_stream

QUICK: Final = {"fetch.wait.max.ms": "10", "group.protocol": "consumer"}
"""By the classic group protocol the embedded broker forgets a member that left only after its session timeout."""

_VERSIONS: Final = """
SELECT count(DISTINCT trade_id), count(*) FROM trades
"""
_NEWEST: Final = """
SELECT trade_id, version, book_id, maturity_date, CASE WHEN expired THEN 'yes' ELSE 'no' END, side,
       coalesce(trim_scale(notional)::text, ''), coalesce(currency, '')
FROM current_trades ORDER BY version DESC, trade_id LIMIT 3
"""


class Findings:
    """What was sent, what was stored, and one refusal for each code."""

    def __init__(self) -> None:
        self.sent = SendCounts()
        self.stored = SinkCounts()
        self.examples: dict[str, Refusal] = {}

    def note(self, stored: BatchResult) -> None:
        """Keep the first refusal of each code."""
        for refusal in stored.refusals:
            self.examples.setdefault(refusal.codes[0], refusal)


def heading() -> None:
    """Say what is to come."""
    typer.echo("tradepipe: trades from Kafka to PostgreSQL, each version of each trade once\n")


def summary(findings: Findings, database: str) -> None:
    """Say what became of everything."""
    counts, console = findings.stored, Console()
    lines = (
        ("Produced", findings.sent.sent, "records, as bytes in Kafka"),
        ("Stored", counts.stored, "versions of trades, in the table trades"),
        ("Replayed", counts.duplicates, "trades that were sent again: nothing was written twice"),
        ("Refused", counts.refused.total(), "records, kept in trade_refusals with bytes and reasons"),
    )
    typer.echo()
    for verb, number, what in lines:
        console.print(f"[bold]{verb:<8}[/] {number:>7,} {what}", highlight=False)
    typer.echo()
    typer.echo(_refused_table(findings, console.width))
    typer.echo()
    ((trades, versions),) = _query(database, _VERSIONS)
    typer.echo(f"{trades:,} trades have {versions:,} versions; current_trades shows the newest of each:\n")
    _show(console, _newest(_query(database, _NEWEST)))


def _refused_table(findings: Findings, width: int) -> str:
    refused = sorted(findings.stored.refused.items(), key=lambda item: (-item[1], item[0]))
    rows = [(code, f"{number:,}", findings.examples[code].details[0]) for code, number in refused]
    table = format_table(("Refused as", "", "For example"), rows, left={0, 2})
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in table.splitlines())


def _newest(rows: list[tuple[Any, ...]]) -> Table:
    table = _table("trade_id", "version", "book_id", "maturity_date", "expired", "side", "notional", "currency")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    return table


def _table(*headings: str) -> Table:
    table = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    return table


def _show(console: Console, table: Table) -> None:
    """The table without the blanks rich fills the lines up with."""
    with console.capture() as captured:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _query(database: str, query: str) -> list[tuple[Any, ...]]:
    with translate_errors(), create_engine_for(database, application_name="tradepipe-demo").connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def what_next(stack: LocalStack, *, keep: bool) -> None:
    """Say what to do with the parts, if they stay up, or how to make them."""
    if not keep:
        typer.echo("\nThe parts are gone now; with --keep they stay up to look around in.")
        return
    python, psql = _format_cell("python", Path(sys.executable)), _psql()
    exports = "\n".join(f"  export {variable}={value}" for variable, value in stack.environment.items())
    typer.echo(f"""
The parts stay up until Ctrl-C. In another terminal:

{exports}
  export TRADEPIPE_KAFKA_PROPERTIES=group.protocol={QUICK["group.protocol"]}

  {python} -m tradepipe.sink -v
  {python} -m tradepipe.produce --rate 2

  {psql} $DATABASE_URL -c 'SELECT * FROM current_trades LIMIT 5'
  {python} -m tradepipe.dlq ls --limit 5
""")


def _psql() -> str:
    """A psql that is there: on the path, or beside the server's programs."""
    ours = Binaries.find().folder / "psql"
    return "psql" if shutil.which("psql") or not ours.exists() else str(ours)


def _format_cell(name: str, path: Path) -> str:
    """How to call a program from here, as short as can be."""
    on_path = shutil.which(name)
    if on_path is not None and Path(on_path) == path:
        return name
    below = Path(os.path.relpath(path))
    return str(path if below.parts[0] == ".." else below)


app = command_line()

RECORDS: Final = 10_000
SEED: Final = 0
BAD: Final = 0.03
RESEND: Final = 0.02
CHANGE: Final = 0.001

Keep = Annotated[
    bool, typer.Option("--keep", envvar="TRADEPIPE_KEEP", help="Leave the parts up afterwards, until Ctrl-C.")
]


@app.command()
def demo(*, keep: Keep = False, log_level: LogLevel = None) -> None:
    """Run the whole pipeline on a broker, a registry and a PostgreSQL of its own, and tell what became of it all."""
    status = StatusLine()
    configure(log_level, usual="error", status=status)
    run = _Run(status)
    with StopOnSignal(run.stop, "stopping: ending what was started"), ExitStack() as parts:
        stack = _start(parts)
        run.run_all(stack)
        if not run.stopped.is_set():
            what_next(stack, keep=keep)
        if keep:
            run.stopped.wait()


def _start(parts: ExitStack) -> LocalStack:
    try:
        return parts.enter_context(LocalStack())
    except (FileNotFoundError, RuntimeError) as error:  # no PostgreSQL, or one that does not start
        raise ConfigurationError(str(error)) from error


class _Run:
    """One run of the demo; `stop` ends it behind what it is doing."""

    def __init__(self, status: StatusLine) -> None:
        self.stopped = threading.Event()
        self._status = status
        self._sink: Sink | None = None
        self._began = time.monotonic()
        self._findings = Findings()

    def stop(self) -> None:
        """End soon; called by a signal."""
        self.stopped.set()
        if self._sink is not None:
            self._sink.stop()

    def run_all(self, stack: LocalStack) -> None:
        """Set the parts up, produce, store, report."""
        heading()
        self._print("a broker, a registry and a PostgreSQL are up, for this program only")
        steps: tuple[Callable[[LocalStack], None], ...] = (self._prepare, self._produce, self._store, self._report)
        for step in steps:
            if self.stopped.is_set():
                return
            step(stack)

    def _print(self, what: str) -> None:
        typer.echo(f"{time.monotonic() - self._began:5.1f} s  {what}")

    def _prepare(self, stack: LocalStack) -> None:
        with SchemaRegistry(stack.registry_url) as registry:
            done = register(registry, SUBJECT).versions[-1]
        self._print(f"schema registered: {SUBJECT} version {done.version} has id {done.schema_id}")
        revision = migrate.upgrade(stack.database_url).after
        self._print(f"tables made: the database is at revision {revision}")
        stack.create_topic(TOPIC)
        self._print(f"topic {TOPIC} made, with 4 partitions")

    def _produce(self, stack: LocalStack) -> None:
        kafka = {"bootstrap.servers": stack.bootstrap_servers}
        with SchemaRegistry(stack.registry_url) as registry:
            encode = TradeSerializer(registry, subject=SUBJECT)
            sending = LoadGenerator(
                kafka, registry=registry, topic=TOPIC, subject=SUBJECT, stopped=self.stopped, patience=DEADLINE
            )
            items = islice(sample_stream(SEED, encode, bad=BAD, resend=RESEND, change=CHANGE), RECORDS)
            tally = self._findings.sent = sending.tally
            with Progress(self._status, lambda: (tally.sent, produced_so_far(tally)), "records"):
                for _ in sending.run(items):
                    pass
                sending.finish()
        self._print(_count_produced(tally))

    def _store(self, stack: LocalStack) -> None:
        self._print("the sink stores them; for an unknown schema id it asks twice, 5 s apart")
        with Sink(
            {"bootstrap.servers": stack.bootstrap_servers, **QUICK},
            registry=stack.registry_url,
            database=stack.database_url,
            on_stored=self._findings.note,
        ) as sink:
            self._sink = sink
            counts = self._findings.stored = sink.counts
            with Progress(self._status, lambda: ((done := stored_so_far(counts)).records, str(done)), "records"):
                sink.run(until_end=True)
        self._print(f"all {stored_so_far(counts).records:,} records are accounted for")

    def _report(self, stack: LocalStack) -> None:
        summary(self._findings, stack.database_url)


def _count_produced(tally: SendCounts) -> str:
    return (
        f"{tally.sent:,} records produced: {tally.new:,} trades, {tally.resent:,} of them sent again, {tally.bad:,} bad"
    )
