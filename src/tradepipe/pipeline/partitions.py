"""Read state of the assigned partitions, and the start position of a new group."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from tradepipe.backoff import Backoff
from tradepipe.errors import RegistryUnavailable, SchemaIdNotYetKnown, UnsupportedSchema
from tradepipe.kafka.admin import TopicAdmin, Watermarks
from tradepipe.kafka.consumer import Assignment, Consumer
from tradepipe.trade.record import Record

logger = logging.getLogger(__name__)

StartPosition = Literal["earliest", "latest"] | datetime
"""The first record, the end of the log, or the first record that is not older than a time."""


def start_offsets(
    start: StartPosition, topics: TopicAdmin, topic: str, extents: Mapping[int, Watermarks]
) -> dict[int, int]:
    """
    Return the start offset of each partition.

    Raises:
        BrokerUnavailable: Kafka is unavailable.

        ConfigurationError: the topic does not exist or may not be read.
    """
    if isinstance(start, datetime):
        return topics.offsets_for_time(topic, list(extents), int(start.timestamp() * 1000))
    return {number: extent.high if start == "latest" else extent.low for number, extent in extents.items()}


MAX_POLL_RECORDS: Final = 1_000
"""Records validated before the stage does anything else."""


@dataclass(slots=True)
class PartitionState(ABC):
    """
    Read state of one assigned partition.

    `position` is the offset up to which records have been validated; `is_active`
    is True while records are delivered; `backoff` spaces out the tries to read on.
    """

    assignment: Assignment
    position: int = 0
    is_active: bool = False
    backoff: Backoff = field(default_factory=Backoff)

    @property
    @abstractmethod
    def has_start_offset(self) -> bool:
        """True once the offset to read from is known."""


P = TypeVar("P", bound=PartitionState)


class Partitions(Generic[P]):
    """
    Read states of the assigned partitions, kept in step with the consumer group.

    Args:
        create: creates the state of a new assignment.

        on_revoked: called with the number of each partition whose buffered records
            must be dropped: the next owner reads them.
    """

    def __init__(
        self, consumer: Consumer, create: Callable[[Assignment], P], on_revoked: Callable[[int], None]
    ) -> None:
        self._consumer = consumer
        self._create = create
        self._on_revoked = on_revoked
        self._states: dict[int, P] = {}
        self._paused = False
        self.unsupported_schema: UnsupportedSchema | None = None
        """A writer schema this build cannot hold: nothing more is read, and what precedes it is written."""

    @property
    def states(self) -> Mapping[int, P]:
        """Read states by partition number."""
        return self._states

    @property
    def any_active(self) -> bool:
        """True if records of a partition are delivered."""
        return any(partition.is_active for partition in self._states.values())

    @property
    def is_ready(self) -> bool:
        """True if the group has answered and every assigned partition has a start offset."""
        return self._consumer.has_joined and all(partition.has_start_offset for partition in self._states.values())

    @property
    def waits_for_registry(self) -> bool:
        """True if a partition is held back until the registry answers."""
        return any(
            each.has_start_offset and not each.is_active and not each.backoff.is_due for each in self._states.values()
        )

    @property
    def is_paused(self) -> bool:
        """True if nothing is fetched until `resume`."""
        return self._paused

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """
        Poll the consumer and update the assignment; wait up to `timeout` seconds for the first record.

        Raises:
            ConfigurationError: the brokers refuse the consumer, or the log was truncated.
        """
        records = self._consumer.poll(max_records, timeout)
        self._sync_assignment()
        return records

    def update_positions(self) -> None:
        """Note that every polled record was validated or requeued."""
        for number, partition in self._states.items():
            partition.position = self._consumer.position(number) or partition.position

    def requeue(self, records: Sequence[Record], error: RegistryUnavailable | UnsupportedSchema) -> None:
        """Read these records again: the first one's partition after its back-off, the others at once."""
        # In reverse, so that each partition ends at its first record.
        for record in reversed(records):
            partition = self._states[record.partition]
            partition.is_active, partition.position = False, record.offset
        for number in {record.partition for record in records}:
            self._consumer.stop_delivery(number)
        if isinstance(error, UnsupportedSchema):
            self.unsupported_schema = error
            return
        first = records[0]
        backoff = self._states[first.partition].backoff
        if isinstance(error, SchemaIdNotYetKnown):
            backoff.postpone(error.retry_after)
        else:
            backoff.next_delay()
        logger.warning("paused %s[%d] at offset %d: %s", first.topic, first.partition, first.offset, error)

    def start(self) -> None:
        """Start delivery of partitions with a start offset whose back-off has passed."""
        if self._paused or self.unsupported_schema is not None:
            return
        for partition in self._states.values():
            if partition.has_start_offset and not partition.is_active and partition.backoff.is_due:
                partition.is_active = self._consumer.start_delivery(partition.assignment, partition.position)

    def stop(self, number: int) -> None:
        """Stop delivery of a partition until it is started again, and drop its buffered records."""
        self._on_revoked(number)
        self._consumer.stop_delivery(number)
        self._states[number].is_active = False

    def pause(self) -> None:
        """Fetch nothing until `resume`; the consumer stays in its group as long as it is polled."""
        self._paused = True
        self._consumer.pause(self._states)

    def resume(self) -> None:
        """Fetch again."""
        self._paused = False
        # Without those that wait: they are started when their back-off has passed.
        self._consumer.resume(number for number, partition in self._states.items() if partition.is_active)

    def high_watermarks(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return the high watermarks of these partitions that the last fetch reported."""
        return {number: end for number in numbers if (end := self._consumer.high_watermark(number)) is not None}

    def _sync_assignment(self) -> None:
        assigned = self._consumer.assignments
        # An assignment that was revoked and came back is a new one: another member may have had it in between.
        for number in [n for n, partition in self._states.items() if assigned.get(n) != partition.assignment]:
            del self._states[number]
            self._on_revoked(number)
        for number, assignment in assigned.items():
            if number not in self._states:
                self._states[number] = self._create(assignment)


class PartitionReader(Generic[P]):
    """A reader of assigned partitions; subclasses find the start offsets and validate."""

    def __init__(self, partitions: Partitions[P]) -> None:
        self._partitions = partitions

    @property
    def is_ready(self) -> bool:
        """True if the group has answered and every assigned partition has a start offset."""
        return self._partitions.is_ready

    @property
    def is_reading(self) -> bool:
        """True if records of a partition are delivered."""
        return self._partitions.any_active

    @property
    def is_paused(self) -> bool:
        """True if nothing is fetched until `resume`."""
        return self._partitions.is_paused

    @property
    def unsupported_schema(self) -> UnsupportedSchema | None:
        """The writer schema before which reading has stopped, if any."""
        return self._partitions.unsupported_schema

    @property
    def waits_for_registry(self) -> bool:
        """True if a partition is held back until the registry answers."""
        return self._partitions.waits_for_registry

    def pause(self) -> None:
        """Fetch nothing until `resume`."""
        self._partitions.pause()

    def resume(self) -> None:
        """Fetch again."""
        self._partitions.resume()
