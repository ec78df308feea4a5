"""
One batch, one transaction: its offsets, its trades and its refusals.

Whoever calls `store` begins the transaction before and commits it after, so
that a COMMIT without an answer can be told from all other failures.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from tradepipe.contract.refusal import Code, Refusal, Violation
from tradepipe.contract.trade import CONTENT, KEY, Trade
from tradepipe.errors import TradepipeError
from tradepipe.postgres import offsets, refusals, staging, staleness
from tradepipe.postgres.accepted import Accepted
from tradepipe.postgres.failures import FailureClass, classify
from tradepipe.postgres.offsets import Ownership, Span
from tradepipe.postgres.staging import COPIED, STAGING
from tradepipe.postgres.staleness import Stale
from tradepipe.postgres.tables import TRADES, code_of_constraint

Entry = Accepted | Refusal
"""What the log holds at one offset, judged."""


_Rows = Sequence[tuple[int, Accepted]]
"""Trades with their ordinals."""

_Insert = Callable[[Connection, _Rows], "_Piece"]
"""How some trades go in, all of them or none."""


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


class _Piece(NamedTuple):
    """What became of some of a batch's trades; ordinals tell which."""

    inserted: int = 0
    replayed: tuple[int, ...] = ()
    refused: tuple[tuple[int, Refusal], ...] = ()

    def plus(self, other: "_Piece") -> "_Piece":
        return _Piece(self.inserted + other.inserted, self.replayed + other.replayed, self.refused + other.refused)


class Unaccounted(TradepipeError):
    """A staged trade is neither in the table nor refused: somebody deleted rows meanwhile; the batch is retried."""

    retriable = True


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
    whole, part = _WAYS[stale]
    piece = _store_trades(connection, rows, whole, part) if rows else _Piece()
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


def _store_trades(connection: Connection, rows: _Rows, whole: _Insert, part: _Insert) -> _Piece:
    """Store trades; where the database refuses one, halve down to it, the earlier half first."""
    try:
        with connection.begin_nested():
            return whole(connection, rows)
    except (DBAPIError, psycopg2.Error) as error:
        if classify(error, connected_before=True) is not FailureClass.DATA:
            raise
        if len(rows) == 1:
            ordinal, accepted = rows[0]
            return _Piece(refused=((ordinal, _refused_by_database(accepted, error)),))
    middle = len(rows) // 2
    earlier = _store_trades(connection, rows[:middle], part, part)
    return earlier.plus(_store_trades(connection, rows[middle:], part, part))


def _insert(connection: Connection, rows: _Rows) -> _Piece:
    staging.fill(connection, rows)
    return _insert_staged(connection, rows)


def _insert_newer(connection: Connection, rows: _Rows) -> _Piece:
    """As `_insert`, but for stale versions, which are refused."""
    staging.fill(connection, rows)
    older = staleness.staged(connection)
    if older:
        _try(connection, _INSERT_SOME, {"ordinals": list(older)})
        staleness.unstage(connection, list(older))
    return _insert_staged(connection, _without(rows, older)).plus(_stale(rows, older))


def _insert_newer_unstaged(connection: Connection, rows: _Rows) -> _Piece:
    """As `_insert_unstaged`, but for stale versions, which are refused."""
    older = staleness.among(connection, rows)
    if older:
        _try(connection, _INSERT_ROWS, _rows_by_key([row for row in rows if row[0] in older]))
    newer = _without(rows, older)
    piece = _insert_unstaged(connection, newer) if newer else _Piece()
    return piece.plus(_stale(rows, older))


def _try(
    connection: Connection, statement: Executable, parameters: Mapping[str, object] | list[dict[str, object]]
) -> None:
    """
    Insert, and take it back: what the database refuses is refused for that, stale or not.

    That a version is stale is nothing against the trade; another order of the
    log would have let it pass.
    """
    connection.execute(_BEGIN_TRIAL)
    connection.execute(statement, parameters)
    connection.execute(_END_TRIAL)


