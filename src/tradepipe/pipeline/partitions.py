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
"""The first record, behind the last, or the first that is not older."""


def start_offsets(
    start: StartPosition, topics: TopicAdmin, topic: str, extents: Mapping[int, Watermarks]
) -> dict[int, int]:
    """
    The offsets of a start, by partition.

    Raises:
        BrokerUnavailable, ConfigurationError: as the methods of `Topics`.
    """
    if isinstance(start, datetime):
        return topics.offsets_for_time(topic, list(extents), int(start.timestamp() * 1000))
    return {number: extent.high if start == "latest" else extent.low for number, extent in extents.items()}


MAX_POLL_RECORDS: Final = 1_000
"""Records judged before anything else is looked after."""


@dataclass(slots=True)
class PartitionState(ABC):
    """
    One assignment.

    `position` is the offset up to which records have been validated; `backoff`
    spaces out the tries to read on.
    """

    assignment: Assignment
    position: int = 0
    is_active: bool = False
    backoff: Backoff = field(default_factory=Backoff)

    @property
    @abstractmethod
    def has_start_offset(self) -> bool:
        """Whether it is known where to read."""


P = TypeVar("P", bound=PartitionState)


class Partitions(dict[int, P], Generic[P]):
    """
    What is assigned to a stage, by number.

    Args:
        made: a partition of an assignment that has come.

        dropped: told of each partition that left us: what is held of it is its next owner's.
    """

    def __init__(self, consumer: Consumer, made: Callable[[Assignment], P], dropped: Callable[[int], None]) -> None:
        super().__init__()
        self._consumer = consumer
        self._create = made
        self._on_dropped = dropped
        self._paused = False
        self.unsupported_schema: UnsupportedSchema | None = None
        """A writer schema this build cannot hold; nothing is read any more, what precedes it is to be written."""

    @property
    def any_active(self) -> bool:
        """Whether any of them is being read."""
        return any(partition.is_active for partition in self.values())

    @property
    def is_ready(self) -> bool:
        """Whether the group has answered, and of all it assigned to us is known where to read."""
        return self._consumer.has_joined and all(partition.has_start_offset for partition in self.values())

    @property
    def waits_for_registry(self) -> bool:
        """Whether one of them stands still because the registry has no answer yet."""
        return any(each.has_start_offset and not each.is_active and not each.backoff.is_due for each in self.values())

    @property
    def is_paused(self) -> bool:
        """Whether nothing is fetched until `resume`."""
        return self._paused

    def poll(self, most: int, timeout: float) -> list[Record]:
        """
        At most so many records, and whatever the group has to say; waits up to `timeout` seconds for the first.

        Raises:
            ConfigurationError: the brokers refuse us, or the log was cut.
        """
        records = self._consumer.poll(most, timeout)
        self._sync_assignment()
        return records

    def update_positions(self) -> None:
        """All that was polled is judged, or was put back."""
        for number, partition in self.items():
            partition.position = self._consumer.position(number) or partition.position

    def requeue(self, records: Sequence[Record], error: RegistryUnavailable | UnsupportedSchema) -> None:
        """Read these records again later: the first one's partition when it is due, the others at once."""
        for record in reversed(records):
            partition = self[record.partition]
            partition.is_active, partition.position = False, record.offset
        for number in {record.partition for record in records}:
            self._consumer.stop_delivery(number)
        if isinstance(error, UnsupportedSchema):
            self.unsupported_schema = error
            return
        partition = self[records[0].partition]
        if isinstance(error, SchemaIdNotYetKnown):
            partition.backoff.postpone(error.retry_after)
        else:
            partition.backoff.next_delay()
        logger.warning("%s waits: %s", records[0].coordinates, error)

    def start(self) -> None:
        """Begin to read what has its place, and what had to wait."""
        if self._paused or self.unsupported_schema is not None:
            return
        for partition in self.values():
            if partition.has_start_offset and not partition.is_active and partition.backoff.is_due:
                partition.is_active = self._consumer.start_delivery(partition.assignment, partition.position)

    def stop(self, number: int) -> None:
        """Deliver nothing more of one of them until it is started again."""
        self._on_dropped(number)
        self._consumer.stop_delivery(number)
        self[number].is_active = False

    def pause(self) -> None:
        """Fetch nothing until `resume`; the group membership goes on."""
        self._paused = True
        self._consumer.pause(self)

    def resume(self) -> None:
        """Fetch again."""
        self._paused = False
        self._consumer.resume(number for number, partition in self.items() if partition.is_active)

    def high_watermarks(self, numbers: Iterable[int]) -> dict[int, int]:
        """Where the logs of these end, as far as the last fetch told."""
        return {number: end for number in numbers if (end := self._consumer.high_watermark(number)) is not None}

    def _sync_assignment(self) -> None:
        """Forget the partitions that left us; note the ones that came."""
        assigned = self._consumer.assignments
        for number in [n for n, partition in self.items() if assigned.get(n) != partition.assignment]:
            del self[number]
            self._on_dropped(number)
        for number, assignment in assigned.items():
            if number not in self:
                self[number] = self._create(assignment)
