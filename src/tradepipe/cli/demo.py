"""Command `tradepipe demo`: the whole pipeline on embedded services."""

import os
import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.embedded import STOP_GRACE_SECONDS, format_exports, start_stack
from tradepipe.cli.options import DEADLINE, SUBJECT, TOPIC, Format
from tradepipe.cli.produce_run import progress_text as produced_text
from tradepipe.cli.settings import Logs
from tradepipe.cli.signals import SIGNAL_BASE, StopOnSignal
from tradepipe.cli.sink import summarize as stored_text
from tradepipe.cli.terminal import OutputFormat, Progress, StatusLine, echo, format_table, to_json
from tradepipe.cli.validate import CLEAN, DEAD_LETTERS
from tradepipe.cli.validate import summarize as validated_text
from tradepipe.embedded.broker import QUICK_CONSUMER
from tradepipe.embedded.postgres import Binaries
from tradepipe.embedded.stack import LocalStack
from tradepipe.errors import Unavailable
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.dead_letters import iter_dead_letters
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.pipeline.load_generator import LoadGenerator
from tradepipe.pipeline.producer import Producer
from tradepipe.pipeline.sink import Sink
from tradepipe.pipeline.validator import Validator
from tradepipe.plural import format_count
from tradepipe.postgres import migrate
from tradepipe.postgres.batch import BatchResult
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.session import create_engine_for
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.registration import register
from tradepipe.registry.serde import TradeDeserializer, TradeSerializer
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code, Refusal
from tradepipe.trade.samples import sample_stream

RECORDS: Final = 10_000
SEED: Final = 0
BAD: Final = 0.03
RESEND: Final = 0.02
CHANGE: Final = 0.001

SHOWN_TRADES: Final = 3
"""Stored trades that are printed."""

READ_TIMEOUT_SECONDS: Final = 10.0

_TITLE: Final = "tradepipe: trades from Kafka to PostgreSQL, each version of each trade once\n"

_STAND_INS: Final = """
The embedded broker has no transactions, so two steps differ from real Kafka:
the validator ran with --delivery at_least_once instead of moving records and
offsets in one transaction, and the corrected trade was sent as a new record,
where `tradepipe dlq replay` sends a dead letter back as it is and marks it.
"""

_VERSIONS: Final = """
SELECT count(DISTINCT trade_id), count(*) FROM trades
"""
_NEWEST: Final = """
SELECT trade_id, version, maturity_date, CASE WHEN expired THEN 'yes' ELSE 'no' END, side,
       to_char(notional, 'FM999,999,999,999,990.00'), currency
FROM current_trades WHERE notional IS NOT NULL ORDER BY version DESC, trade_id LIMIT 3
"""
_NEWEST_COLUMNS: Final = ("trade_id", "version", "maturity_date", "expired", "side", "notional", "currency")
_LEFT_ALIGNED: Final = {0, 2, 3, 4, 6}

_KEEP_VARIABLE: Final = "TRADEPIPE_DEMO_KEEP_COMMAND"
"""Variable by which the Makefile says how to pass --keep through make."""

_KEEP: Final = "tradepipe demo --keep"

app = command_line()

Keep = Annotated[
    bool, typer.Option("--keep", envvar="TRADEPIPE_KEEP", help="Leave the services running afterwards, until Ctrl-C.")
]


@app.command()
def demo(*, keep: Keep = False, output: Format = "text", logs: Logs) -> None:
    """
    Run the whole pipeline on an embedded broker, registry and PostgreSQL, and summarize the result.

    A signal before the end of the run exits with 128 plus its number.
    """
    status = logs.configure(usual="error")
    run = _Run(status, output)
    signals = StopOnSignal(run.stop, "stopping: shutting down the services", grace=STOP_GRACE_SECONDS)
    with signals, ExitStack() as services:
        stack = start_stack(services, run.stopped)
        is_complete = stack is not None and run.run_all(stack)
        if stack is not None and is_complete:
            _print_next_steps(stack, keep=keep, err=output == "json")
            if keep:
                run.stopped.wait()
    if not is_complete:
        raise typer.Exit(SIGNAL_BASE + signals.number)


