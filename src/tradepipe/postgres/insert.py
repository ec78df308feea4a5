"""
Insertion of trades: each is inserted, found to be a duplicate, or refused.

A whole batch is copied straight into the table, as most batches have no trade that
is stored already. If one conflicts, the keys of this batch and of the next ones are
looked up first. Trades whose keys are stored are copied into the staging table and
compared there; the others are copied straight, or inserted from the staging table if
they conflict too. If the database refuses a row, the batch is halved down to that row.
"""

from collections.abc import Sequence
from typing import Any, Final

import psycopg2
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from tradepipe.postgres import copy, stale
from tradepipe.postgres.bisection import InsertResult, collision, insert_bisecting, row_vanished
from tradepipe.postgres.copy import INSERT_COLUMNS, KEYS, STAGING
from tradepipe.postgres.failures import FailureClass, classify
from tradepipe.postgres.tables import TRADES
from tradepipe.trade.model import CONTENT_FIELDS, PRIMARY_KEY
from tradepipe.trade.record import Refusal, Stale
from tradepipe.trade.rules import violations
from tradepipe.trade.validated import ValidatedRecords

CAUTIOUS_BATCHES: Final = 4
"""Batches after a conflict that are not copied straight."""

# COPY would wait for the table's lock as an active statement, and if this process froze meanwhile, the server would
# wait for its rows. After a separate statement, the session is idle, and loses its locks in ten seconds.
LOCK: Final = f"LOCK TABLE {TRADES.name} IN ROW EXCLUSIVE MODE"
"""The first statement of a transaction that inserts trades."""


class Pause:
    """Counts the batches until something is tried again."""

    def __init__(self) -> None:
        self._batches = 0

    @property
    def is_over(self) -> bool:
        return self._batches == 0

    def start(self) -> None:
        self._batches = CAUTIOUS_BATCHES

    def end(self) -> None:
        self._batches = 0

    def count_batch(self) -> None:
        self._batches = max(0, self._batches - 1)


class DirectCopy:
    """
    Decides whether rows are copied straight into the table of trades: that takes half the time of an INSERT from
    staging.

    A conflict undoes the whole COPY and leaves its rows behind as dead ones, so after one only a series of batches
    without a conflict makes the next try worth it.

    Attributes:
        whole: the pause of copying whole batches; one conflicts if a trade of it is stored already.

        unstored: the pause of copying the rows that are not stored yet; they conflict if two of them have one key, or
            if another sink stores one at the same time.

        few_stored: whether less than half of the latest cautious batch was stored already. Then it is cheaper to look
            up all keys and stage the rows of those found than to stage all rows.
    """

    def __init__(self) -> None:
        self.whole = Pause()
        self.unstored = Pause()
        self.few_stored = True


def insert(connection: sa.Connection, records: ValidatedRecords, mode: Stale, direct: DirectCopy) -> InsertResult:
    """
    Insert the trades of the valid records.

    Raises:
        RowsVanished: rows were deleted during the transaction.

        sqlalchemy.exc.DBAPIError, psycopg2.Error: an error that is not of a single trade.
    """
    encoded = records.rows
    if not encoded:
        return InsertResult()
    try:
        if mode == "accept" and direct.whole.is_over:
            # After a deadlock with another sink, which stores the same keys in another order, the batch is tried again
            # through the staging table, which sorts them.
            direct.whole.start()
            direct.unstored.start()
            copied = _copy_directly(connection, encoded)
            direct.unstored.end()
            if copied:
                direct.whole.end()
                return InsertResult(len(encoded))
        # A failed statement aborts the whole transaction, offsets included; a savepoint limits that to these rows.
        with connection.begin_nested():
            return _insert_cautiously(connection, records, encoded, mode, direct)
    except (DBAPIError, psycopg2.Error) as error:
        if classify(error, connected_before=True) is not FailureClass.DATA:
            raise
    # Python finds those that break our rules at once. Halving down to each of them would insert the others again and
    # again, and a flood of bad records would stop the sink. What is left is refused for reasons of the database.
    rows = records.valid()
    found = {
        ordinal: Refusal(valid.record, broken, valid.schema_id)
        for ordinal, valid in rows
        if (broken := violations(valid.trade))
    }
    left = [row for row in rows if row[0] not in found]
    inserted = insert_bisecting(connection, left, mode) if left else InsertResult()
    return inserted.plus(InsertResult(refused=tuple(found.items())))


