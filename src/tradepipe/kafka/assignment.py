"""Assignments of partitions to a consumer, and its positions in them."""

from collections.abc import Iterable, Mapping
from typing import Final

from tradepipe.trade.records import Run

_MODULUS: Final = 1 << 31
"""Wrong offsets exceed the true ones by a multiple of this."""

_MAX_GAP: Final = _MODULUS // 2
"""Offsets between a position and a record that cannot be true: neither a gap of a log nor a batch has as many."""


def is_misnumbered(offset: int, position: int) -> bool:
    """
    Return whether the offset of a message is wrong.

    Kafka's brokers read the offset of a record within its batch as a number of 32 bits, and ignore the
    higher bits of its encoding, which librdkafka reads too. So a writer can add multiples of 2**31.
    """
    return offset - position >= _MAX_GAP


def correct_offset(offset: int, position: int) -> int | None:
    """Return the true offset of a misnumbered message; None if it is before the position, and so was read already."""
    gap = (offset - position) % _MODULUS
    return position + gap if gap < _MAX_GAP else None


class Assignment:
    """
    An assignment of a partition until it is revoked, and the read position of its consumer.

    If the partition is assigned again, that is another assignment, and not equal to this one.
    """

    __slots__ = ("is_blocked", "next_offset", "partition", "paused", "refuses_seeks_since")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        # Not delivered, so not the consumer's to report, between `stop_delivery` and the next `start_delivery`.
        self.next_offset: int | None = None
        """The offset after the last delivered record or transaction marker; None while nothing is delivered."""
        self.paused = True
        self.refuses_seeks_since: float | None = None
        """When the first of the last seeks failed, by `time.monotonic()`; None if the last one succeeded."""
        self.is_blocked = False
        """Whether seeks have failed for longer than they do at the start of an assignment."""


def advance(assignments: Mapping[int, Assignment], runs: Iterable[Run]) -> int | None:
    """
    Move the positions past delivered records.

    Returns:
        How many offsets were skipped because they have no record; None, with no position moved, if a record is
        of a partition that delivers nothing now, or before its position, or misnumbered.
    """
    skipped, ends = 0, dict[int, int]()
    for run in runs:
        assignment = assignments.get(run.partition)
        if assignment is None or assignment.next_offset is None:
            return None
        position = ends.get(run.partition, assignment.next_offset)
        # The offsets of a run ascend, but a misnumbered one is far above all others.
        if run.offsets[0] < position or is_misnumbered(max(run.offsets), position):
            return None
        ends[run.partition] = run.offsets[-1] + 1
        skipped += ends[run.partition] - position - len(run)
    for partition, next_offset in ends.items():
        assignments[partition].next_offset = next_offset
    return skipped
