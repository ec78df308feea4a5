"""
One batch, one transaction: its offsets, its trades and its refusals.

Whoever calls `store` begins the transaction before and commits it after, so
that a COMMIT without an answer can be told from all other failures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, text

from tradepipe.contract.refusal import Refusal
from tradepipe.contract.trade import Trade
from tradepipe.postgres import insertion, offsets, refusals
from tradepipe.postgres.accepted import Accepted
from tradepipe.postgres.insertion import Unaccounted
from tradepipe.postgres.offsets import Ownership, Span
from tradepipe.postgres.staleness import Stale

Entry = Accepted | Refusal
"""What the log holds at one offset, judged."""


@dataclass(frozen=True, slots=True)
class Batch:
    """
    What is stored together: records in the order in which they were read, and the offsets they cover.

    A span without entries moves an offset over transaction markers, or stores the topic's id alone.
    """

    group: str
    topic_id: str | None
    spans: tuple[Span, ...]
    entries: Sequence[Entry]

    def without(self, ownership: Ownership) -> "Batch":
        """The batch less what was read under an ownership that has ended."""
        return replace(
            self,
            spans=tuple(span for span in self.spans if span.ownership != ownership),
            entries=[entry for entry in self.entries if entry.record.partition != ownership.partition],
        )

    def halves(self) -> tuple["Batch", "Batch"]:
        """The batch as two that are stored one after the other."""
        middle = len(self.entries) // 2
        first, second = self.entries[:middle], self.entries[middle:]
        reached = {entry.record.partition: entry.record.offset + 1 for entry in first}
        left, right = [], []
        for span in self.spans:
            cut = reached.get(span.ownership.partition, span.before)
            if cut > span.before:
                left.append(span._replace(after=cut))
            if cut < span.after:
                right.append(span._replace(before=cut))
        return replace(self, spans=tuple(left), entries=first), replace(self, spans=tuple(right), entries=second)


@dataclass(frozen=True, slots=True)
class Stored:
    """
    What became of a batch.

    `inserted`, `replayed` and the refusals add up to the batch's entries.
    """

    batch: Batch
    inserted: int
    replayed: int
    refusals: tuple[Refusal, ...]
    skipped: frozenset[int]

    @property
    def trades(self) -> Iterator[Trade]:
        """The trades that went into the table, in the order in which they were read."""
        for ordinal, entry in enumerate(self.batch.entries):
            if ordinal not in self.skipped and isinstance(entry, Accepted):
                yield entry.trade


def store(connection: Connection, batch: Batch, *, defer: bool = True, stale: Stale = "accept") -> Stored:
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
    offsets.advance(connection, batch.group, batch.spans, topic_id=batch.topic_id)
    rows = [(ordinal, entry) for ordinal, entry in enumerate(batch.entries) if isinstance(entry, Accepted)]
    if not defer:
        connection.execute(_AT_ONCE)
    piece = insertion.insert(connection, rows, stale)
    refused = [entry for entry in batch.entries if isinstance(entry, Refusal)]
    refused += [refusal for _, refusal in piece.refused]
    refusals.record(connection, refused, group=batch.group, topic_id=batch.topic_id)
    if piece.inserted + len(piece.replayed) + len(refused) != len(batch.entries):
        raise Unaccounted(
            f"a batch of {len(batch.entries)} records came to {piece.inserted} inserted, "
            f"{len(piece.replayed)} replayed and {len(refused)} refused"
        )
    skipped = frozenset(piece.replayed) | {ordinal for ordinal, _ in piece.refused}
    return Stored(batch, piece.inserted, len(piece.replayed), tuple(refused), skipped)


_AT_ONCE: Final = text("SET CONSTRAINTS ALL IMMEDIATE")
