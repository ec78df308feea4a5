"""The partitions a stage reads: found out where from, read, and put back when a record cannot be judged now."""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from tradepipe.contract.record import Record
from tradepipe.errors import RegistryAway, SchemaPending, UnsupportedSchema
from tradepipe.kafka.consumer import Assignment, Consumer
from tradepipe.pipeline.backoff import delay

logger = logging.getLogger(__name__)

AT_ONCE: Final = 1_000
"""Records judged before anything else is looked after."""


@dataclass(slots=True)
class Partition:
    """
    One assignment.

    `position` is the offset up to which records have been judged; nothing is
    tried before `due`, `failed` times it was in vain.
    """

    assignment: Assignment
    position: int = 0
    reading: bool = False
    due: float = 0.0
    failed: int = 0

    @property
    @abstractmethod
    def is_placed(self) -> bool:
        """Whether it is known where to read."""

    def put_off(self) -> None:
        """Try again later; the later, the more often it failed."""
        self.due = time.monotonic() + delay(self.failed)
        self.failed += 1


P = TypeVar("P", bound=Partition)


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
        self._made = made
        self._dropped = dropped
        self._paused = False
        self.unsupported: UnsupportedSchema | None = None
        """A writer schema this build cannot hold; nothing is read any more, what precedes it is to be written."""

    @property
    def reading(self) -> bool:
        """Whether any of them is being read."""
        return any(partition.reading for partition in self.values())

    @property
    def is_settled(self) -> bool:
        """Whether the group has answered, and of all it assigned to us is known where to read."""
        return self._consumer.has_answer and all(partition.is_placed for partition in self.values())

    @property
    def waits_for_registry(self) -> bool:
        """Whether one of them stands still because the registry has no answer yet."""
        now = time.monotonic()
        return any(each.is_placed and not each.reading and each.due > now for each in self.values())

    @property
    def paused(self) -> bool:
        """Whether nothing is fetched until `resume`."""
        return self._paused

    def poll(self, most: int, timeout: float) -> list[Record]:
        """
        At most so many records, and whatever the group has to say; waits up to `timeout` seconds for the first.

        Raises:
            Misconfigured: the brokers refuse us, or the log was cut.
        """
        records = self._consumer.poll(most, timeout)
        self._follow()
        return records

    def advance(self) -> None:
        """All that was polled is judged, or was put back."""
        for number, partition in self.items():
            partition.position = self._consumer.position(number) or partition.position

    def put_back(self, records: Sequence[Record], error: RegistryAway | UnsupportedSchema) -> None:
        """Read these records again later: the first one's partition when it is due, the others at once."""
        for record in reversed(records):
            partition = self[record.partition]
            partition.reading, partition.position = False, record.offset
        for number in {record.partition for record in records}:
            self._consumer.stop(number)
        if isinstance(error, UnsupportedSchema):
            self.unsupported = error
            return
        partition = self[records[0].partition]
        if isinstance(error, SchemaPending):
            partition.due = time.monotonic() + error.retry_after
        else:
            partition.put_off()
        logger.warning("%s waits: %s", records[0].coordinates, error)

    def start(self) -> None:
        """Begin to read what has its place, and what had to wait."""
        if self._paused or self.unsupported is not None:
            return
        now = time.monotonic()
        for partition in self.values():
            if partition.is_placed and not partition.reading and partition.due <= now:
                partition.reading = self._consumer.start(partition.assignment, partition.position)

    def stop(self, number: int) -> None:
        """Deliver nothing more of one of them until it is started again."""
        self._dropped(number)
        self._consumer.stop(number)
        self[number].reading = False

    def pause(self) -> None:
        """Fetch nothing until `resume`; the group membership goes on."""
        self._paused = True
        self._consumer.pause(self)

    def resume(self) -> None:
        """Fetch again."""
        self._paused = False
        self._consumer.resume(number for number, partition in self.items() if partition.reading)

    def ends(self, numbers: Iterable[int]) -> dict[int, int]:
        """Where the logs of these end, as far as the last fetch told."""
        return {number: end for number in numbers if (end := self._consumer.end(number)) is not None}

    def _follow(self) -> None:
        """Forget the partitions that left us; note the ones that came."""
        assigned = self._consumer.assignments
        for number in [n for n, partition in self.items() if assigned.get(n) != partition.assignment]:
            del self[number]
            self._dropped(number)
        for number, assignment in assigned.items():
            if number not in self:
                self[number] = self._made(assignment)
