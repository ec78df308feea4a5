"""The validator: valid records to one topic, all others as dead letters to another."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Final, Literal, get_args

from tradepipe.errors import BrokerAway, Misconfigured
from tradepipe.kafka.client import Config, beside_producer
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.topics import Topic
from tradepipe.pipeline.books import KAFKA, REGISTRY
from tradepipe.pipeline.ceiling import SHARE, Ceiling
from tradepipe.pipeline.dispatch import Dispatch
from tradepipe.pipeline.judge import Judge, RecordKey, Rule
from tradepipe.pipeline.past import Past
from tradepipe.pipeline.source import Source, advice
from tradepipe.pipeline.stage import BATCH_BYTES, EAGER, QUIET, Stage
from tradepipe.pipeline.start import Start
from tradepipe.pipeline.targets import Targets
from tradepipe.pipeline.validator_books import Validated, ValidatorBooks
from tradepipe.pipeline.verdicts import Batch, Verdicts
from tradepipe.pipeline.waiting import Waiting
from tradepipe.wire.admission import UnknownFields
from tradepipe.wire.registry import SchemaRegistry
from tradepipe.wire.serde import TradeDeserializer

logger = logging.getLogger(__name__)

Delivery = Literal["exactly_once", "at_least_once"]
"""Whether records and offsets are one transaction, or the offsets follow."""

BATCH_RECORDS: Final = 10_000
"""Records in one transaction at most: what a transaction costs is the same for all of them."""

AHEAD: Final = 3_000
"""Records of the next batch, read before a transaction and judged while the brokers take it in: about so long."""

AHEAD_SECONDS: Final = 0.05
"""How long they are judged meanwhile: a transaction does not wait for slow rules of the user's own."""

LINGER: Final = 0.05
"""Seconds a batch that is not full waits for more records: a transaction leaves markers in every topic."""

LONGEST: Final = 0.5
"""Seconds it waits while records keep coming: behind a backlog it is full before."""

IDLE_EVERY: Final = 0.5
"""Seconds between two commits of an idle validator, for offsets at which the log holds no record."""