def _copy_directly(connection: sa.Connection, rows: Sequence[bytes]) -> bool:
    """Copy rows into the table of trades; return False if one of them conflicts, and nothing was inserted."""
    try:
        if copy.copy_rows(connection, TRADES, rows, savepoint=_SAVEPOINT) == len(rows):
            return True
    except psycopg2.Error as error:  # COPY does not go through SQLAlchemy
        if error.pgcode not in copy.NOT_DIRECTLY:
            if classify(error, connected_before=True) is FailureClass.DATA:
                connection.execute(_END_DIRECT)  # the transaction continues
            raise
    # A conflict, or a trigger that discards rows: the staging table shows which ones.
    connection.execute(_END_DIRECT)
    return False


def _insert_cautiously(
    connection: sa.Connection, records: ValidatedRecords, encoded: Sequence[bytes], mode: Stale, direct: DirectCopy
) -> InsertResult:
    """Insert trades of which some may be stored already."""
    ordinals = records.valid_ordinals()
    copied = InsertResult()
    staged: Sequence[tuple[int, bytes]] = list(zip(ordinals, encoded, strict=True))
    if mode == "accept" and direct.few_stored and direct.unstored.is_over:
        copy.copy_keys(connection, encoded)
        known = set(connection.scalar(_KNOWN) or ())
        unknown = [row for number, row in enumerate(encoded) if number not in known]
        if unknown and _copy_unstored(connection, unknown, direct):
            copied = InsertResult(len(unknown))
            staged = [staged[number] for number in sorted(known)]
    stored = InsertResult()
    if staged:
        stored = _insert_staged(connection, records, staged, mode, direct)
    found = len(stored.duplicates) + len(stored.refused)
    if found:
        direct.whole.start()
    else:
        direct.whole.count_batch()
    direct.few_stored = 2 * found < len(encoded)
    return copied.plus(stored)


def _insert_staged(
    connection: sa.Connection,
    records: ValidatedRecords,
    staged: Sequence[tuple[int, bytes]],
    mode: Stale,
    direct: DirectCopy,
) -> InsertResult:
    """Insert trades, given as ordinals and rows, through the staging table."""
    ordinals = [ordinal for ordinal, _ in staged]
    copy.stage(connection, [row for _, row in staged])
    result = InsertResult()
    if mode == "refuse" and (newest := stale.find_stale_staged(connection)):
        stale.trial_insert(connection, _INSERT_SOME, {"numbers": list(newest)})
        refused = (
            (ordinals[number], stale.stale_refusal(records.valid_at(ordinals[number]), version))
            for number, version in newest.items()
        )
        result = InsertResult(refused=tuple(refused))
    result = result.plus(_find_stored(connection, records, ordinals))
    decided = {*result.duplicates, *(ordinal for ordinal, _ in result.refused)}
    remaining = [row for ordinal, row in staged if ordinal not in decided]
    if not remaining:
        return result
    if direct.unstored.is_over and _copy_unstored(connection, remaining, direct):
        return result.plus(InsertResult(len(remaining)))
    if decided:
        numbers = [number for number, ordinal in enumerate(ordinals) if ordinal in decided]
        connection.execute(_UNSTAGE, {"numbers": numbers})
    inserted = _insert_in_order(connection, records, ordinals, len(remaining))
    if inserted.inserted == len(remaining):
        direct.unstored.count_batch()
    else:
        direct.unstored.start()
    return result.plus(inserted)


def _copy_unstored(connection: sa.Connection, rows: Sequence[bytes], direct: DirectCopy) -> bool:
    """Copy rows that are not stored yet into the table of trades; return False if one of them conflicts."""
    direct.unstored.start()
    copied = _copy_directly(connection, rows)
    if copied:
        direct.unstored.end()
    return copied


def _find_stored(connection: sa.Connection, records: ValidatedRecords, ordinals: Sequence[int]) -> InsertResult:
    """Find the staged trades that were stored before, which no other transaction changes."""
    duplicates, colliding = connection.execute(_STORED).one()
    # Two queries: every record of a topic may be a duplicate, and only a collision's refusal needs the stored trade. If
    # it is deleted meanwhile, the batch's records do not add up, and it is tried again.
    collisions: Sequence[sa.Row[Any]] = ()
    if colliding:
        stale.trial_insert(connection, _INSERT_SOME, {"numbers": colliding})
        collisions = connection.execute(_COLLISIONS, {"numbers": colliding}).all()
    refused = ((ordinals[row.number], collision(records.valid_at(ordinals[row.number]), row)) for row in collisions)
    return InsertResult(0, tuple(ordinals[number] for number in duplicates or ()), tuple(refused))