class _Run:
    """One run of the demo; `stop` ends it after the current batch."""

    def __init__(self, status: StatusLine, output: OutputFormat) -> None:
        self.stopped = threading.Event()
        self._output = output
        self._status = status
        self._stage: Validator | Sink | None = None
        self._started_at = time.monotonic()
        self._produced = self._stored = self._duplicates = 0
        self._refused: Counter[str] = Counter()
        self._examples: dict[str, Refusal] = {}
        self._shown: list[Trade] = []

    def stop(self) -> None:
        """Request the end of the run; called in another thread."""
        self.stopped.set()
        if self._stage is not None:
            self._stage.stop()

    def _enter(self, stage: Validator | Sink) -> None:
        """Let `stop` stop this stage."""
        self._stage = stage
        if self.stopped.is_set():  # the signal came after the step began and before its stage existed
            stage.stop()

    def run_all(self, stack: LocalStack) -> bool:
        """Run every step and print a summary; return False if a signal ended the run before."""
        self._echo(_TITLE)
        self._print("started a broker, a registry and a PostgreSQL for this run")
        steps: tuple[Callable[[LocalStack], None], ...] = (
            self._prepare,
            self._produce,
            self._validate,
            self._store,
            self._correct,
            self._validate,
            self._store,
            self._print_summary,
        )
        for step in steps:
            if self.stopped.is_set():
                return False
            try:
                step(stack)
            except Unavailable:
                if not self.stopped.is_set():
                    raise
                return False
        return True

    def _echo(self, text: str) -> None:
        echo(text, err=self._output == "json")

    def _print(self, text: str) -> None:
        self._echo(f"{time.monotonic() - self._started_at:5.1f} s  {text}")

    def _prepare(self, stack: LocalStack) -> None:
        with SchemaRegistry(stack.registry_url) as registry:
            done = register(registry, SUBJECT).versions[-1]
        self._print(f"registered the schema: {SUBJECT} version {done.version}, id {done.schema_id}")
        self._print(f"migrated the database to revision {migrate.upgrade(stack.database_url).after}")
        for topic in (TOPIC, CLEAN, DEAD_LETTERS):
            stack.create_topic(topic)
        self._print(f"created topics {TOPIC}, {CLEAN} and {DEAD_LETTERS}, 4 partitions each")

    def _produce(self, stack: LocalStack) -> None:
        kafka = {"bootstrap.servers": stack.bootstrap_servers}
        with SchemaRegistry(stack.registry_url) as registry:
            encode = TradeSerializer(registry, subject=SUBJECT)
            generator = LoadGenerator(
                kafka, registry=registry, topic=TOPIC, subject=SUBJECT, stopped=self.stopped, flush_timeout=DEADLINE
            )
            records = islice(sample_stream(SEED, encode, bad=BAD, resend=RESEND, change=CHANGE), RECORDS)
            counts = generator.counts
            with Progress(self._status, lambda: (counts.sent, produced_text(counts))):
                for _ in generator.run(records):
                    pass
                generator.finish()
        if self.stopped.is_set():
            return
        self._produced += counts.sent
        self._print(
            f"produced {counts.sent:,} records: {counts.new:,} trades, {counts.resent:,} sent again, {counts.bad:,} bad"
        )

    def _validate(self, stack: LocalStack) -> None:
        if not self._refused:
            self._echo("         validating; an unknown schema id is looked up again after 5 s")
        with Validator(
            {"bootstrap.servers": stack.bootstrap_servers, **QUICK_CONSUMER},
            registry=stack.registry_url,
            topic=TOPIC,
            clean=CLEAN,
            dead_letters=DEAD_LETTERS,
            delivery="at_least_once",
        ) as validator:
            self._enter(validator)
            counts = validator.counts
            with Progress(self._status, lambda: ((done := validated_text(counts)).records, str(done))):
                validator.run(until_end=True)
        if self.stopped.is_set():
            return
        self._refused.update(counts.refused)
        passed, refused = counts.passed, counts.refused.total()
        records = format_count(passed + refused, "record")
        self._print(f"validated {records}: {passed:,} to {CLEAN}, {refused:,} to {DEAD_LETTERS}")

    def _store(self, stack: LocalStack) -> None:
        self._shown = []

        def note_batch(stored: BatchResult) -> None:
            # Not the last ones: partitions are stored in no fixed order, and every run prints the same.
            trades = [*self._shown, *stored.trades]
            self._shown = nlargest(SHOWN_TRADES, trades, key=lambda trade: (trade.version, trade.trade_id))
            self._add_examples(stored.refusals)

        with Sink(
            {"bootstrap.servers": stack.bootstrap_servers, **QUICK_CONSUMER},
            registry=stack.registry_url,
            database=stack.database_url,
            topic=CLEAN,
            on_stored=note_batch,
        ) as sink:
            self._enter(sink)
            counts = sink.counts
            with Progress(self._status, lambda: ((done := stored_text(counts)).records, str(done))):
                sink.run(until_end=True)
        if self.stopped.is_set():
            return
        self._stored += counts.stored
        self._duplicates += counts.duplicates
        self._refused.update(counts.refused)
        self._print(
            f"stored {format_count(counts.stored, 'trade')}"
            f"{', those with the highest version' if counts.stored > 1 else ''}:"
        )
        for trade in self._shown:
            self._echo(f"         Stored trade with ID {trade.trade_id} and version {trade.version}")

    def _add_examples(self, refusals: tuple[Refusal, ...]) -> None:
        for refusal in refusals:
            self._examples.setdefault(refusal.codes[0], refusal)

    def _correct(self, stack: LocalStack) -> None:
        """Send the trade of one dead letter again, with its currency in capitals."""
        kafka = {"bootstrap.servers": stack.bootstrap_servers, "fetch.wait.max.ms": QUICK_CONSUMER["fetch.wait.max.ms"]}
        admin = TopicAdmin(kafka)
        watermarks = admin.watermarks(DEAD_LETTERS, admin.describe(DEAD_LETTERS).partitions)
        with TopicReader(kafka, topic=DEAD_LETTERS, timeout=READ_TIMEOUT_SECONDS) as reader:
            refusals = tuple(each.refusal for each, _ in iter_dead_letters(reader.read(watermarks), {}))
        self._add_examples(refusals)
        records = [refusal.record for refusal in refusals if "CURRENCY" in refusal.codes]
        record = min(records, key=lambda record: record.key or b"")  # partitions are read in no fixed order
        with SchemaRegistry(stack.registry_url) as registry:
            trade = TradeDeserializer(registry, subject=SUBJECT)(record.value)
            currency = (trade.currency or "").upper()
            with Producer({"bootstrap.servers": stack.bootstrap_servers}, registry=registry, topic=TOPIC) as producer:
                producer.produce(trade._replace(currency=currency))
        self._produced += 1
        self._print(
            f"corrected dead letter {trade.trade_id}, currency {trade.currency!r} to {currency!r}, and sent it again"
        )

    def _print_summary(self, stack: LocalStack) -> None:
        ((trades, versions),) = _query(stack.database_url, _VERSIONS)
        if self._output == "json":
            document = {
                "produced": self._produced,
                "stored": self._stored,
                "duplicates": self._duplicates,
                "refused": self._refused.total(),
                "refused_by_code": dict(self._refused.most_common()),
                "trades": trades,
            }
            echo(to_json(document))
            return
        collisions = self._refused[Code.VERSION_COLLISION]
        lines = (
            ("Produced", self._produced, f"records to topic {TOPIC}, one of them a corrected dead letter"),
            ("Stored", self._stored, "versions of trades in table trades"),
            ("Duplicate", self._duplicates, "records: trades sent again, nothing written"),
            (
                "Refused",
                self._refused.total(),
                f"records: {self._refused.total() - collisions:,} in topic {DEAD_LETTERS}, "
                f"{collisions:,} in table trade_refusals",
            ),
        )
        echo("")
        for verb, number, text in lines:
            echo(f"{verb:<9} {number:>7,} {text}")
        rows = [
            # Very long words are values of bad records.
            (code, f"{number:,}", re.sub(r"(\w{12})\w{20,}", r"\1…", self._examples[code].details[0]))
            for code, number in sorted(self._refused.items(), key=lambda item: (-item[1], item[0]))
        ]
        echo(f"\n{format_table(('Refused as', '', 'For example'), rows, left={0, 2}, wrap=True)}\n")
        newest = [tuple(map(str, row)) for row in _query(stack.database_url, _NEWEST)]
        echo(f"{trades:,} trades have {versions:,} versions; current_trades shows the newest of each:\n")
        echo(format_table(_NEWEST_COLUMNS, newest, left=_LEFT_ALIGNED))
        echo(_STAND_INS.rstrip())


