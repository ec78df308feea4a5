"""Partitions: the read state of the assigned ones, the start position of a new group, and the partition of a key."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from tradepipe.errors import ConfigurationError, RegistryUnavailable, SchemaIdNotYetKnown, UnsupportedSchema
from tradepipe.kafka.admin import Topic, TopicAdmin, Watermarks
from tradepipe.kafka.assignment import Assignment
from tradepipe.kafka.consumer import Consumer
from tradepipe.outage import Backoff, Outage
from tradepipe.pipeline.stats import REGISTRY
from tradepipe.pipeline.topic_watch import TopicIdWatch
from tradepipe.plural import format_count
from tradepipe.trade.record import Record
from tradepipe.trade.records import Records

logger = logging.getLogger(__name__)

MAX_CHECKED_KEY: Final = 1_000
"""Bytes of a key whose partition is checked, more than a trade's has: a megabyte takes a tenth of a second to hash."""

_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def default_partition(key: bytes, partitions: int) -> int:
    """
    Return the partition of a key in a topic with `partitions` partitions.

    As Java's client and librdkafka's `murmur2` partitioner. A producer with another one
    puts the versions of a trade on two partitions, where they lose their order.

    >>> default_partition(b"T1", 4)
    0
    """
    # Kafka's variant of MurmurHash2, as an unsigned number of 32 bits.
    length = len(key)
    tail = length & 3
    value = 0x9747B28C ^ length
    for begin in range(0, length - tail, 4):
        word = int.from_bytes(key[begin : begin + 4], "little") * _M & _MASK
        word = (word ^ word >> 24) * _M & _MASK
        value = value * _M & _MASK ^ word
    if tail:
        value = (value ^ int.from_bytes(key[length - tail :], "little")) * _M & _MASK
    value = (value ^ value >> 13) * _M & _MASK
    value ^= value >> 15
    # Java clears the sign bit instead of taking the absolute value, which differs for negative hashes.
    return (value & 0x7FFFFFFF) % partitions


StartPosition = Literal["earliest", "latest"] | datetime
"""The first record, the end of the log, or the first record that is not older than a time."""


def check_start(start: StartPosition | None) -> None:
    """Check a start position; raises `ConfigurationError`."""
    if isinstance(start, datetime):
        problem = "a datetime needs a time zone" if start.utcoffset() is None else ""
    else:
        problem = "" if start in (None, "earliest", "latest") else "it must be earliest, latest or a datetime"
    if problem:
        raise ConfigurationError(f"start is {start!r}: {problem}")


def start_offsets(
    start: StartPosition, topics: TopicAdmin, topic: str, extents: Mapping[int, Watermarks]
) -> dict[int, int]:
    """Return the start offset of each partition; raises as `TopicAdmin`."""
    if isinstance(start, datetime):
        return topics.offsets_for_time(topic, list(extents), int(start.timestamp() * 1000))
    return {number: extent.high if start == "latest" else extent.low for number, extent in extents.items()}


def warn_of_dropped_records(group: str, topic: str, partition: int, begin: int) -> None:
    """Warn that the first records of a log were dropped before a new group could process them."""
    logger.warning(
        "new group %s starts %s[%d] at offset %d: the log no longer has the %s before it "
        "(retention, or the broker's size limit)",
        group,
        topic,
        partition,
        begin,
        format_count(begin, "record"),
    )


MAX_POLL_RECORDS: Final = 1_000
"""Records validated before the stage does anything else."""

MAX_BATCH_BYTES: Final = 32 << 20
"""Bytes of keys and values in one batch, or in one of each connection: bounds memory when records are large."""

UNASSIGNED_POLL_SECONDS: Final = 0.05
"""Seconds to wait for a record when no partition is read; also how late an assignment is noticed."""


@dataclass(slots=True)
class PartitionState(ABC):
    """
    Read state of one assigned partition.

    `position` is the offset up to which records have been validated; `is_active`
    is True while records are delivered; `backoff` spaces out the tries to read on;
    `stopped` is why nothing more is read before the partition is assigned again.
    """

    assignment: Assignment
    position: int = 0
    is_active: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    stopped: Exception | None = None

    @property
    @abstractmethod
    def has_start_offset(self) -> bool:
        """True once the offset to read from is known."""


