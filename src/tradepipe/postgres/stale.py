"""
Stale versions: older than a version of the same trade that was stored before them.

One query finds the stale rows of a batch, or of a part of one, before it is inserted. For
a row, let *newest before* be the highest version of its trade in the table and
among its earlier rows. Every row above it is stored, so the
highest version so far is always the highest one stored, and the result for one
row does not depend on the result for another. The first row of a PRIMARY_KEY
decides for all of them: if it is stored, the others are duplicates or
collisions.

This holds for rows that the database accepts as a whole. If it refuses a
row, each half runs the query again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from tradepipe.postgres.copy import STAGING
from tradepipe.postgres.tables import TRADES
from tradepipe.trade.model import PRIMARY_KEY
from tradepipe.trade.record import Code, Refusal, Violation
from tradepipe.trade.validated import ValidRecord

_TRADE: Final = tuple(field for field in PRIMARY_KEY if field != "version")
"""Key columns that all versions of a trade share."""


def find_stale_staged(connection: sa.Connection) -> dict[int, int]:
    """Return the ordinals of stale staged trades, each with the newest version before it."""
    return {row.ordinal: row.newest for row in connection.execute(_STAGED)}


def find_stale(connection: sa.Connection, rows: Sequence[tuple[int, ValidRecord]]) -> dict[int, int]:
    """Return the ordinals of stale trades among rows that are not staged, each with the newest version before it."""
    given: dict[str, list[Any]] = {field: [getattr(valid.trade, field) for _, valid in rows] for field in PRIMARY_KEY}
    found = connection.execute(_GIVEN, {"ordinal": [ordinal for ordinal, _ in rows], **given})
    return {row.ordinal: row.newest for row in found}


def trial_insert(
    connection: sa.Connection, statement: sa.Executable, parameters: Mapping[str, object] | list[dict[str, object]]
) -> None:
    """
    Insert and roll back, so that a trade which the database refuses is refused for that reason, also if it is
    stale or collides.

    A stale trade is valid: in another order of the log it would have been stored.
    """
    connection.execute(_BEGIN_TRIAL)
    connection.execute(statement, parameters)
    connection.execute(_END_TRIAL)


def stale_refusal(valid: ValidRecord, newest: int) -> Refusal:
    """Refuse a stale trade, naming the newest version before it."""
    key = " ".join(f"{field} {getattr(valid.trade, field)}" for field in PRIMARY_KEY)
    violation = Violation(Code.STALE_VERSION, f"{key} came after version {newest}, which is already stored")
    return Refusal(valid.record, (violation,), valid.schema_id)


def _select_stale(rows: sa.FromClause) -> sa.Select[Any]:
    """Build the query for the stale ones of some rows with an ordinal and a PRIMARY_KEY."""
    # Each row with the newest version of its trade before the first row of its PRIMARY_KEY, or its own version.
    of = rows.columns
    preceding = sa.func.max(of.version).over(
        partition_by=[of[name] for name in _TRADE], order_by=of.ordinal, rows=(None, -1)
    )
    key = [of[name] for name in PRIMARY_KEY]
    preceded = sa.select(of.ordinal, *key, sa.func.coalesce(preceding, of.version).label("earlier")).subquery(
        "preceded"
    )
    each = preceded.columns
    # The newest version before a row grows with its ordinal, so the minimum belongs to the first row of its key.
    first = sa.func.min(each.earlier).over(partition_by=[each[name] for name in PRIMARY_KEY])
    placed = sa.select(each.ordinal, *(each[name] for name in PRIMARY_KEY), first.label("earlier")).subquery("placed")
    at, stored = placed.columns, TRADES.columns
    # LIMIT keeps the planner from reading the whole of trades for one batch: each trade is looked up in the index.
    newest = (
        sa.select(stored.version)
        .where(*(stored[name] == at[name] for name in _TRADE))
        .order_by(*(stored[name].desc() for name in PRIMARY_KEY))
        .limit(1)
        .lateral("newest")
    )
    partner = (
        sa.select(stored.version).where(*(stored[name] == at[name] for name in PRIMARY_KEY)).limit(1).lateral("partner")
    )
    newest_before = sa.func.greatest(newest.columns.version, at.earlier)
    return (
        sa.select(at.ordinal, newest_before.label("newest"))
        .select_from(placed.outerjoin(newest, sa.true()).outerjoin(partner, sa.true()))
        .where(newest_before > at.version, partner.columns.version.is_(None))
        .order_by(at.ordinal)
    )


def _array(name: str) -> Any:
    """Build an array parameter with one element per row."""
    kind = TRADES.columns[name].type if name in PRIMARY_KEY else sa.Integer()
    return sa.cast(sa.bindparam(name), sa.ARRAY(sa.Text() if isinstance(kind, sa.Text) else kind))


_numbered = ("ordinal", *PRIMARY_KEY)
_given = (
    sa.func.unnest(*(_array(name) for name in _numbered))
    .table_valued(*(sa.column(name) for name in _numbered))
    .render_derived(name="given")
)
_STAGED: Final = _select_stale(STAGING)
_GIVEN: Final = _select_stale(_given)
_BEGIN_TRIAL: Final = sa.text("SAVEPOINT trial")
# Without the RELEASE the statements that follow would run in a subtransaction, whose rows have another xmin.
_END_TRIAL: Final = sa.text("ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial")
