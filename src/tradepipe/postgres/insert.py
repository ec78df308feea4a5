"""
Insertion of trades: each is inserted, found to be a duplicate, or refused.

A whole batch is copied straight into the table, as most batches have no trade that
is stored already. If one conflicts, this batch and the next ones are inserted
through the staging table, which tells duplicates from collisions. If the database
refuses a row, the batch is halved down to that row, and the halves are inserted
without staging.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final, NamedTuple

import psycopg2
from sqlalchemy import (
    ARRAY,
    Connection,
    Executable,
    Integer,
    bindparam,
    case,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from tradepipe.errors import TradepipeError
from tradepipe.postgres import copy, stale
from tradepipe.postgres.copy import INSERT_COLUMNS, STAGING
from tradepipe.postgres.failures import FailureClass, classify
from tradepipe.postgres.stale import Stale
from tradepipe.postgres.tables import TRADES, code_of_constraint
from tradepipe.trade.model import CONTENT_FIELDS, PRIMARY_KEY, Trade
from tradepipe.trade.record import Code, Refusal, Violation
from tradepipe.trade.rules import violations
from tradepipe.trade.validated import ValidatedRecords, ValidRecord

STAGED_BATCHES: Final = 4
"""Batches without a conflict that are staged after one with a conflict."""

_NOT_DIRECTLY: Final = ("23505", "0A000")
"""SQLSTATEs after which rows are staged: unique_violation, and feature_not_supported under row-level security."""

Rows = Sequence[tuple[int, ValidRecord]]
"""Trades with their ordinals."""

_InsertWhole = Callable[[Connection, ValidatedRecords], "InsertResult"]
_InsertPart = Callable[[Connection, Rows], "InsertResult"]
"""Inserts all of some trades, or raises."""


class InsertResult(NamedTuple):
    """The outcome of some of a batch's trades, by their ordinals."""

    inserted: int = 0
    duplicates: tuple[int, ...] = ()
    refused: tuple[tuple[int, Refusal], ...] = ()

    def plus(self, other: "InsertResult") -> "InsertResult":
        return InsertResult(
            self.inserted + other.inserted, self.duplicates + other.duplicates, self.refused + other.refused
        )


class DirectCopy:
    """
    Whether the next batch is copied straight into the table of trades, which takes 0.6 of the time of staging.

    A conflict undoes the whole COPY and leaves its rows behind as dead ones, so after one only a series of
    batches without duplicates and collisions makes the next try worth it.
    """

    def __init__(self) -> None:
        self._staged_batches = 0

    @property
    def is_due(self) -> bool:
        """Whether to try."""
        return self._staged_batches == 0

    def turn_on(self) -> None:
        """Try with the next batch."""
        self._staged_batches = 0

    def turn_off(self) -> None:
        """Stage the next batches."""
        self._staged_batches = STAGED_BATCHES

    def record_staged(self, *, has_conflict: bool) -> None:
        """Note that a batch was staged, and whether it had duplicates or collisions."""
        self._staged_batches = STAGED_BATCHES if has_conflict else max(0, self._staged_batches - 1)


class RowsVanished(TradepipeError):
    """A staged trade is neither in the table nor refused, because rows were deleted; the batch is retried."""

    retriable = True


def insert(connection: Connection, records: ValidatedRecords, stale: Stale, direct: DirectCopy) -> InsertResult:
    """
    Insert the trades of the valid ones of some records.

    Raises:
        RowsVanished: rows were deleted during the transaction.

        sqlalchemy.exc.DBAPIError, psycopg2.Error: an error that is not of a single trade.
    """
    insert_whole, insert_part = _STRATEGIES[stale]
    encoded = records.rows
    if not encoded:
        return InsertResult()
    try:
        if stale == "accept" and direct.is_due and _copy_directly(connection, encoded, direct):
            return InsertResult(len(encoded))
        # A failed statement aborts the whole transaction, offsets included; a savepoint limits that to these rows.
        with connection.begin_nested():
            result = insert_whole(connection, records)
        direct.record_staged(has_conflict=result.inserted < len(encoded))
        return result
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
    left = _without(rows, found)
    inserted = _insert_bisecting(connection, left, insert_part) if left else InsertResult()
    return inserted.plus(InsertResult(refused=tuple(found.items())))


