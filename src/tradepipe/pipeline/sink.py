"""The sink: trades from a topic into PostgreSQL, each exactly once."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from tradepipe.errors import Misconfigured
from tradepipe.kafka.client import Config
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.topics import Topic
from tradepipe.pipeline.books import KAFKA, REGISTRY
from tradepipe.pipeline.ceiling import SHARE, Ceiling
from tradepipe.pipeline.intake import Intake
from tradepipe.pipeline.judge import JudgedBy, RecordKey, Rule, judge_of
from tradepipe.pipeline.sink_books import Counts, SinkBooks
from tradepipe.pipeline.stage import BATCH_BYTES, EAGER, QUIET, Stage
from tradepipe.pipeline.start import Start
from tradepipe.pipeline.waiting import Waiting
from tradepipe.pipeline.writer import Ended, Event, Failed, Granted, Healed, Progress, Troubled, Writer
from tradepipe.postgres.batch import Batch, Stored
from tradepipe.postgres.checks import require_checks
from tradepipe.postgres.engine import engine
from tradepipe.postgres.revision import require_revision
from tradepipe.postgres.staleness import Stale
from tradepipe.wire.admission import UnknownFields
from tradepipe.wire.registry import SchemaRegistry
from tradepipe.wire.serde import TradeDeserializer

logger = logging.getLogger(__name__)

GRACE: Final = 20.0
"""Seconds a batch in hand may take after `stop`; then it is rolled back."""

BRISK: Final = 0.01
"""Seconds to wait for a record while the writer works; its end is noticed as late."""

PAUSE_AFTER: Final = 5.0
"""Seconds a full batch waits for the writer before fetching is paused; below `max.poll.interval.ms` in any case."""

HINT_EVERY: Final = 1.0
COMPARE_EVERY: Final = 5.0
"""Seconds between two looks of an idle sink at what is stored; a reset of offsets is noticed as late."""


class Sink(Stage[SinkBooks]):
    """
    Consume trades and store each exactly once.

    A batch's trades, its refusals and its offsets are one database transaction,
    so a crash anywhere leaves either all of a batch or nothing of it. Kafka's
    own offset commits only tell lag tools where we are; they are never read.

    A part that is away pauses the sink, which goes on by itself when the part
    is back. A record that cannot be stored is kept as a refusal, with its bytes.

    Args:
        kafka: librdkafka's properties, `bootstrap.servers` at least.

        registry: the schema registry, or its URL.

        database: a PostgreSQL URL whose database has tradepipe's tables.

        topic: what to read; not compacted.

        group: the consumer group; offsets are stored under its name.

        subject: whose versions are decoded.

        start: where to begin with a partition that the group never stored:
            "earliest", "latest", or the first record not older than a datetime.

        batch_rows: how many records one transaction stores at most.

        max_refused: the share of refusals among a partition's last 1000 offsets
            above which the sink stops, before the commit; None for no ceiling.

        unknown_fields: "stop" at a schema version that has more than this build
            can hold, or "drop" what it has more.

        judge: who applies our rules: "python" to every trade, or "database", the
            table's CHECK constraints, which spares the work of making trades;
            for a topic that was validated. Refusals are the same.

        rules: of the user's own, beside ours: functions from a `Trade` to a list
            or tuple of `Violation`; pure, so that a replay is judged as the
            first time was.

        record_key: "refuse" a record whose Kafka key is not its trade_id, or
            "accept" it: it may be out of order with the trade's other versions.

        stale: "accept" a version that is older than one of the same trade stored
            before it, or "refuse" it; right as long as all versions of a trade
            are on one partition.

        on_stored: called with each batch behind its commit, in the thread of
            `run`; it must not take long.

    Raises:
        Misconfigured: an argument cannot be.
    """

    def __init__(
        self,
        kafka: Config,
        *,
        registry: SchemaRegistry | str,
        database: str,
        topic: str = "trades",
        group: str = "tradepipe-sink",
        subject: str = "trades-value",
        start: Start = "earliest",
        batch_rows: int = 5_000,
        max_refused: float | None = SHARE,
        unknown_fields: UnknownFields = "stop",
        judge: JudgedBy = "python",
        rules: Sequence[Rule] = (),
        record_key: RecordKey = "refuse",
        stale: Stale = "accept",
        on_stored: Callable[[Stored], None] | None = None,
    ) -> None:
        if batch_rows < 1:
            raise Misconfigured(f"batch_rows is {batch_rows}: a batch has at least one record")
        super().__init__(kafka, SinkBooks(topic, on_stored), registry=registry, topic=topic, subject=subject)
        self._group = group
        self._batch_rows = batch_rows
        deserializer = TradeDeserializer(self._registry, subject=subject, unknown_fields=unknown_fields)
        self._consumer = Consumer(kafka, topic=topic, group=group)
        judges = judge_of(judge, deserializer, rules, record_key)
        self._intake = Intake(self._consumer, self._topics, judges, topic=topic, start=start)
        owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(3)}"
        self._engine = engine(database, application_name=f"tradepipe-sink/{owner}")
        self._writer = Writer(
            self._engine,
            group=group,
            owner=owner,
            ceiling=Ceiling(max_refused),
            stale=stale,
            require=require_checks if judge == "database" else require_revision,
        )
        self._failure: BaseException | None = None
        self._full_since: float | None = None
        self._hints: dict[int, int] = {}
        self._hints_due = 0.0
        self._compared_at = time.monotonic()

    @property
    def counts(self) -> Counts:
        """What has been done since the sink began."""
        return self._books.counts

    @property
    def is_ready(self) -> bool:
        """Whether records can be stored: the group has answered, and no part has been away for a minute."""
        return self._intake.partitions.is_settled and self._books.is_healthy

    def run(self, *, until_end: bool = False) -> Counts:
        """
        Store what the topic holds, and what comes, until `stop`.

        Args:
            until_end: return when all that the topic held at the call is stored,
                by this sink or by others of its group.

        Raises:
            Misconfigured: an operator is needed; the message says what to do.

            CeilingReached: too many records would be refused.
        """
        self._writer.start()
        self._work(until_end)
        if self._failure is not None:
            raise self._failure
        return self.counts

    def close(self) -> None:
        """Finish or roll back the batch in hand, leave the group, let go of all connections."""
        self._stopping = True
        self._writer.stop(GRACE)
        for event in self._writer.events():
            if isinstance(event, Stored):
                self._stored(event)
            elif isinstance(event, Failed):
                self._failure = event.error
        self._close_books()
        self._hint()
        self._consumer.close()
        self._engine.dispose()
        super().close()

    def _prepare(self, patiently: Waiting) -> None:
        patiently(KAFKA, lambda: self._topics.require_uncompacted(self._topic))

    def _join(self, described: Topic) -> None:
        self._intake.open(described)

    def _turn(self) -> None:
        for event in self._writer.events():
            self._react(event)
        if claims := self._intake.claims():
            self._writer.claim(claims)
        self._intake.tend()
        self._hand_over()
        self._read()
        self._observe()

    def _react(self, event: Event) -> None:
        match event:
            case Stored():
                self._stored(event)
            case Granted():
                self._books.claimed()
                self._note({event.claim.assignment.partition: event.claimed.next_offset})
                self._intake.grant(event)
            case Ended():
                self._books.fenced()
                self._intake.end(event.ownership)
            case Progress():
                self._note(event.next_offsets)
                self._intake.compare(event.next_offsets)
            case Troubled():
                self._books.troubled(event.reason)
            case Healed():
                self._books.healed(event.seconds)
            case Failed():
                raise event.error

    def _stored(self, stored: Stored) -> None:
        self._note({span.ownership.partition: span.after for span in stored.batch.spans})
        self._hints |= self._intake.stored(stored.batch.spans)
        if time.monotonic() >= self._hints_due:
            self._hint()
        self._books.stored(stored)

    def _hint(self) -> None:
        if self._hints:
            self._consumer.hint(self._hints)
            self._hints = {}
            self._hints_due = time.monotonic() + HINT_EVERY

    def _hand_over(self) -> None:
        if self._writer.busy:
            return
        first_at = self._intake.first_at
        spans, entries = self._intake.take()
        if spans:
            self._books.handed_over(first_at)
            self._writer.store(Batch(self._group, self._intake.topic_id, spans, entries))
        elif self._intake.partitions.unsupported is not None:
            raise self._intake.partitions.unsupported
        elif self._worth_asking():
            self._writer.ask_progress(self._topic)
        if self._intake.partitions.paused and self._intake.partitions.unsupported is None:
            self._intake.partitions.resume()

    def _worth_asking(self) -> bool:
        """Whether it is time to ask what is stored: for the end of the log, and whether an operator has reset it."""
        now = time.monotonic()
        if self._goal is not None:
            return self._goal.worth_asking(self.waiting_for)
        if now - self._compared_at < COMPARE_EVERY:
            return False
        self._compared_at = now
        return True

    def _read(self) -> None:
        room = self._batch_rows - self._intake.held
        if self._intake.partitions.unsupported is not None:
            room = 0
        if room > 0 and self._intake.held_bytes < BATCH_BYTES:
            self._full_since = None
            self._poll(room, BRISK if self._writer.busy else QUIET if self._intake.partitions.reading else EAGER)
        elif self._intake.partitions.paused:
            self._poll(1, QUIET)
        else:
            self._wait_for_writer()

    def _poll(self, room: int, timeout: float) -> None:
        self._books.polled(self._intake.read(room, timeout))

    def _take_stock(self) -> None:
        consumer, paused = self._consumer, self._intake.partitions.paused
        stored, fetched = self._intake.extents()
        self._books.partitions(
            len(consumer.assignments),
            stored,
            self._ends.known(fetched, asking=paused, errors=consumer.errors),
            paused=paused,
        )
        self._books.kafka(gaps=consumer.gaps, errors=consumer.errors, rebalances=consumer.rebalances)
        self._books.waits(REGISTRY, away=self._intake.partitions.waits_for_registry)
        self._books.waits(KAFKA, away=self._ends.unanswered or self._intake.waits_for_kafka)

    def _wait_for_writer(self) -> None:
        """Wait without polling while the group allows it; then pause once and poll."""
        now = time.monotonic()
        self._full_since = self._full_since or now
        if now - self._full_since > PAUSE_AFTER:
            self._full_since = None
            self._intake.partitions.pause()
        else:
            self._writer.wait(QUIET)

    def _is_idle(self) -> bool:
        return not self._writer.busy and not self._intake.held

    def _goes_on(self) -> bool:
        """Look after all else while a part is waited for; whether it still is to be."""
        for event in self._writer.events():
            self._react(event)
        return super()._goes_on()
