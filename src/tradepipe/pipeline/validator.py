"""The validator: valid records to one topic, all others as dead letters to another."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Literal, Self, get_args

from tradepipe.errors import BrokerAway, Misconfigured
from tradepipe.kafka.client import Config, beside_producer
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.topics import Topics
from tradepipe.metrics import Meter
from tradepipe.pipeline.ceiling import SHARE, Ceiling
from tradepipe.pipeline.dispatch import Dispatch
from tradepipe.pipeline.end import End
from tradepipe.pipeline.ends import Ends
from tradepipe.pipeline.intake import Start
from tradepipe.pipeline.judge import Judge, RecordKey, Rule
from tradepipe.pipeline.ledger import Ledger, Validated
from tradepipe.pipeline.past import Past
from tradepipe.pipeline.source import Source, advice
from tradepipe.pipeline.subject import require_subject
from tradepipe.pipeline.targets import Targets
from tradepipe.pipeline.verdicts import Batch, Verdicts
from tradepipe.pipeline.waiting import Stopped, Waiting
from tradepipe.wire.admission import UnknownFields
from tradepipe.wire.registry import SchemaRegistry
from tradepipe.wire.serde import TradeDeserializer

logger = logging.getLogger(__name__)

Delivery = Literal["exactly_once", "at_least_once"]
"""Whether records and offsets are one transaction, or the offsets follow."""

BATCH_RECORDS: Final = 10_000
"""Records in one transaction at most: what a transaction costs is the same for all of them."""

BATCH_BYTES: Final = 32 << 20
"""Bytes of values in one transaction; what bounds memory where records are large."""

LINGER: Final = 0.05
"""Seconds a batch that is not full waits for more records: a transaction leaves markers in every topic."""

QUIET: Final = 0.5
"""Seconds to wait for a record while there is nothing else to do; a stop is noticed as late."""

EAGER: Final = 0.05
"""Seconds to wait for a record while no partition is read; an assignment is noticed as late."""

IDLE_EVERY: Final = 0.5
"""Seconds between two commits of an idle validator, for offsets at which the log holds no record."""

OBSERVE_EVERY: Final = 0.5
ALIVE_WITHIN: Final = 60.0


class Validator:
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
        self._topic = topic
        self._subject = subject
        self._batch_records = batch_records
        self._own_registry = isinstance(registry, str)
        self._registry = SchemaRegistry(registry) if isinstance(registry, str) else registry
        self._topics = Topics(kafka)
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
        self._ledger = Ledger(topic)
        self._ends = Ends(self._topics, topic)
        self._end: End | None = None
        self._stopping = self._closed = False
        self._idle_due = self._observed_at = 0.0
        self._held_since: float | None = None
        self._turned_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counts(self) -> Validated:
        """What has been done since the validator began."""
        return self._ledger.counts

    @property
    def meter(self) -> Meter:
        """The numbers behind the metrics."""
        return self._ledger.meter

    @property
    def lag(self) -> int | None:
        """How many offsets lie between what is validated and the end of the log; None while that is not known."""
        return self._ledger.lag

    @property
    def waiting_for(self) -> str | None:
        """The part that is away, or None."""
        return self._ledger.waiting_for

    @property
    def is_alive(self) -> bool:
        """Whether `run` goes on; an outage of any part is no reason why it would not."""
        return time.monotonic() - self._turned_at < ALIVE_WITHIN

    @property
    def is_ready(self) -> bool:
        """Whether records can be sorted: the group has answered, and no part has been away for a minute."""
        return self._source.is_settled and self._ledger.is_healthy

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
        try:
            self._open(until_end)
            while not self._stopping and not self._finished():
                self._turn()
        except Stopped:
            pass
        finally:
            self.close()
        return self.counts

    def stop(self) -> None:
        """Make `run` return soon; may be called from a signal handler or another thread."""
        self._stopping = True

    def close(self) -> None:
        """Leave the group, let go of all connections; what is not committed is read again by whoever comes next."""
        self._stopping = True
        if self._closed:
            return
        self._closed = True
        self._take_stock()
        self._ledger.closed()
        self._dispatch.close()
        self._consumer.close()
        if self._own_registry:
            self._registry.close()

    def _open(self, until_end: bool) -> None:
        patiently = Waiting(self._ledger, self._goes_on)
        patiently(lambda: require_subject(self._registry, self._subject))
        described = patiently(lambda: self._topics.describe(self._topic))
        self._dispatch.fit(patiently(self._targets.require))
        if until_end:
            self._end = End(patiently(lambda: self._topics.extents(self._topic, described.partitions)))
        self._source.open(described)

    def _goes_on(self) -> bool:
        self._turned_at = time.monotonic()
        return not self._stopping

    def _turn(self) -> None:
        self._turned_at = now = time.monotonic()
        if (settled := self._source.tend()) is not None:
            self._committed(settled)
        self._dispatch.connect()
        self._ledger.waits("Kafka", away=not self._dispatch.is_open)
        self._read(now)
        if self._is_due():
            self._write()
        elif not self._verdicts and now >= self._idle_due:
            self._commit_positions(now)
        self._observe(now)

    def _read(self, now: float) -> None:
        if not self._verdicts:
            self._held_since = None
        room = self._batch_records - len(self._verdicts)
        if room <= 0 or self._verdicts.bytes >= BATCH_BYTES or self._source.unsupported is not None:
            self._wait_for_writing()
            return
        if self._source.paused:
            self._source.resume()
        patience = QUIET if self._source.reading else EAGER
        if self._held_since is not None:
            patience = max(0.0, self._held_since + LINGER - now) if self._dispatch.is_ready else EAGER
        self._ledger.polled(self._source.read(room, patience))
        if self._verdicts and self._held_since is None:
            self._held_since = time.monotonic()

    def _wait_for_writing(self) -> None:
        """Poll without reading where a full batch cannot be written yet: the group gives up who does not poll."""
        if not self._dispatch.is_ready:
            self._source.pause()
            self._source.read(1, EAGER)

    def _is_due(self) -> bool:
        if not self._dispatch.is_ready:
            return False
        if self._source.unsupported is not None:
            return True
        full = len(self._verdicts) >= self._batch_records or self._verdicts.bytes >= BATCH_BYTES
        return full or (self._held_since is not None and time.monotonic() - self._held_since >= LINGER)

    def _write(self) -> None:
        """
        Write what is held, in one transaction.

        No poll lies between the look at what is ours and the end of the
        transaction, so nothing can be taken away in between without the group
        refusing the offsets.
        """
        batch = self._source.take()
        self._held_since = None
        if (batch.passed or batch.refusals) and not self._written(batch):
            return
        if self._source.unsupported is not None:
            raise self._source.unsupported

    def _written(self, batch: Batch) -> bool:
        self._ledger.began()
        written = self._dispatch.write(batch, self._source.identity.topic_id)
        if written:
            self._committed(batch)
        else:
            self._ledger.interrupted()
            self._source.rewind(batch)
        return written

    def _committed(self, batch: Batch) -> None:
        self._source.committed(batch.offsets)
        for number, window in batch.windows.items():
            self._ceiling.keep(number, window)
        self._ledger.committed(len(batch.passed), batch.refusals, batch.first_at)
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
        if self._end is not None and self._end.worth_asking():
            self._ask_end()

    def _ask_end(self) -> None:
        try:
            self._note(self._source.all_committed())
        except BrokerAway as error:
            logger.debug("how far the group is can be asked later: %s", error)

    def _note(self, offsets: Mapping[int, int]) -> None:
        if self._end is not None:
            self._end.note(offsets)

    def _finished(self) -> bool:
        return self._end is not None and self._end.reached and not self._verdicts

    def _observe(self, now: float) -> None:
        if now - self._observed_at >= OBSERVE_EVERY:
            self._observed_at = now
            self._take_stock()

    def _take_stock(self) -> None:
        consumer, paused = self._consumer, self._source.paused
        done, fetched = self._source.extents()
        self._ledger.partitions(
            len(consumer.assignments), done, self._ends.known(fetched, asking=paused), paused=paused
        )
        self._ledger.clients(self._dispatch.clients)
        self._ledger.kafka(gaps=consumer.gaps, errors=consumer.errors, rebalances=consumer.rebalances)
        self._ledger.waits("the registry", away=self._source.waits_for_registry)


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