def _copy_directly(connection: Connection, rows: Sequence[bytes], direct: DirectCopy) -> bool:
    """Copy rows into the table of trades; return False if one of them conflicts, and nothing was inserted."""
    # Off until it has succeeded: after a deadlock with another sink, which stores the same keys in another order, the
    # batch is tried again through the staging table, which sorts them.
    direct.turn_off()
    connection.execute(_BEGIN_DIRECT)
    try:
        if copy.copy_rows(connection, TRADES, rows) == len(rows):
            direct.turn_on()
            return True
    except psycopg2.Error as error:  # COPY does not go through SQLAlchemy
        if error.pgcode not in _NOT_DIRECTLY:
            if classify(error, connected_before=True) is FailureClass.DATA:
                connection.execute(_END_DIRECT)  # the transaction continues
            raise
    # A conflict, or a trigger that discards rows: the staging table shows which ones.
    connection.execute(_END_DIRECT)
    return False


def _insert_bisecting(connection: Connection, rows: Rows, insert_part: _InsertPart) -> InsertResult:
    """Insert trades; if the database refuses one, halve down to it, the earlier half first."""
    try:
        with connection.begin_nested():
            return insert_part(connection, rows)
    except (DBAPIError, psycopg2.Error) as error:
        if classify(error, connected_before=True) is not FailureClass.DATA:
            raise
        if len(rows) == 1:
            ordinal, valid = rows[0]
            return InsertResult(refused=((ordinal, _database_refusal(valid, error)),))
    # The earlier half first: of two records with one key, the one that was read first must be stored, and the later one
    # be the duplicate or the collision.
    middle = len(rows) // 2
    earlier = _insert_bisecting(connection, rows[:middle], insert_part)
    return earlier.plus(_insert_bisecting(connection, rows[middle:], insert_part))


def _insert(connection: Connection, records: ValidatedRecords) -> InsertResult:
    copy.stage(connection, records.rows)
    return _insert_staged(connection, records, len(records.rows))


def _insert_rejecting_stale(connection: Connection, records: ValidatedRecords) -> InsertResult:
    """Insert trades through the staging table, and refuse stale versions."""
    copy.stage(connection, records.rows)
    staged = stale.find_stale_staged(connection)
    if not staged:
        return _insert_staged(connection, records, len(records.rows))
    _trial_insert(connection, _INSERT_SOME, {"ordinals": list(staged)})
    stale.remove_staged(connection, list(staged))
    rows = records.valid()
    refused = _stale(rows, {rows[number][0]: newest for number, newest in staged.items()})
    return _insert_staged(connection, records, len(rows) - len(staged)).plus(refused)


def _insert_rejecting_stale_unstaged(connection: Connection, rows: Rows) -> InsertResult:
    """Insert trades without the staging table, and refuse stale versions."""
    stale_rows = stale.find_stale(connection, rows)
    if stale_rows:
        _trial_insert(connection, _INSERT_ROWS, _rows_by_key([row for row in rows if row[0] in stale_rows]))
    newer = _without(rows, stale_rows)
    result = _insert_unstaged(connection, newer) if newer else InsertResult()
    return result.plus(_stale(rows, stale_rows))


def _trial_insert(
    connection: Connection, statement: Executable, parameters: Mapping[str, object] | list[dict[str, object]]
) -> None:
    """
    Insert and roll back, so that a trade which the database refuses is refused for that reason, stale or not.

    A stale trade is valid: in another order of the log it would have been stored.
    """
    connection.execute(_BEGIN_TRIAL)
    connection.execute(statement, parameters)
    connection.execute(_END_TRIAL)


def _without(rows: Rows, ordinals: Container[int]) -> Rows:
    return [row for row in rows if row[0] not in ordinals] if ordinals else rows


def _stale(rows: Rows, stale_rows: Mapping[int, int]) -> InsertResult:
    if not stale_rows:
        return InsertResult()
    refused = (
        (ordinal, stale.stale_refusal(valid, stale_rows[ordinal])) for ordinal, valid in rows if ordinal in stale_rows
    )
    return InsertResult(refused=tuple(refused))


