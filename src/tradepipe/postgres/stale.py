"""
Stale versions: older than one of the same trade that was stored before them.

Who is older is asked before a piece of a batch goes in, of its rows as a set.
Of one trade let *newest before* a row be the highest version in the table and
among the earlier rows of the piece. Each row that exceeds it is stored, so the
highest version that came is always the highest one stored, and no row has to
wait for the verdict on another. What holds the first row of a KEY holds all of
them: where it is stored, the others are replays or collisions of it.

That is right for a piece that the database takes as a whole; where it refuses
a row, the halves ask again.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from sqlalchemy import (
    ARRAY,
    Connection,
    FromClause,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
    true,
)

from tradepipe.postgres.copy import STAGING
from tradepipe.postgres.tables import TRADES
from tradepipe.trade.model import PRIMARY_KEY
from tradepipe.trade.record import Code, Refusal, ValidRecord, Violation

Stale = Literal["accept", "refuse"]
"""What to do with a version that is older than one of the same trade that was stored before."""

_TRADE: Final = tuple(field for field in PRIMARY_KEY if field != "version")
"""What all versions of a trade have in common."""


def find_stale_staged(connection: Connection) -> dict[int, int]:
    """The ordinals of the stale among the staged trades, each with the newest version before it."""
    return {row.ordinal: row.newest for row in connection.execute(_STAGED)}


def find_stale(connection: Connection, rows: Sequence[tuple[int, ValidRecord]]) -> dict[int, int]:
    """The same of trades that are not staged."""
    given: dict[str, list[Any]] = {
        field: [getattr(accepted.trade, field) for _, accepted in rows] for field in PRIMARY_KEY
    }
    found = connection.execute(_GIVEN, {"ordinal": [ordinal for ordinal, _ in rows], **given})
    return {row.ordinal: row.newest for row in found}


def remove_staged(connection: Connection, ordinals: Sequence[int]) -> None:
    """Take trades out of the staging table."""
    connection.execute(_UNSTAGE, {"ordinals": ordinals})


def stale_refusal(accepted: ValidRecord, newest: int) -> Refusal:
    """A refusal that names the newest version before it."""
    key = " ".join(f"{field} {getattr(accepted.trade, field)}" for field in PRIMARY_KEY)
    violation = Violation(Code.STALE_VERSION, f"{key} came after version {newest}, which is stored already")
    return Refusal(accepted.record, (violation,), accepted.schema_id)


def _select_stale(rows: FromClause) -> Select[Any]:
    """Which of some rows, numbered and with a KEY, are stale."""
    placed = _with_preceding_version(rows)
    at, stored = placed.columns, TRADES.columns
    # LIMIT keeps the planner from reading all of trades for one batch: each trade is looked up in the index.
    newest = (
        select(stored.version)
        .where(*(stored[name] == at[name] for name in _TRADE))
        .order_by(*(stored[name].desc() for name in PRIMARY_KEY))
        .limit(1)
        .lateral("newest")
    )
    partner = (
        select(stored.version).where(*(stored[name] == at[name] for name in PRIMARY_KEY)).limit(1).lateral("partner")
    )
    newest_before = func.greatest(newest.columns.version, at.earlier)
    return (
        select(at.ordinal, newest_before.label("newest"))
        .select_from(placed.outerjoin(newest, true()).outerjoin(partner, true()))
        .where(newest_before > at.version, partner.columns.version.is_(None))
        .order_by(at.ordinal)
    )


def _with_preceding_version(rows: FromClause) -> FromClause:
    """The rows, each with the newest version of its trade that precedes the first row of its KEY; else its own."""
    of = rows.columns
    preceding = func.max(of.version).over(
        partition_by=[of[name] for name in _TRADE], order_by=of.ordinal, rows=(None, -1)
    )
    key = [of[name] for name in PRIMARY_KEY]
    preceded = select(of.ordinal, *key, func.coalesce(preceding, of.version).label("earlier")).subquery("preceded")
    each = preceded.columns
    # What precedes a row grows with its place, so the least is what precedes the first of its KEY.
    first = func.min(each.earlier).over(partition_by=[each[name] for name in PRIMARY_KEY])
    return select(each.ordinal, *(each[name] for name in PRIMARY_KEY), first.label("earlier")).subquery("placed")


def _array(name: str) -> Any:
    """A parameter with one element for each row."""
    kind = TRADES.columns[name].type if name in PRIMARY_KEY else Integer()
    return cast(bindparam(name), ARRAY(Text() if isinstance(kind, Text) else kind))


_numbered = ("ordinal", *PRIMARY_KEY)
_given = (
    func.unnest(*(_array(name) for name in _numbered))
    .table_valued(*(column(name) for name in _numbered))
    .render_derived(name="given")
)
_STAGED: Final = _select_stale(STAGING)
_GIVEN: Final = _select_stale(_given)
_UNSTAGE: Final = delete(STAGING).where(
    STAGING.columns.ordinal == func.any(cast(bindparam("ordinals"), ARRAY(Integer)))
)
