"""The reading half of a sink: partitions claimed, records read and judged, held until the writer takes them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tradepipe.backoff import Backoff
from tradepipe.errors import OffsetOutOfRange, RegistryUnavailable, Unavailable, UnsupportedSchema
from tradepipe.kafka.admin import Topic, TopicAdmin
from tradepipe.kafka.consumer import Consumer
from tradepipe.pipeline.partitions import (
    MAX_POLL_RECORDS,
    PartitionReader,
    Partitions,
    PartitionState,
    StartPosition,
    start_offsets,
)
from tradepipe.pipeline.sink_writer import Claim, ClaimGranted
from tradepipe.pipeline.topic_watch import TopicIdWatch
from tradepipe.pipeline.validation import DatabaseValidator, RecordValidator
from tradepipe.postgres.batch import ValidatedRecord
from tradepipe.postgres.offsets import OffsetRange, Ownership

logger = logging.getLogger(__name__)

FENCED_OFTEN: Final = 3

_POSITIONS: Final = "earliest|latest|TIME|NUMBER"


@dataclass(slots=True)
class SinkPartition(PartitionState):
    """
    One assignment: claimed, then read.

    `stored` is the next offset the database knows of, `handed` the one up to
    which the writer has everything.
    """

    ownership: Ownership | None = None
    claim_requested: bool = False
    stored_offset: int = 0
    queued_offset: int = 0

    @property
    def has_start_offset(self) -> bool:
        """True once the partition is claimed: the database then knows where to read."""
        return self.ownership is not None


class SinkReader(PartitionReader[SinkPartition]):
    """
    What a sink reads.

    Only records of partitions that the database has granted are held, and what
    was held of a partition that left us is dropped: its next owner reads it.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: TopicAdmin,
        judge: RecordValidator | DatabaseValidator,
        *,
        topic: str,
        start: StartPosition,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._judge = judge
        self._topic = topic
        self._reset = f"tradepipe sink offsets reset --topic {topic} --group {consumer.group}"
        self._start = start
        self._topic_id_watch = TopicIdWatch(
            topics, topic, advice=f"decide where to go on: {self._reset} --to {_POSITIONS}"
        )
        self._stored_topic_id: str | None = None
        self._claim_backoff = Backoff()
        super().__init__(Partitions(consumer, SinkPartition, self._drop))
        self._buffer: list[ValidatedRecord] = []
        self._buffer_bytes = 0
        self._first_timestamp: float | None = None

    @property
    def topic_id(self) -> str | None:
        """The topic's id, as far as it is known."""
        return self._topic_id_watch.topic_id

    @property
    def buffered(self) -> int:
        """How many judged records wait for the writer."""
        return len(self._buffer)

    @property
    def buffered_bytes(self) -> int:
        """How many bytes of values they have."""
        return self._buffer_bytes

    @property
    def first_timestamp(self) -> float | None:
        """When the first of them was sent, Unix time, if that is known."""
        return self._first_timestamp

    @property
    def waits_for_kafka(self) -> bool:
        """Whether partitions cannot be claimed because Kafka does not say where their logs begin and end."""
        return self._claim_backoff.failures > 0 and not all(each.ownership for each in self._partitions.states.values())

    def open(self, described: Topic) -> None:
        """Join the group."""
        self._topic_id_watch.check(described.topic_id)
        self._stored_topic_id = described.topic_id
        self._consumer.open()

    def read(self, room: int, timeout: float) -> int:
        """
        Read and judge at most `room` records, and tell how many came; wait up to `timeout` seconds for the first.

        Raises:
            ConfigurationError: the brokers refuse us, or the log was cut.
        """
        records = self._partitions.poll(min(room, MAX_POLL_RECORDS), timeout)
        if not self._buffer:
            self._first_timestamp = self._consumer.first_timestamp
        for number, record in enumerate(records):
            try:
                self._buffer.append(self._judge(record))
            except (RegistryUnavailable, UnsupportedSchema) as error:
                self._partitions.requeue(records[number:], error)
                break
            self._buffer_bytes += len(record.value or b"")
        if self._partitions.unsupported_schema is not None:
            self._partitions.pause()
        self._partitions.update_positions()
        return len(records)

    def take_batch(self) -> tuple[tuple[OffsetRange, ...], list[ValidatedRecord]]:
        """
        Hand over all that is held, with the offsets it covers.

        Of all partitions when the topic's id was learned meanwhile: it is to be
        stored, also where there is nothing else to store.
        """
        learned, self._stored_topic_id = self._stored_topic_id != self.topic_id, self.topic_id
        spans = []
        for partition in self._partitions.states.values():
            if partition.ownership is not None and (learned or partition.position > partition.queued_offset):
                spans.append(OffsetRange(partition.ownership, partition.queued_offset, partition.position))
                partition.queued_offset = partition.position
        entries, self._buffer, self._buffer_bytes = self._buffer, [], 0
        return tuple(spans), entries

    def pending_claims(self) -> list[Claim]:
        """
        The partitions to claim now, each asked for once.

        Raises:
            ConfigurationError: the topic is not what it was.
        """
        waiting = [
            each
            for each in self._partitions.states.values()
            if not each.ownership and not each.claim_requested and each.backoff.is_due
        ]
        if not waiting or not self._claim_backoff.is_due:
            return []
        try:
            claims = self._build_claims(waiting)
        except Unavailable as error:
            self._claim_backoff.next_delay()
            logger.warning("partitions cannot be claimed yet: %s", error)
            return []
        self._claim_backoff.reset()
        for partition in waiting:
            partition.claim_requested = True
        return claims

    def accept_claim(self, granted: ClaimGranted) -> None:
        """
        Take a granted claim; one whose assignment has ended meanwhile is dropped.

        Raises:
            OffsetOutOfRange: the stored offset is not in the log.
        """
        number = granted.claim.assignment.partition
        partition = self._partitions.states.get(number)
        if partition is None or partition.assignment != granted.claim.assignment:
            return
        ownership, next_offset = granted.result
        try:
            self._check_in_log(number, next_offset)
        except Unavailable as error:
            partition.claim_requested = False
            partition.backoff.next_delay()
            logger.warning("%s[%d] has to be claimed again: %s", self._topic, number, error)
            return
        partition.ownership = ownership
        partition.stored_offset = partition.queued_offset = partition.position = next_offset
        partition.backoff.retry_at = 0.0
        if granted.claim.topic_id is None:
            self._stored_topic_id = None
        logger.info("claimed %s[%d] from offset %d, epoch %d", self._topic, number, next_offset, ownership.epoch)

    def drop_ownership(self, ownership: Ownership) -> None:
        """Drop what was read under an ownership that has ended; claim again later, if Kafka still assigns it to us."""
        partition = self._partitions.states.get(ownership.partition)
        if partition is None or partition.ownership != ownership:
            return
        self._partitions.stop(ownership.partition)
        partition.ownership, partition.claim_requested = None, False
        partition.backoff.next_delay()
        tell = logger.error if partition.backoff.failures >= FENCED_OFTEN else logger.warning
        tell(
            "%s[%d] was claimed by another sink, or its offset was reset (%d times by now); if this repeats, two "
            "consumer groups of one name store into this database",
            self._topic,
            ownership.partition,
            partition.backoff.failures,
        )

    def detect_reset(self, next_offsets: Mapping[int, int]) -> None:
        """
        Compare what the database tells with what we stored: where they differ, the offset was reset, by whomever.

        A sink with nothing to store would not hear of it otherwise.
        """
        for number, partition in list(self._partitions.states.items()):
            if (
                partition.ownership is not None
                and next_offsets.get(number, partition.stored_offset) != partition.stored_offset
            ):
                self.drop_ownership(partition.ownership)

    def confirm_stored(self, spans: Sequence[OffsetRange]) -> dict[int, int]:
        """Which of these stored offsets are still ours, by partition."""
        ours = {}
        for span in spans:
            partition = self._partitions.states.get(span.ownership.partition)
            if partition is not None and partition.ownership == span.ownership:
                partition.backoff.failures = 0
                partition.stored_offset = span.end
                ours[span.ownership.partition] = span.end
        return ours

    def progress(self) -> tuple[dict[int, int], dict[int, int]]:
        """Of each claimed partition: the next offset to store, and where its log ends as far as the last fetch told."""
        stored = {
            number: each.stored_offset for number, each in self._partitions.states.items() if each.ownership is not None
        }
        return stored, self._partitions.high_watermarks(stored)

    def run_housekeeping(self) -> None:
        """
        Begin to read what was granted, and what had to wait; see that the topic is still the same.

        Raises:
            TopicUnusable: the topic was created anew.
        """
        self._partitions.start()
        self._topic_id_watch.poll()

    def _drop(self, number: int) -> None:
        self._buffer = [entry for entry in self._buffer if entry.record.partition != number]
        self._buffer_bytes = sum(len(entry.record.value or b"") for entry in self._buffer)

    def _build_claims(self, waiting: Sequence[SinkPartition]) -> list[Claim]:
        described = self._topics.describe(self._topic)
        self._topic_id_watch.check(described.topic_id)
        numbers = [partition.assignment.partition for partition in waiting]
        extents = self._topics.watermarks(self._topic, numbers)
        starts = start_offsets(self._start, self._topics, self._topic, extents)
        return [
            Claim(partition.assignment, self._topic, self.topic_id, starts[number], extents[number].low)
            for number, partition in zip(numbers, waiting, strict=True)
        ]

    def _check_in_log(self, number: int, next_offset: int) -> None:
        begin, end = self._topics.watermarks(self._topic, [number])[number]
        if begin <= next_offset <= end:
            return
        lost = (
            f"{begin - next_offset} records were dropped before they were stored"
            if next_offset < begin
            else ("the log is shorter than what was stored of it: the topic was restored or its broker lost records")
        )
        raise OffsetOutOfRange(
            f"the stored offset of {self._topic}[{number}] is {next_offset}, but its log reaches from {begin} to "
            f"{end}: {lost}; decide where to go on: {self._reset} --partition {number} --to {_POSITIONS}"
        )
