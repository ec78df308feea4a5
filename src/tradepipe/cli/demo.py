"""`tradepipe demo`: the whole pipeline on this machine, with nothing to set up."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from typing import Annotated, Final

import typer

from tradepipe.cli import demo_report as report
from tradepipe.cli.app import command_line
from tradepipe.cli.logs import configure
from tradepipe.cli.mixture import mixture
from tradepipe.cli.options import DEADLINE, SUBJECT, TOPIC, LogLevel
from tradepipe.cli.producing import so_far as produced_so_far
from tradepipe.cli.sending import Sending, Tally
from tradepipe.cli.sink import so_far as stored_so_far
from tradepipe.cli.stopping import Stopping
from tradepipe.cli.terminal import Progress, StatusLine
from tradepipe.embedded.stack import Stack
from tradepipe.errors import Misconfigured
from tradepipe.pipeline.sink import Sink
from tradepipe.postgres import migrate
from tradepipe.wire.registration import register
from tradepipe.wire.registry import SchemaRegistry
from tradepipe.wire.serde import TradeSerializer

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
    with Stopping(run.stop, "stopping: ending what was started"), ExitStack() as parts:
        stack = _started(parts)
        run.everything(stack)
        if not run.stopped.is_set():
            report.what_next(stack, keep=keep)
        if keep:
            run.stopped.wait()


def _started(parts: ExitStack) -> Stack:
    try:
        return parts.enter_context(Stack())
    except (FileNotFoundError, RuntimeError) as error:  # no PostgreSQL, or one that does not start
        raise Misconfigured(str(error)) from error


class _Run:
    """One run of the demo; `stop` ends it behind what it is doing."""

    def __init__(self, status: StatusLine) -> None:
        self.stopped = threading.Event()
        self._status = status
        self._sink: Sink | None = None
        self._began = time.monotonic()
        self._findings = report.Findings()

    def stop(self) -> None:
        """End soon; called by a signal."""
        self.stopped.set()
        if self._sink is not None:
            self._sink.stop()

    def everything(self, stack: Stack) -> None:
        """Set the parts up, produce, store, report."""
        report.heading()
        self._tell("a broker, a registry and a PostgreSQL are up, for this program only")
        steps: tuple[Callable[[Stack], None], ...] = (self._prepare, self._produce, self._store, self._report)
        for step in steps:
            if self.stopped.is_set():
                return
            step(stack)

    def _tell(self, what: str) -> None:
        typer.echo(f"{time.monotonic() - self._began:5.1f} s  {what}")

    def _prepare(self, stack: Stack) -> None:
        with SchemaRegistry(stack.registry_url) as registry:
            done = register(registry, SUBJECT).outcomes[-1]
        self._tell(f"schema registered: {SUBJECT} version {done.version} has id {done.schema_id}")
        revision = migrate.upgrade(stack.database_url).after
        self._tell(f"tables made: the database is at revision {revision}")
        stack.create_topic(TOPIC)
        self._tell(f"topic {TOPIC} made, with 4 partitions")

    def _produce(self, stack: Stack) -> None:
        kafka = {"bootstrap.servers": stack.bootstrap_servers}
        with SchemaRegistry(stack.registry_url) as registry:
            encode = TradeSerializer(registry, subject=SUBJECT)
            sending = Sending(
                kafka, registry=registry, topic=TOPIC, subject=SUBJECT, stopped=self.stopped, patience=DEADLINE
            )
            items = islice(mixture(SEED, encode, bad=BAD, resend=RESEND, change=CHANGE), RECORDS)
            tally = self._findings.sent = sending.tally
            with Progress(self._status, lambda: (tally.sent, produced_so_far(tally)), "records"):
                for _ in sending.run(items):
                    pass
                sending.finish()
        self._tell(_produced(tally))

    def _store(self, stack: Stack) -> None:
        self._tell("the sink stores them; for an unknown schema id it asks twice, 5 s apart")
        with Sink(
            {"bootstrap.servers": stack.bootstrap_servers, **report.QUICK},
            registry=stack.registry_url,
            database=stack.database_url,
            on_stored=self._findings.note,
        ) as sink:
            self._sink = sink
            counts = self._findings.stored = sink.counts
            with Progress(self._status, lambda: ((done := stored_so_far(counts)).records, str(done)), "records"):
                sink.run(until_end=True)
        self._tell(f"all {stored_so_far(counts).records:,} records are accounted for")

    def _report(self, stack: Stack) -> None:
        report.summary(self._findings, stack.database_url)


def _produced(tally: Tally) -> str:
    return (
        f"{tally.sent:,} records produced: {tally.new:,} trades, {tally.again:,} of them sent again, {tally.bad:,} bad"
    )
