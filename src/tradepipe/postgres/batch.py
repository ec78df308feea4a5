"""A batch in one transaction: offsets, trades and refusals."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, text

from tradepipe.postgres import insert, offsets, refusals
from tradepipe.postgres.failures import RowsVanished
from tradepipe.postgres.insert import DirectCopy
from tradepipe.postgres.offsets import OffsetRange, Ownership
from tradepipe.postgres.reconnect import CommitRefused, ReconnectingConnection
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Refusal, Stale
from tradepipe.trade.validated import ValidatedRecords, ValidRecord


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Records to store in one transaction, each partition's in the order of offsets, and the offset ranges they cover.

    A range without records moves an offset past transaction markers, or stores the topic's id alone.

    Attributes:
        first_timestamp: Unix time at which the first record was produced, if known.

        taken_at: when the batch was ready to be stored, on the system's monotonic clock.

        unconfirmed: the result of an earlier try whose COMMIT had no answer, if that was over another connection.
    """

    group: str
    topic_id: str | None
    ranges: tuple[OffsetRange, ...]
    records: ValidatedRecords
    first_timestamp: float | None = None
    taken_at: float = field(default_factory=time.monotonic)
    unconfirmed: "BatchResult | None" = field(default=None, repr=False)

    @property
    def partitions(self) -> set[int]:
        """The partitions whose offsets the batch moves."""
        return {each.ownership.partition for each in self.ranges}

    def without_partition(self, ownership: Ownership) -> "Batch":
        """Return the batch without the records and the range of an ownership that has ended."""
        return replace(
            self,
            ranges=tuple(each for each in self.ranges if each.ownership != ownership),
            records=self.records.without_partition(ownership.partition),
        )

    def halves(self) -> tuple["Batch", "Batch"]:
        """Split the batch into two that are stored one after the other."""
        middle = len(self.records) // 2
        first, second = self.records[:middle], self.records[middle:]
        ends = {run.partition: run.end for run in first.records.runs}
        left, right = [], []
        for whole in self.ranges:
            # The first half ends right after its last record; offsets without a record follow in the second half, which
            # must start exactly where the first ended: its compare-and-set expects that offset.
            cut = ends.get(whole.ownership.partition, whole.start)
            if cut > whole.start:
                left.append(whole._replace(end=cut))
            if cut < whole.end:
                right.append(whole._replace(start=cut))
        return replace(self, ranges=tuple(left), records=first), replace(self, ranges=tuple(right), records=second)


@dataclass(frozen=True, slots=True, repr=False)
class BatchResult:
    """
    The outcome of a batch that a sink stored; `Sink(on_stored=…)` receives it.

    Attributes:
        trades: the trades that were inserted, each partition's in the order of offsets.

        inserted: their number.

        duplicates: number of trades that were stored before, with the same content.

        refusals: the records that were refused; together with the other two, as many as the batch had records.

        skipped: ordinals of valid records that were not inserted.
    """

    batch: Batch
    inserted: int
    duplicates: int
    refusals: tuple[Refusal, ...]
    skipped: frozenset[int]

    def __repr__(self) -> str:
        # Not the batch: it is a page of records.
        return f"BatchResult(inserted={self.inserted}, duplicates={self.duplicates}, refused={len(self.refusals)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process has no registry client that decodes the trades.
        batch = replace(self.batch, records=self.batch.records.decoded())
        return BatchResult, (batch, self.inserted, self.duplicates, self.refusals, self.skipped)

    @property
    def trades(self) -> Iterator[Trade]:
        """Inserted trades, each partition's in the order of offsets."""
        for ordinal, validated in enumerate(self.batch.records):
            if ordinal not in self.skipped and isinstance(validated, ValidRecord):
                yield validated.trade