def _insert_in_order(
    connection: sa.Connection, records: ValidatedRecords, ordinals: Sequence[int], count: int
) -> InsertResult:
    """Insert the `count` staged trades, in the order of the key."""
    inserted = connection.execute(_INSERT).rowcount
    if inserted == count:
        return InsertResult(inserted)
    duplicates, refused = [], []
    for row in connection.execute(_NOT_INSERTED):
        ordinal = ordinals[row.number]
        if row.missing:
            raise row_vanished(records.valid_at(ordinal))
        if row.collides:
            refused.append((ordinal, collision(records.valid_at(ordinal), row)))
        else:
            duplicates.append(ordinal)
    return InsertResult(inserted, tuple(duplicates), tuple(refused))


_staged = STAGING.columns
_number = _staged.ordinal.label("number")
_numbered = _staged.ordinal == sa.func.any(sa.cast(sa.bindparam("numbers"), sa.ARRAY(sa.Integer)))
# COMMIT ends the savepoint of a COPY that succeeded.
_SAVEPOINT: Final = "direct"
# Without the RELEASE the statements that follow would run in a subtransaction with another xmin, and `_inserted_by_us`
# would not recognize their rows.
_END_DIRECT: Final = sa.text(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}; RELEASE SAVEPOINT {_SAVEPOINT}")
_UNSTAGE: Final = sa.delete(STAGING).where(_numbered)
# In the order of the key, so that two sinks with the same keys wait for each other instead of deadlocking.
_ordered = sa.select(*(_staged[name] for name in INSERT_COLUMNS)).order_by(
    *(_staged[name] for name in PRIMARY_KEY), _staged.ordinal
)
_INSERT: Final = (
    postgresql.insert(TRADES).from_select(INSERT_COLUMNS, _ordered).on_conflict_do_nothing(index_elements=PRIMARY_KEY)
)
_INSERT_SOME: Final = (
    postgresql.insert(TRADES)
    .from_select(INSERT_COLUMNS, _ordered.where(_numbered))
    .on_conflict_do_nothing(index_elements=PRIMARY_KEY)
)


def _stored_trade_of(rows: sa.Table, *columns: Any) -> sa.FromClause:
    """Select columns of the stored trade that has the key of a row."""
    has_key = (TRADES.columns[name] == rows.columns[name] for name in PRIMARY_KEY)
    # LIMIT keeps the planner from reading the whole of trades for one batch: each key is looked up in the index.
    return sa.select(*columns).where(*has_key).limit(1).lateral("partner")


_stored_row = _stored_trade_of(STAGING, TRADES, sa.literal_column("trades.xmin").label("inserted_by"))
_stored = _stored_row.columns
_collides = sa.or_(*(_stored[name].is_distinct_from(_staged[name]) for name in CONTENT_FIELDS))
_STORED: Final = sa.select(
    sa.func.array_agg(_staged.ordinal).filter(~_collides), sa.func.array_agg(_staged.ordinal).filter(_collides)
).select_from(STAGING.join(_stored_row, sa.true()))
_KNOWN: Final = sa.select(sa.func.array_agg(KEYS.columns.ordinal)).select_from(
    KEYS.join(_stored_trade_of(KEYS, sa.true()), sa.true())
)
_shown = (*CONTENT_FIELDS, "source_topic", "source_partition", "source_offset")
_COLLISIONS: Final = (
    sa.select(_number, *(_stored[name] for name in _shown))
    .select_from(STAGING.join(_stored_row, sa.true()))
    .where(_numbered)
    .order_by(_staged.ordinal)
)
# A row was inserted by this (sub)transaction if its xmin is that of the staged row, which COPY wrote a statement
# before; of several staged rows with one key, the coordinates show which one it came from.
_inserted_by_us = sa.func.coalesce(
    (_stored.inserted_by == sa.literal_column(f"{STAGING.name}.xmin"))
    & (_stored.source_topic == _staged.source_topic)
    & (_stored.source_partition == _staged.source_partition)
    & (_stored.source_offset == _staged.source_offset),
    sa.false(),
)
_NOT_INSERTED: Final = (
    sa.select(
        _number,
        _stored[PRIMARY_KEY[0]].is_(None).label("missing"),
        _collides.label("collides"),
        # A duplicate needs none of these.
        *(sa.case((_collides, _stored[name])).label(name) for name in _shown),
    )
    .select_from(STAGING.outerjoin(_stored_row, sa.true()))
    .where(~_inserted_by_us)
    .order_by(_staged.ordinal)
)