def _insert_staged(connection: Connection, records: ValidatedRecords, count: int) -> InsertResult:
    """Insert the `count` staged trades."""
    inserted = connection.execute(_INSERT).rowcount
    if inserted == count:
        return InsertResult(inserted)
    rows = records.valid()
    duplicates, refused = [], []
    for row in connection.execute(_NOT_INSERTED):
        ordinal, valid = rows[row.ordinal]
        if row.missing:
            raise _row_vanished(valid)
        if row.collides:
            refused.append((ordinal, _collision(valid, row)))
        else:
            duplicates.append(ordinal)
    return InsertResult(inserted, tuple(duplicates), tuple(refused))


def _insert_unstaged(connection: Connection, rows: Rows) -> InsertResult:
    """
    Insert a part of a batch without the staging table.

    Within one transaction the staging table only grows, and each part would
    read every row copied before (measured with 5,000 trades, 100 of them
    refused: 16 s instead of 2).
    """
    inserted = connection.execute(_INSERT_ROWS, _rows_by_key(rows))
    coordinates = {(row.source_partition, row.source_offset) for row in inserted}
    remaining = [row for row in rows if (row[1].record.partition, row[1].record.offset) not in coordinates]
    keys = list({_key(valid.trade) for _, valid in remaining})
    stored_rows = connection.execute(_OF_KEYS, {"keys": keys}) if keys else ()
    stored_trades = {tuple(getattr(row, field) for field in PRIMARY_KEY): row for row in stored_rows}
    duplicates, refused = [], []
    for ordinal, valid in remaining:
        if (stored := stored_trades.get(_key(valid.trade))) is None:
            raise _row_vanished(valid)
        if any(getattr(valid.trade, field) != getattr(stored, field) for field in CONTENT_FIELDS):
            refused.append((ordinal, _collision(valid, stored)))
        else:
            duplicates.append(ordinal)
    return InsertResult(len(coordinates), tuple(duplicates), tuple(refused))


def _key(trade: Trade) -> tuple[object, ...]:
    return tuple(getattr(trade, field) for field in PRIMARY_KEY)


def _rows_by_key(rows: Rows) -> list[dict[str, object]]:
    """Sort rows by primary key, so that concurrent sinks lock in one order; rows of one key keep their order."""
    return [_row(valid) for _, valid in sorted(rows, key=lambda row: _key(row[1].trade))]


def _row(valid: ValidRecord) -> dict[str, object]:
    """Return the columns of a trade that a sink writes."""
    record = valid.record
    source = {
        "source_topic": record.topic,
        "source_partition": record.partition,
        "source_offset": record.offset,
        "schema_id": valid.schema_id,
    }
    return {**valid.trade._asdict(), **source}


def _row_vanished(valid: ValidRecord) -> RowsVanished:
    return RowsVanished(f"trade {_key(valid.trade)} vanished from the table while it was stored")


def _collision(valid: ValidRecord, stored: Any) -> Refusal:
    """Refuse a trade, naming each field that differs from the stored trade."""
    differing = "; ".join(
        f"{field} is {_format_value(ours)}, not {_format_value(getattr(stored, field))}"
        for field in CONTENT_FIELDS
        if (ours := getattr(valid.trade, field)) != getattr(stored, field)
    )
    key = " ".join(f"{field} {getattr(valid.trade, field)}" for field in PRIMARY_KEY)
    coordinates = f"{stored.source_topic}[{stored.source_partition}]@{stored.source_offset}"
    detail = f"{key} is already stored, from {coordinates}: {differing}"
    return Refusal(valid.record, (Violation(Code.VERSION_COLLISION, detail),), valid.schema_id)