def store(
    connection: Connection,
    batch: Batch,
    *,
    defer: bool = True,
    stale: Stale = "accept",
    direct: DirectCopy | None = None,
) -> BatchResult:
    """
    Store a batch without COMMIT, so that the caller can distinguish a COMMIT without an answer from other failures.

    Of several records with one PRIMARY_KEY the first is kept: the one in the
    table, else the earliest of the batch. A later one with the same content is a
    duplicate; one with other content is refused as a collision.

    Args:
        defer: leave constraints that a user deferred to COMMIT, where they can
            only refuse the whole batch; otherwise they refuse single trades.

        stale: "refuse" a version older than one of its trade that was stored
            before it; a version that is itself stored is a duplicate.

        direct: whether to copy straight into the table; it notes the outcome. None
            for the first batch of a connection.

    Raises:
        Fenced: an ownership has ended.

        RowsVanished: rows were deleted during the transaction.

        sqlalchemy.exc.DBAPIError, psycopg2.Error: an error that no single trade
            causes; a trade that the database refuses becomes a refusal.
    """
    has_trades = len(batch.records) > len(batch.records.refusals)
    lock = insert.LOCK if has_trades else None
    if batch.ranges:
        # Before the trades: the row locks make a fenced sink fail before it writes anything.
        offsets.advance(connection, batch.group, batch.ranges, topic_id=batch.topic_id, preceded_by=lock)
    elif lock is not None:
        # A replay moves no offset, and its role has no right to that table.
        connection.exec_driver_sql(lock)
    if not defer:
        connection.execute(_CHECK_CONSTRAINTS_AT_ONCE)
    result = insert.insert(connection, batch.records, stale, direct or DirectCopy())
    refused = [*batch.records.refusals, *(refusal for _, refusal in result.refused)]
    if refused:
        refusals.store(connection, refused, group=batch.group, topic_id=batch.topic_id)
    records = len(batch.records.results)
    if result.inserted + len(result.duplicates) + len(refused) != records:
        raise RowsVanished(
            f"a batch of {records} records resulted in {result.inserted} inserted, "
            f"{len(result.duplicates)} duplicates and {len(refused)} refused"
        )
    # The trades of a batch are those of its records that are not skipped: a BatchResult holds no second copy of them.
    skipped = frozenset(result.duplicates) | {ordinal for ordinal, _ in result.refused}
    return BatchResult(batch, result.inserted, len(result.duplicates), tuple(refused), skipped)


_CHECK_CONSTRAINTS_AT_ONCE: Final = text("SET CONSTRAINTS ALL IMMEDIATE")


class BatchAttempt:
    """
    One batch on its way into the database; remembers a COMMIT without an answer.

    Attributes:
        unconfirmed: the result of the latest try if its COMMIT had no answer.
    """

    def __init__(
        self,
        connection: ReconnectingConnection,
        pending: Batch,
        stale: Stale,
        direct: DirectCopy,
        before_commit: Callable[[BatchResult], None],
    ) -> None:
        self._connection = connection
        self._batch = replace(pending, unconfirmed=None)
        self._stale = stale
        self._direct = direct
        self._check = before_commit
        self.unconfirmed = pending.unconfirmed
        self._defer = True

    def run(self) -> BatchResult:
        """Store the batch, or find that an earlier try has committed it."""
        try:
            return self._resolve_commit() or self._transact()
        except CommitRefused:
            # Deferred constraints are tried first, since they cost nothing until COMMIT. There they can only refuse
            # the whole batch; checked at once, they refuse single trades.
            self._defer = False
            return self._transact()

    def _transact(self) -> BatchResult:
        return self._connection.run_in_transaction(self._store)

    def _store(self, connection: Connection) -> BatchResult:
        result = store(connection, self._batch, defer=self._defer, stale=self._stale, direct=self._direct)
        self._check(result)
        # Before COMMIT: if its answer is lost, this is the result of what may have been committed.
        self.unconfirmed = result
        return result

    def _resolve_commit(self) -> BatchResult | None:
        """Return the result of an earlier try if its unanswered COMMIT took place."""
        if self.unconfirmed is None:
            return None
        # The question has its own retries: until it is answered, storing again could collide with our own rows.
        outcome = self._connection.retry_forever(
            lambda: self._connection.run_in_transaction(
                lambda connection: offsets.resolve_unknown_commit(connection, self._batch.group, self._batch.ranges)
            )
        )
        result, self.unconfirmed = self.unconfirmed, None
        if outcome.committed:
            return result
        for ownership in outcome.lost:
            raise offsets.Fenced(ownership)
        return None