class Validator(Stage[ValidatorBooks]):
    """
    Sort records: valid ones into one topic, refused ones as dead letters into another.

    What a batch writes and the offsets it was read from are one Kafka
    transaction, so that whoever reads committed records finds each in exactly
    one of the two topics, once. Key, value, timestamp and headers pass
    unchanged; a dead letter has the reasons in headers of its own.

    A part that is away pauses the validator, which goes on by itself when the
    part is back; no record is refused for it.

    Args:
        kafka: librdkafka's properties, `bootstrap.servers` at least.

        registry: the schema registry, or its URL.

        topic: what to read; not compacted.

        clean: where valid records go.

        dead_letters: where the others go.

        group: the consumer group; its committed offsets say how far it is.

        subject: whose versions are decoded.

        rules: of the user's own, beside ours: functions from a `Trade` to a list
            or tuple of `Violation`; pure, so that a record that is read again
            goes where it went.

        record_key: "refuse" a record whose Kafka key is not its trade_id, or
            "accept" it.

        delivery: "exactly_once", or "at_least_once" without transactions: then
            a crash may leave records in the topics twice.

        start: where to begin with a partition without a committed offset:
            "earliest", "latest", or the first record not older than a datetime.
            None begins with the first record if both targets are empty.

        transactional_id: of this process alone; made up if not given.

        batch_records: how many records one transaction writes at most.

        max_refused: the share of refusals among a partition's last 1000 offsets
            above which the validator stops, before the commit; None for no ceiling.

        unknown_fields: "stop" at a schema version that has more than this build
            can hold, or "drop": judge by what it knows.

    Raises:
        Misconfigured: an argument cannot be.
    """

    def __init__(
        self,
        kafka: Config,
        *,
        registry: SchemaRegistry | str,
        topic: str = "trades",
        clean: str = "trades.clean",
        dead_letters: str = "trades.dlq",
        group: str = "tradepipe-validator",
        subject: str = "trades-value",
        rules: Sequence[Rule] = (),
        record_key: RecordKey = "refuse",
        delivery: Delivery = "exactly_once",
        start: Start | None = None,
        transactional_id: str | None = None,
        batch_records: int = BATCH_RECORDS,
        max_refused: float | None = SHARE,
        unknown_fields: UnknownFields = "stop",
    ) -> None:
        _require_possible(delivery, batch_records, transactional_id)
        super().__init__(kafka, ValidatorBooks(topic), registry=registry, topic=topic, subject=subject)
        self._batch_records = batch_records
        self._targets = Targets(self._topics, source=topic, clean=clean, dead_letters=dead_letters)
        for_reading = beside_producer(kafka)
        self._consumer = Consumer(
            for_reading, topic=topic, group=group, whole=True, advice=lambda number: advice(topic, group, number)
        )
        self._ceiling = Ceiling(max_refused)
        deserializer = TradeDeserializer(self._registry, subject=subject, unknown_fields=unknown_fields)
        self._verdicts = Verdicts(Judge(deserializer, rules, record_key), self._ceiling)
        past = Past(for_reading, self._topics, self._ceiling, topic=topic, group=group, dead_letters=dead_letters)
        self._source = Source(
            self._consumer, self._topics, self._verdicts, self._targets, past, topic=topic, start=start
        )
        given = transactional_id or _unique_id(group)
        self._dispatch = Dispatch(
            dict(kafka),
            self._consumer,
            self._targets,
            topic=topic,
            transactional_id=given if delivery == "exactly_once" else None,
        )
        self._idle_due = 0.0
        self._held_since: float | None = None

    @property
    def counts(self) -> Validated:
        """What has been done since the validator began."""
        return self._books.counts

    @property
    def is_ready(self) -> bool:
        """Whether records can be sorted: the group has answered, and no part has been away for a minute."""
        return self._source.partitions.is_settled and self._books.is_healthy

    def run(self, *, until_end: bool = False) -> Validated:
        """
        Sort what the topic holds, and what comes, until `stop`.

        Args:
            until_end: return when all that the topic held at the call is sorted,
                by this validator or by others of its group.

        Raises:
            Misconfigured: an operator is needed; the message says what to do.

            CeilingReached: too many records would be refused.
        """
        self._work(until_end)
        return self.counts

    def close(self) -> None:
        """Leave the group, let go of all connections; what is not committed is read again by whoever comes next."""
        self._stopping = True
        self._close_books()
        self._dispatch.close()
        self._consumer.close()
        super().close()

    def _prepare(self, patiently: Waiting) -> None:
        self._dispatch.fit(patiently(KAFKA, self._targets.require))

    def _join(self, described: Topic) -> None:
        self._source.open(described)

    def _turn(self) -> None:
        now = time.monotonic()
        self._dispatch.connect()  # first: offsets are not told before what was open under our id is settled
        self._books.waits(KAFKA, away=not self._dispatch.is_open)
        if (settled := self._source.tend()) is not None:
            self._committed(settled)
        self._read(now)
        if self._is_due():
            self._write()
        elif not self._verdicts and now >= self._idle_due:
            self._commit_positions(now)
        self._observe()

    def _read(self, now: float) -> None:
        if not self._verdicts:
            self._held_since = None
        room = self._batch_records - len(self._verdicts)
        if room <= 0 or self._verdicts.bytes >= BATCH_BYTES or self._source.partitions.unsupported is not None:
            self._wait_for_writing()
            return
        if self._source.partitions.paused:
            self._source.partitions.resume()
        patience = QUIET if self._source.partitions.reading else EAGER
        if self._held_since is not None:
            patience = max(0.0, self._held_since + LINGER - now) if self._dispatch.is_ready else EAGER
        self._books.polled(self._source.read(room, patience))
        self._hold()

    def _wait_for_writing(self) -> None:
        """Poll without reading where a full batch cannot be written yet: the group gives up who does not poll."""
        if not self._dispatch.is_ready:
            self._source.partitions.pause()
            self._source.read(1, EAGER)

    def _is_due(self) -> bool:
        if not self._dispatch.is_ready:
            return False
        if self._source.partitions.unsupported is not None:
            return True
        full = len(self._verdicts) >= self._batch_records or self._verdicts.bytes >= BATCH_BYTES
        held = 0.0 if self._held_since is None else time.monotonic() - self._held_since
        return full or held >= (LINGER if self._source.is_dry else LONGEST)

    def _write(self) -> None:
        """
        Write what is held, in one transaction.

        No poll lies between the look at what is ours and the end of the
        transaction, so nothing can be taken away in between without the group
        refusing the offsets. What is polled right before it is judged while the
        brokers work.
        """
        unsupported = self._source.partitions.unsupported
        if unsupported is None and self._verdicts.bytes < BATCH_BYTES:
            self._books.polled(self._source.fetch(min(AHEAD, self._batch_records), 0.0))
        batch = self._source.take()
        self._held_since = None
        if (batch.passed or batch.refusals) and not self._written(batch):
            return
        if unsupported is not None:
            raise unsupported
        self._source.judge()
        self._hold()

    def _hold(self) -> None:
        """Note when the batch that is gathered was begun."""
        if self._verdicts and self._held_since is None:
            self._held_since = time.monotonic()

    def _written(self, batch: Batch) -> bool:
        self._books.began()
        interrupted = self._dispatch.write(
            batch, self._source.identity.topic_id, meanwhile=lambda: self._verdicts.judge_ahead(AHEAD_SECONDS)
        )
        if interrupted is None:
            self._committed(batch)
        else:
            self._books.interrupted()
            self._source.rewind(None if interrupted.undone else batch)
        return interrupted is None

    def _committed(self, batch: Batch) -> None:
        self._source.committed(batch.offsets)
        for number, window in batch.windows.items():
            self._ceiling.keep(number, window)
        self._books.committed(len(batch.passed), batch.refusals, batch.first_at)
        self._note(batch.offsets)

    def _commit_positions(self, now: float) -> None:
        """Commit where the log holds no record, as behind transaction markers, so that the lag reaches zero."""
        self._idle_due = now + IDLE_EVERY
        if moved := self._source.moved():
            try:
                self._consumer.commit(moved)
            except BrokerAway as error:
                logger.debug("offsets without records are committed later: %s", error)
                return
            self._source.committed(moved)
            self._note(moved)
        if self._goal is not None and self._goal.worth_asking(self.waiting_for):
            self._ask_how_far()

    def _ask_how_far(self) -> None:
        try:
            self._note(self._source.all_committed())
        except BrokerAway as error:
            logger.debug("how far the group is can be asked later: %s", error)

    def _is_idle(self) -> bool:
        return not self._verdicts

    def _take_stock(self) -> None:
        consumer, paused = self._consumer, self._source.partitions.paused
        done, fetched = self._source.extents()
        self._books.partitions(len(consumer.assignments), done, self._ends.known(fetched, asking=paused), paused=paused)
        self._books.clients(self._dispatch.clients)
        self._books.kafka(gaps=consumer.gaps, errors=consumer.errors, rebalances=consumer.rebalances)
        self._books.waits(REGISTRY, away=self._source.partitions.waits_for_registry)


def _require_possible(delivery: str, batch_records: int, transactional_id: str | None) -> None:
    if delivery not in get_args(Delivery):
        raise Misconfigured(f"delivery is {delivery!r}: it is {' or '.join(get_args(Delivery))}")
    if batch_records < 1:
        raise Misconfigured(f"batch_records is {batch_records}: a batch has at least one record")
    if transactional_id is not None and (not transactional_id or delivery != "exactly_once"):
        raise Misconfigured(
            f"transactional_id is {transactional_id!r}: it is a name that no other process has, and goes with "
            f"delivery exactly_once only"
        )


def _unique_id(group: str) -> str:
    """An id no other process has."""
    return f"{group}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
