"""
Insertion of a batch of which the database refuses some trades.

One statement skips those that a unique index of the user refuses, and each is then
tried alone for the reason. The batch is halved down to each of the others. No part
uses the staging table: within one transaction that table only grows, and each part
would read every row copied before (measured with 5,000 trades, 100 of them refused:
16 s instead of 2).
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import psycopg2
from psycopg2.errors import ExclusionViolation, ObjectNotInPrerequisiteState, UniqueViolation
from sqlalchemy import Connection, Executable, bindparam, select, tuple_
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from tradepipe.postgres import stale
from tradepipe.postgres.failures import FailureClass, RowsVanished, classify
from tradepipe.postgres.tables import TRADES, code_of_constraint
from tradepipe.trade.model import CONTENT_FIELDS, PRIMARY_KEY, Trade
from tradepipe.trade.record import Code, Refusal, Stale, Violation
from tradepipe.trade.validated import ValidRecord

Rows = Sequence[tuple[int, ValidRecord]]
"""Trades with their ordinals."""


class InsertResult(NamedTuple):
    """The outcome of some of a batch's trades, by their ordinals."""

    inserted: int = 0
    duplicates: tuple[int, ...] = ()
    refused: tuple[tuple[int, Refusal], ...] = ()

    def plus(self, other: "InsertResult") -> "InsertResult":
        return InsertResult(
            self.inserted + other.inserted, self.duplicates + other.duplicates, self.refused + other.refused
        )


def key_of(trade: Trade) -> tuple[object, ...]:
    """Return the values of the primary key."""
    return tuple(getattr(trade, field) for field in PRIMARY_KEY)


def row_vanished(valid: ValidRecord) -> RowsVanished:
    """Build the error of a trade that is not where it was found."""
    return RowsVanished(f"trade {key_of(valid.trade)} vanished from the table while it was stored")


def collision(valid: ValidRecord, stored: Any) -> Refusal:
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


def _format_value(value: object) -> str:
    return repr(str(value)) if isinstance(value, str) else str(value)


def insert_bisecting(connection: Connection, rows: Rows, mode: Stale) -> InsertResult:
    """Insert trades; if the database refuses one, halve down to it."""
    try:
        with connection.begin_nested():
            stale_rows = {} if mode == "accept" else stale.find_stale(connection, rows)
            if not stale_rows:
                return _insert_all(connection, rows)
            stale.trial_insert(connection, _INSERT, _rows_by_key([row for row in rows if row[0] in stale_rows]))
            newer = [row for row in rows if row[0] not in stale_rows]
            refused = [
                (ordinal, stale.stale_refusal(valid, stale_rows[ordinal]))
                for ordinal, valid in rows
                if ordinal in stale_rows
            ]
            result = _insert_all(connection, newer) if newer else InsertResult()
            return result.plus(InsertResult(refused=tuple(refused)))
    except (DBAPIError, psycopg2.Error) as error:
        if classify(error, connected_before=True) is not FailureClass.DATA:
            raise
        original = error.orig if isinstance(error, DBAPIError) else error
        if len(rows) == 1:
            # The record breaks none of our rules: the refusal has the reason of the database.
            ordinal, valid = rows[0]
            code, detail = str(Code.DATABASE_REFUSED), str(original).strip()
            if isinstance(original, psycopg2.Error) and original.diag.message_primary:
                code = code_of_constraint(original.diag.constraint_name)
                detail = f"{original.pgcode}: {original.diag.message_primary}"
            refusal = Refusal(valid.record, (Violation(code, detail),), valid.schema_id)
            return InsertResult(refused=((ordinal, refusal),))
        # Not if older versions are refused: which ones are depends on those before them that are stored.
        is_of_index = mode == "accept" and isinstance(original, UniqueViolation | ExclusionViolation)
        if is_of_index and (unrefused := _insert_unrefused(connection, rows)) is not None:
            return unrefused
    # The earlier half first: of two records with one key, the one that was read first must be stored, and the later one
    # be the duplicate or the collision.
    middle = len(rows) // 2
    earlier = insert_bisecting(connection, rows[:middle], mode)
    return earlier.plus(insert_bisecting(connection, rows[middle:], mode))


def _insert_unrefused(connection: Connection, rows: Rows) -> InsertResult | None:
    """
    Insert the trades that no unique index refuses, and try each of the others alone; None if that is not possible.

    To halve down to each of the others takes several times as long, if they are many.
    """
    if len({key_of(valid.trade) for _, valid in rows}) < len(rows):
        # A trade that is refused would be compared with a later one of its key, which is stored.
        return None
    try:
        with connection.begin_nested():
            # In their own order: of two trades, the one that was read first is stored.
            result, skipped = _insert(connection, _INSERT_UNREFUSED, rows, [_row(valid) for _, valid in rows])
    except (DBAPIError, psycopg2.Error) as error:
        # The other error is that of a constraint that is deferrable.
        is_deferrable = isinstance(getattr(error, "orig", error), ObjectNotInPrerequisiteState)
        if is_deferrable or classify(error, connected_before=True) is FailureClass.DATA:
            return None
        raise
    for row in skipped:
        result = result.plus(insert_bisecting(connection, [row], "accept"))
    return result


def _insert_all(connection: Connection, rows: Rows) -> InsertResult:
    result, missing = _insert(connection, _INSERT, rows, _rows_by_key(rows))
    if missing:
        raise row_vanished(missing[0][1])
    return result


def _insert(
    connection: Connection, statement: Executable, rows: Rows, given: list[dict[str, object]]
) -> tuple[InsertResult, list[tuple[int, ValidRecord]]]:
    """Insert trades; return the result, and the trades that are not stored afterwards."""
    inserted = connection.execute(statement, given)
    coordinates = {(row.source_partition, row.source_offset) for row in inserted}
    remaining = [row for row in rows if (row[1].record.partition, row[1].record.offset) not in coordinates]
    keys = list({key_of(valid.trade) for _, valid in remaining})
    stored_rows = connection.execute(_OF_KEYS, {"keys": keys}) if keys else ()
    stored_trades = {tuple(getattr(row, field) for field in PRIMARY_KEY): row for row in stored_rows}
    duplicates, refused, missing = [], [], []
    for ordinal, valid in remaining:
        if (stored := stored_trades.get(key_of(valid.trade))) is None:
            missing.append((ordinal, valid))
        elif any(getattr(valid.trade, field) != getattr(stored, field) for field in CONTENT_FIELDS):
            refused.append((ordinal, collision(valid, stored)))
        else:
            duplicates.append(ordinal)
    return InsertResult(len(coordinates), tuple(duplicates), tuple(refused)), missing


def _rows_by_key(rows: Rows) -> list[dict[str, object]]:
    """Sort rows by primary key, so that concurrent sinks lock in one order; rows of one key keep their order."""
    return [_row(valid) for _, valid in sorted(rows, key=lambda row: key_of(row[1].trade))]


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


_stored = TRADES.columns
_coordinates = (_stored.source_partition, _stored.source_offset)
_INSERT: Final = postgresql.insert(TRADES).on_conflict_do_nothing(index_elements=PRIMARY_KEY).returning(*_coordinates)
# Without a target it skips the rows that any unique index refuses.
_INSERT_UNREFUSED: Final = postgresql.insert(TRADES).on_conflict_do_nothing().returning(*_coordinates)
_OF_KEYS: Final = select(TRADES).where(
    tuple_(*(_stored[name] for name in PRIMARY_KEY)).in_(bindparam("keys", expanding=True))
)
