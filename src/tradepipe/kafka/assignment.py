"""Assignments of partitions to a consumer, and its positions in them."""

from collections.abc import Mapping


class Assignment:
    """
    An assignment of a partition until it is revoked, and the read position of its consumer.

    If the partition is assigned again, that is another assignment, and not equal to this one.
    """

    __slots__ = ("next_offset", "partition", "paused")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        # Not delivered, so not the consumer's to report, between `stop_delivery` and the next `start_delivery`.
        self.next_offset: int | None = None
        """The offset after the last delivered record or transaction marker; None while nothing is delivered."""
        self.paused = True


def advance(assignments: Mapping[int, Assignment], partitions: list[int], offsets: list[int]) -> int | None:
    """
    Move the positions behind delivered records, given by their partitions and offsets.

    Returns:
        How many offsets were skipped because they have no record; None, with no position moved, if a record is
        of a partition that delivers nothing now, or before its position.
    """
    # The offsets of each partition ascend, so the last pair of a partition has its last offset.
    lasts, skipped = dict(zip(partitions, offsets, strict=True)), 0
    ends = []
    for partition, last in lasts.items():
        assignment = assignments.get(partition)
        if assignment is None or assignment.next_offset is None:
            return None
        if offsets[partitions.index(partition)] < assignment.next_offset:
            return None
        skipped += last + 1 - assignment.next_offset - partitions.count(partition)
        ends.append((assignment, last + 1))
    for assignment, end in ends:
        assignment.next_offset = end
    return skipped
