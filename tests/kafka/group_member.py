"""A member of a group as tests use it."""

from collections.abc import Callable
from typing import Any, Final

from tests.eventually import eventually
from tradepipe.kafka.consumer import Consumer
from tradepipe.trade.record import Record

EAGER: Final = {"group.protocol": "classic"}
COOPERATIVE: Final = {**EAGER, "partition.assignment.strategy": "cooperative-sticky"}
NEW: Final = {"group.protocol": "consumer"}
"""Properties by which the members of a group share partitions."""


class Member:
    """A consumer that is polled until a condition holds, and its records."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.records: list[Record] = []

    @property
    def values(self) -> list[bytes | None]:
        """The values of the records delivered so far."""
        return [record.value for record in self.records]

    @property
    def partitions(self) -> set[int]:
        """The assigned partitions."""
        return set(self.consumer.assignments)

    def position(self, partition: int) -> int | None:
        """Return the offset after the last delivered record of a partition; None if it is not delivered."""
        assignment = self.consumer.assignments.get(partition)
        return None if assignment is None else assignment.next_offset

    def poll(self, max_records: int = 100) -> list[Record]:
        """Poll once."""
        records = self.consumer.poll(max_records, 0.05)
        self.records += records
        return records

    def until(self, condition: Callable[[], Any], *others: "Member", within: float = 120.0) -> None:
        """Poll, the others too, until a condition holds."""
        eventually(lambda: [member.poll() for member in (self, *others)] and condition(), within=within, every=0)

    def assigned(self, *partitions: int) -> None:
        """Poll until exactly these partitions are assigned."""
        self.until(lambda: set(partitions) == self.partitions)

    def start(self, partition: int, offset: int, *others: "Member") -> None:
        """Read an assigned partition from an offset."""
        self.until(lambda: self.consumer.start_delivery(self.consumer.assignments[partition], offset), *others)

    def quiet(self, polls: int = 10) -> None:
        """Poll on for a while."""
        for _ in range(polls):
            self.poll()


def shared(first: Member, second: Member) -> bool:
    """Return whether two members share all of four partitions."""
    mine, yours = first.partitions, second.partitions
    return bool(mine and yours) and not mine & yours and mine | yours == {0, 1, 2, 3}