def _database_refusal(valid: ValidRecord, error: DBAPIError | psycopg2.Error) -> Refusal:
    """Refuse a record that breaks none of our rules, with the reason of the database."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code: str = Code.DATABASE_REFUSED
    detail = str(original).strip()
    if isinstance(original, psycopg2.Error) and original.diag.message_primary:
        code = code_of_constraint(original.diag.constraint_name)
        detail = f"{original.pgcode}: {original.diag.message_primary}"
    return Refusal(valid.record, (Violation(code, detail),), valid.schema_id)


def _format_value(value: object) -> str:
    return repr(str(value)) if isinstance(value, str) else str(value)


_staged, _stored = STAGING.columns, TRADES.columns
# COPY would wait for the table's lock as an active statement, and if this process froze meanwhile, the server would
# wait for its rows. After a separate statement, the session is idle, and loses its locks in ten seconds. COMMIT ends
# the savepoint of a COPY that succeeded.
_BEGIN_DIRECT: Final = text(f"SAVEPOINT direct; LOCK TABLE {TRADES.name} IN ROW EXCLUSIVE MODE")
_END_DIRECT: Final = text("ROLLBACK TO SAVEPOINT direct; RELEASE SAVEPOINT direct")
_BEGIN_TRIAL: Final = text("SAVEPOINT trial")
# Without the RELEASE the statements that follow would run in a subtransaction with another xmin, and `_inserted_by_us`
# would not recognize their rows.
_END_TRIAL: Final = text("ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial")
# In the order of the key, so that two sinks with the same keys wait for each other instead of deadlocking.
_ordered = select(*(_staged[name] for name in INSERT_COLUMNS)).order_by(
    *(_staged[name] for name in PRIMARY_KEY), _staged.ordinal
)
_some = _ordered.where(_staged.ordinal == func.any(cast(bindparam("ordinals"), ARRAY(Integer))))
_INSERT: Final = (
    postgresql.insert(TRADES).from_select(INSERT_COLUMNS, _ordered).on_conflict_do_nothing(index_elements=PRIMARY_KEY)
)
_INSERT_SOME: Final = (
    postgresql.insert(TRADES).from_select(INSERT_COLUMNS, _some).on_conflict_do_nothing(index_elements=PRIMARY_KEY)
)
_INSERT_ROWS: Final = (
    postgresql.insert(TRADES)
    .on_conflict_do_nothing(index_elements=PRIMARY_KEY)
    .returning(_stored.source_partition, _stored.source_offset)
)
_OF_KEYS: Final = select(TRADES).where(
    tuple_(*(_stored[name] for name in PRIMARY_KEY)).in_(bindparam("keys", expanding=True))
)
# LIMIT keeps the planner from reading the whole of trades for one batch: each key is looked up in the index.
_stored_row = (
    select(TRADES, literal_column("trades.xmin").label("inserted_by"))
    .where(*(_stored[name] == _staged[name] for name in PRIMARY_KEY))
    .limit(1)
    .lateral("partner")
)
_stored_match = _stored_row.columns
# A row was inserted by this (sub)transaction if its xmin is that of the staged row, which COPY wrote a statement
# before; of several staged rows with one key, the coordinates show which one it came from.
_inserted_by_us = func.coalesce(
    (_stored_match.inserted_by == literal_column(f"{STAGING.name}.xmin"))
    & (_stored_match.source_topic == _staged.source_topic)
    & (_stored_match.source_partition == _staged.source_partition)
    & (_stored_match.source_offset == _staged.source_offset),
    false(),
)
_collides = or_(*(_stored_match[name].is_distinct_from(_staged[name]) for name in CONTENT_FIELDS))
_NOT_INSERTED: Final = (
    select(
        _staged.ordinal,
        _stored_match[PRIMARY_KEY[0]].is_(None).label("missing"),
        _collides.label("collides"),
        # A duplicate needs none of these, and every record of a topic may be one.
        *(
            case((_collides, _stored_match[name])).label(name)
            for name in (*CONTENT_FIELDS, "source_topic", "source_partition", "source_offset")
        ),
    )
    .select_from(STAGING.outerjoin(_stored_row, true()))
    .where(~_inserted_by_us)
    .order_by(_staged.ordinal)
)
_STRATEGIES: Final[Mapping[Stale, tuple[_InsertWhole, _InsertPart]]] = {
    "accept": (_insert, _insert_unstaged),
    "refuse": (_insert_rejecting_stale, _insert_rejecting_stale_unstaged),
}
"""How to insert a whole batch, and how to insert a part of one that the database has refused."""