def _without(rows: _Rows, ordinals: Container[int]) -> _Rows:
    return [row for row in rows if row[0] not in ordinals] if ordinals else rows


def _stale(rows: _Rows, older: Mapping[int, int]) -> _Piece:
    if not older:
        return _Piece()
    refused = ((ordinal, staleness.refused(accepted, older[ordinal])) for ordinal, accepted in rows if ordinal in older)
    return _Piece(refused=tuple(refused))


def _insert_staged(connection: Connection, rows: _Rows) -> _Piece:
    inserted = connection.execute(_INSERT).rowcount
    if inserted == len(rows):
        return _Piece(inserted)
    accepted = dict(rows)
    replayed, refused = [], []
    for row in connection.execute(_NOT_INSERTED):
        if row.missing:
            raise _vanished(accepted[row.ordinal])
        if row.collides:
            refused.append((row.ordinal, _collision(accepted[row.ordinal], row)))
        else:
            replayed.append(row.ordinal)
    return _Piece(inserted, tuple(replayed), tuple(refused))


def _insert_unstaged(connection: Connection, rows: _Rows) -> _Piece:
    """
    As `_insert`, for the pieces of a batch.

    Within one transaction the staging table only grows, and each piece would
    read all that was ever copied (measured: 5,000 trades, 100 of them refused:
    16 s instead of 2).
    """
    inserted = connection.execute(_INSERT_ROWS, _rows_by_key(rows))
    places = {(row.source_partition, row.source_offset) for row in inserted}
    left = [row for row in rows if (row[1].record.partition, row[1].record.offset) not in places]
    partners = _partners(connection, left) if left else {}
    replayed, refused = [], []
    for ordinal, accepted in left:
        if (stored := partners.get(_key(accepted.trade))) is None:
            raise _vanished(accepted)
        if any(getattr(accepted.trade, field) != getattr(stored, field) for field in CONTENT):
            refused.append((ordinal, _collision(accepted, stored)))
        else:
            replayed.append(ordinal)
    return _Piece(len(places), tuple(replayed), tuple(refused))


def _partners(connection: Connection, rows: _Rows) -> dict[tuple[object, ...], Any]:
    """The stored trades of the same keys."""
    keys = list({_key(accepted.trade) for _, accepted in rows})
    return {tuple(getattr(row, field) for field in KEY): row for row in connection.execute(_OF_KEYS, {"keys": keys})}


def _key(trade: Trade) -> tuple[object, ...]:
    return tuple(getattr(trade, field) for field in KEY)


def _rows_by_key(rows: _Rows) -> list[dict[str, object]]:
    """In the order of the key, for the same reason as `_INSERT`."""
    by_key = sorted(rows, key=lambda row: (*_key(row[1].trade), row[0]))
    return [_row(accepted) for _, accepted in by_key]


def _row(accepted: Accepted) -> dict[str, object]:
    """A trade as the columns that a sink gives."""
    record = accepted.record
    source = {
        "source_topic": record.topic,
        "source_partition": record.partition,
        "source_offset": record.offset,
        "schema_id": accepted.schema_id,
    }
    return {**accepted.trade._asdict(), **source}


def _vanished(accepted: Accepted) -> Unaccounted:
    return Unaccounted(f"trade {_key(accepted.trade)} vanished from the table while it was stored")


def _collision(accepted: Accepted, stored: Any) -> Refusal:
    """A refusal that names each field in which the trade differs from the one in the table."""
    differing = "; ".join(
        f"{field} is {_shown(given)}, not {_shown(getattr(stored, field))}"
        for field in CONTENT
        if (given := getattr(accepted.trade, field)) != getattr(stored, field)
    )
    key = " ".join(f"{field} {getattr(accepted.trade, field)}" for field in KEY)
    place = f"{stored.source_topic}[{stored.source_partition}]@{stored.source_offset}"
    detail = f"{key} is stored already, from {place}: {differing}"
    return Refusal(accepted.record, (Violation(Code.VERSION_COLLISION, detail),), accepted.schema_id)