P = TypeVar("P", bound=PartitionState)


class PartitionReader(ABC, Generic[P]):
    """
    Reader of the assigned partitions, whose read states follow the consumer group.

    Subclasses create the read states, find the start offsets, and validate.

    Args:
        reset: what an operator does if the topic was recreated.
    """

    def __init__(self, consumer: Consumer, topics: TopicAdmin, *, topic: str, reset: str) -> None:
        self._consumer = consumer
        self._topics = topics
        self._topic = topic
        self.topic_id_watch = TopicIdWatch(topics, topic, advice=reset)
        self._states: dict[int, P] = {}
        self._partition_count = 0
        # Counted here and published twice a second: a poll of an idle stage should cost next to nothing.
        self.consumed = 0
        """Polled records."""
        self.last_poll: float | None = None
        """Unix time of the last poll."""
        self.misplaced = 0
        """Records on another partition than their keys say, among the first ones of each poll."""
        self._registry_outage = Outage(REGISTRY, logger)
        self._waiting_for_registry: dict[int, int] = {}
        """Offsets of the records that wait for the end of an outage, one of a partition."""
        self.is_paused = False
        """True if nothing is fetched until `resume`."""
        self.unsupported_schema: UnsupportedSchema | None = None
        """A writer schema this build cannot hold: nothing more is read, and what precedes it is written."""

    @property
    @abstractmethod
    def done_offsets(self) -> dict[int, int]:
        """The next offset to store or to commit, of each partition that is located."""

    @abstractmethod
    def _create_state(self, assignment: Assignment) -> P:
        """Return the read state of a new assignment."""

    @abstractmethod
    def _drop(self, number: int) -> None:
        """Drop the buffered records of a partition: its next owner reads them, or this reader once more."""

    @property
    def high_watermarks(self) -> dict[int, int]:
        """The high watermark at the last fetch of each located partition."""
        numbers = self.done_offsets
        return {number: end for number in numbers if (end := self._consumer.high_watermark(number)) is not None}

    def open(self, description: Topic) -> None:
        """Join the consumer group."""
        self._partition_count = len(description.partitions)
        self.topic_id_watch.check(description.topic_id)
        self._consumer.open()

    @property
    def is_reading(self) -> bool:
        """True if records of a partition are delivered."""
        return any(partition.is_active for partition in self._states.values())

    @property
    def is_ready(self) -> bool:
        """True if the group has answered, and every assigned partition has a start offset, and can be read from it."""
        return self._consumer.has_joined and all(
            partition.has_start_offset and partition.stopped is None and not partition.assignment.is_blocked
            for partition in self._states.values()
        )

    @property
    def stopped(self) -> dict[int, Exception]:
        """The partitions that are stopped, with the reasons."""
        return {number: each.stopped for number, each in self._states.items() if each.stopped is not None}

    @property
    def waits_for_registry(self) -> bool:
        """True if a partition is held back until the registry answers."""
        # Also when its wait is over, until it is started again: it is about to ask, and most often waits on.
        return any(
            each.has_start_offset and not each.is_active and each.stopped is None and each.backoff.retry_at > 0
            for each in self._states.values()
        )

    def pause(self) -> None:
        """Fetch nothing until `resume`; the consumer stays in its group as long as it is polled."""
        self.is_paused = True
        self._consumer.pause(self._states)

    def resume(self) -> None:
        """Fetch again."""
        self.is_paused = False
        # Without those that wait: they are started when their back-off has passed.
        self._consumer.resume(number for number, partition in self._states.items() if partition.is_active)

    def _poll(self, max_records: int, timeout: float) -> Records:
        """Poll as the consumer does, for up to `timeout` seconds, and update the assignment."""
        records = self._consumer.poll(max_records, timeout if self.is_reading else UNASSIGNED_POLL_SECONDS)
        assigned = self._consumer.assignments
        # An assignment that was revoked and came back is a new one: another member may have had it in between.
        for number in [n for n, partition in self._states.items() if assigned.get(n) is not partition.assignment]:
            del self._states[number]
            self._drop(number)
        for number, assignment in assigned.items():
            if number not in self._states:
                self._states[number] = self._create_state(assignment)
        self.last_poll = time.time()
        if records:
            self.consumed += len(records)
            # One record of a poll, because the hash of every key would cost a tenth of the throughput.
            self._check_partition(records[0])
        return records

    def _check_partition(self, record: Record) -> None:
        """Count a record that is not on the partition of its key, and warn of the first one."""
        key, count = record.key, self._partition_count
        if not key or not count or len(key) > MAX_CHECKED_KEY:
            return
        if (expected := default_partition(key, count)) != record.partition:
            self.misplaced += 1
            if self.misplaced == 1:
                logger.warning(
                    "%s is not on partition %d, where the default partitioner (murmur2) puts its key: a producer "
                    "uses another partitioner, or partitions were added. Versions of one trade may be out of order",
                    record.coordinates,
                    expected,
                )

    def _update_positions(self) -> None:
        """Note that every polled record was validated or requeued."""
        # Not during the poll: until its records are validated, a batch must not cover them.
        for partition in self._states.values():
            if partition.assignment.next_offset is not None:
                partition.position = partition.assignment.next_offset
        if not self._waiting_for_registry:
            return
        # The registry answers again once a record that waited for it is validated. Records of other partitions prove
        # nothing: their schemas are known.
        waiting = {each: offset for each, offset in self._waiting_for_registry.items() if each in self._states}
        if any(self._states[each].position > offset for each, offset in waiting.items()):
            self._registry_outage.end()
            waiting = {}
        elif not waiting:  # their next owner will know; an outage that follows is another one
            self._registry_outage = Outage(REGISTRY, logger)
        self._waiting_for_registry = waiting

    def _requeue(self, records: Records, error: RegistryUnavailable | UnsupportedSchema) -> None:
        """Read these records again: the first one's partition after its back-off, the others at once."""
        # In reverse, so that each partition ends at its first record.
        for run in reversed(records.runs):
            partition = self._states[run.partition]
            partition.is_active, partition.position = False, run.offsets[0]
        # Stopped before the positions are updated: a stopped partition has no position in the consumer, which would
        # otherwise move ours past the records that are read again.
        for number in {run.partition for run in records.runs}:
            self._consumer.stop_delivery(number)
        if isinstance(error, UnsupportedSchema):
            self.unsupported_schema = error
            return
        first = records[0]
        place = f"{first.topic}[{first.partition}]"
        backoff = self._states[first.partition].backoff
        if isinstance(error, SchemaIdNotYetKnown):
            backoff.postpone(error.retry_after)
            logger.warning("paused %s at offset %d: %s", place, first.offset, error)
        else:
            backoff.next_delay()
            self._waiting_for_registry[first.partition] = first.offset
            self._registry_outage.begin(error, f"retrying, paused {place} at offset {first.offset}")

    def _start_partitions(self) -> None:
        """Start delivery of partitions with a start offset whose back-off has passed."""
        # A partition that is started while all are paused would be fetched; `resume` does not start any, the next turn
        # does.
        if self.is_paused or self.unsupported_schema is not None:
            return
        for partition in self._states.values():
            is_waiting = partition.stopped is not None or not partition.backoff.is_due
            if partition.has_start_offset and not partition.is_active and not is_waiting:
                partition.is_active = self._consumer.start_delivery(partition.assignment, partition.position)

    def _stop_partition(self, number: int) -> None:
        """Stop delivery of a partition until it is started again, and drop its buffered records."""
        self._drop(number)
        self._consumer.stop_delivery(number)
        self._states[number].is_active = False

    def _stop_at_limit(self, number: int, reason: Exception) -> None:
        """
        Stop reading a partition, and continue with the others.

        Raises the reason if no other is left: then the stage is likelier to be wrong than the data.
        """
        self._stop_partition(number)
        self._states[number].stopped = reason
        logger.error(
            "stopped reading partition %d, the others continue; it is read again when the stage is started again, or "
            "when the group moves the partition: %s",
            number,
            reason,
        )
        if all(each.stopped is not None for each in self._states.values()):
            raise reason