def _query(database: str, query: str) -> list[tuple[Any, ...]]:
    with translate_errors(), create_engine_for(database, application_name="tradepipe-demo").connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def _print_next_steps(stack: LocalStack, *, keep: bool, err: bool) -> None:
    if not keep:
        command = os.environ.get(_KEEP_VARIABLE, _KEEP)
        echo(f"\nThe services are stopped; `{command}` leaves them running.", err=err)
        return
    on_path, below = shutil.which("python"), os.path.relpath(sys.executable)
    python = sys.executable if below.startswith("..") else below
    if on_path is not None and Path(on_path) == Path(sys.executable):
        python = "python"
    psql = Binaries.find().folder / "psql"
    if shutil.which("psql") or not psql.exists():
        psql = Path("psql")
    # By typer: `echo` would mask the database's password, which belongs to these services alone and is needed here.
    typer.echo(
        f"""
The services run until Ctrl-C. In another terminal:

{format_exports(stack, indent="  ")}
  {python} -m tradepipe sink -v --topic {CLEAN}
  {python} -m tradepipe validate
  {python} -m tradepipe produce --rate 2

  {psql} $DATABASE_URL -c 'SELECT * FROM current_trades LIMIT 5'
  {python} -m tradepipe dlq ls --limit 5 --dead-letters {DEAD_LETTERS}
""",
        err=err,
    )
