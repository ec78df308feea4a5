"""
One batch, one transaction: its offsets, its trades and its refusals.

Whoever calls `store` begins the transaction before and commits it after, so
that a COMMIT without an answer can be told from all other failures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, text

from tradepipe.postgres import insert, offsets, refusals
from tradepipe.postgres.insert import RowsVanished
from tradepipe.postgres.offsets import OffsetRange, Ownership
from tradepipe.postgres.stale import Stale
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Refusal, ValidRecord

ValidatedRecord = ValidRecord | Refusal
"""What the log holds at one offset, judged."""


@dataclass(frozen=True, slots=True)
class Batch:
    """
    What is stored together: records in the order in which they were read, and the offsets they cover.

    A span without entries moves an offset over transaction markers, or stores the topic's id alone.
    """

    group: str
    topic_id: str | None
    ranges: tuple[OffsetRange, ...]
    records: Sequence[ValidatedRecord]

    def without_partition(self, ownership: Ownership) -> "Batch":
        """The batch less what was read under an ownership that has ended."""
        return replace(
            self,
            ranges=tuple(span for span in self.ranges if span.ownership != ownership),
            records=[entry for entry in self.records if entry.record.partition != ownership.partition],
        )

    def halves(self) -> tuple["Batch", "Batch"]:
        """The batch as two that are stored one after the other."""
        middle = len(self.records) // 2
        first, second = self.records[:middle], self.records[middle:]
        reached = {entry.record.partition: entry.record.offset + 1 for entry in first}
        left, right = [], []
        for span in self.ranges:
            cut = reached.get(span.ownership.partition, span.start)
            if cut > span.start:
                left.append(span._replace(end=cut))
            if cut < span.end:
                right.append(span._replace(start=cut))
        return replace(self, ranges=tuple(left), records=first), replace(self, ranges=tuple(right), records=second)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """
    What became of a batch.

    `inserted`, `replayed` and the refusals add up to the batch's entries.
    """

    batch: Batch
    inserted: int
    duplicates: int
    refusals: tuple[Refusal, ...]
    skipped: frozenset[int]

    @property
    def trades(self) -> Iterator[Trade]:
        """The trades that went into the table, in the order in which they were read."""
        for ordinal, entry in enumerate(self.batch.records):
            if ordinal not in self.skipped and isinstance(entry, ValidRecord):
                yield entry.trade


def store(connection: Connection, batch: Batch, *, defer: bool = True, stale: Stale = "accept") -> BatchResult:
    """
    Do all of a batch but its COMMIT.

    Of several records with one KEY the first stays: the one in the table, else
    the earliest of the batch. A later one with the same content is a replay; one
    with other content is refused as a collision.

    Args:
        defer: let constraints that a user deferred wait for COMMIT, which can
            only refuse the whole batch; else they refuse single trades too.

        stale: "refuse" a version that is older than one of its trade that was
            stored before it; one that is itself stored stays a replay.

    Raises:
        Fenced: a partition is no longer ours.

        Unaccounted: rows were deleted meanwhile.

        sqlalchemy.exc.DBAPIError, psycopg2.Error: anything the database says of
            the whole batch; what it says of single trades becomes a refusal.
    """
    offsets.advance(connection, batch.group, batch.ranges, topic_id=batch.topic_id)
    rows = [(ordinal, entry) for ordinal, entry in enumerate(batch.records) if isinstance(entry, ValidRecord)]
    if not defer:
        connection.execute(_MAX_PARAMETERS)
    piece = insert.insert(connection, rows, stale)
    refused = [entry for entry in batch.records if isinstance(entry, Refusal)]
    refused += [refusal for _, refusal in piece.refused]
    refusals.store(connection, refused, group=batch.group, topic_id=batch.topic_id)
    if piece.inserted + len(piece.duplicates) + len(refused) != len(batch.records):
        raise RowsVanished(
            f"a batch of {len(batch.records)} records came to {piece.inserted} inserted, "
            f"{len(piece.duplicates)} replayed and {len(refused)} refused"
        )
    skipped = frozenset(piece.duplicates) | {ordinal for ordinal, _ in piece.refused}
    return BatchResult(batch, piece.inserted, len(piece.duplicates), tuple(refused), skipped)


_MAX_PARAMETERS: Final = text("SET CONSTRAINTS ALL IMMEDIATE")