def _refused_by_database(accepted: Accepted, error: DBAPIError | psycopg2.Error) -> Refusal:
    """With all that our rules say against the trade; with the database's own reason where they say nothing."""
    if found := accepted.violations:
        return Refusal(accepted.record, found, accepted.schema_id)
    original = error.orig if isinstance(error, DBAPIError) else error
    code, detail = Code.DATABASE_REFUSED, str(original).strip()
    if isinstance(original, psycopg2.Error) and original.diag.message_primary:
        code = code_of_constraint(original.diag.constraint_name)
        detail = f"{original.pgcode}: {original.diag.message_primary}"
    return Refusal(accepted.record, (Violation(code, detail),), accepted.schema_id)


def _shown(value: object) -> str:
    return repr(str(value)) if isinstance(value, str) else str(value)


_staged, _stored = STAGING.columns, TRADES.columns
_BEGIN_TRIAL: Final = text("SAVEPOINT trial")
# Without the RELEASE all that follows would be a subtransaction of its own, by whose xmin `_made_here` would be misled.
_END_TRIAL: Final = text("ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial")
_AT_ONCE: Final = text("SET CONSTRAINTS ALL IMMEDIATE")
# In the order of the key, so that two sinks with the same keys wait for each other instead of deadlocking.
_in_order = select(*(_staged[name] for name in COPIED)).order_by(*(_staged[name] for name in KEY), _staged.ordinal)
_some = _in_order.where(_staged.ordinal == func.any(cast(bindparam("ordinals"), ARRAY(Integer))))
_INSERT: Final = insert(TRADES).from_select(COPIED, _in_order).on_conflict_do_nothing(index_elements=KEY)
_INSERT_SOME: Final = insert(TRADES).from_select(COPIED, _some).on_conflict_do_nothing(index_elements=KEY)
_INSERT_ROWS: Final = (
    insert(TRADES).on_conflict_do_nothing(index_elements=KEY).returning(_stored.source_partition, _stored.source_offset)
)
_OF_KEYS: Final = select(TRADES).where(tuple_(*(_stored[name] for name in KEY)).in_(bindparam("keys", expanding=True)))
# LIMIT keeps the planner from reading all of trades for one batch: each key is looked up in the index.
_partner = (
    select(TRADES, literal_column("trades.xmin").label("made_by"))
    .where(*(_stored[name] == _staged[name] for name in KEY))
    .limit(1)
    .lateral("partner")
)
_partnered = _partner.columns
# A row is the work of this very (sub)transaction where its xmin is that of the staged row, which COPY wrote a
# statement before; of several staged rows with one key, the coordinates tell which of them it is.
_made_here = func.coalesce(
    (_partnered.made_by == literal_column(f"{STAGING.name}.xmin"))
    & (_partnered.source_topic == _staged.source_topic)
    & (_partnered.source_partition == _staged.source_partition)
    & (_partnered.source_offset == _staged.source_offset),
    false(),
)
_collides = or_(*(_partnered[name].is_distinct_from(_staged[name]) for name in CONTENT))
_NOT_INSERTED: Final = (
    select(
        _staged.ordinal,
        _partnered[KEY[0]].is_(None).label("missing"),
        _collides.label("collides"),
        # A replay needs none of these; a whole topic may be replayed.
        *(
            case((_collides, _partnered[name])).label(name)
            for name in (*CONTENT, "source_topic", "source_partition", "source_offset")
        ),
    )
    .select_from(STAGING.outerjoin(_partner, true()))
    .where(~_made_here)
    .order_by(_staged.ordinal)
)
_WAYS: Final[Mapping[Stale, tuple[_Insert, _Insert]]] = {
    "accept": (_insert, _insert_unstaged),
    "refuse": (_insert_newer, _insert_newer_unstaged),
}
"""How a whole batch goes in, and how a part of one that the database has refused."""
