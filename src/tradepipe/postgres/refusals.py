"""The table of refusals: records that were not stored, with their bytes and violations."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg2
import sqlalchemy as sa
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from tradepipe.postgres.copy import NOT_DIRECTLY
from tradepipe.postgres.failures import is_too_large
from tradepipe.postgres.tables import TRADE_REFUSALS
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity
from tradepipe.trade.record import Digest, Omitted, Record, Refusal, Violation

COPY_ROWS: Final = 100
"""Refusals from which on COPY is used: it inserts them in a sixth of the time, but has a fixed cost of milliseconds."""


COPY_BYTES: Final = 1 << 20
"""Bytes of refusals from which on COPY is used too: it reads one by one, INSERT takes a multiple of their memory."""

_PIECE: Final = 1 << 16
"""Characters that COPY reads at once."""

PAGE_BYTES: Final = 8 << 20
"""Bytes of keys and values with which a page ends: to read them takes several times as much memory."""


def store(connection: sa.Connection, refusals: Sequence[Refusal], *, group: str, topic_id: str | None) -> None:
    """
    Insert one or more refusals; one that an earlier group has inserted stays unchanged.

    A refusal whose key and value are too large for PostgreSQL is stored without
    them, so that it does not stop the records after it.
    """
    _insert_bisecting(connection, [_row(refusal, group, topic_id) for refusal in refusals])


def _insert_bisecting(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """Insert refusals; if they are too large, halve down to the one that is, and insert it without its bytes."""
    try:
        with connection.begin_nested():
            if len(rows) < COPY_ROWS and sum(map(_size, rows)) < COPY_BYTES:
                connection.execute(_INSERT, rows)
            elif not _copy_directly(connection, rows):
                _copy_new(connection, rows)
    except (DBAPIError, psycopg2.Error) as error:
        if not is_too_large(error):
            raise
    else:
        return
    if len(rows) > 1:
        middle = len(rows) // 2
        _insert_bisecting(connection, rows[:middle])
        _insert_bisecting(connection, rows[middle:])
        return
    (row,) = rows
    size = _size(row)
    *details, last = row["details"]
    note = f"{last}; key and value are not stored: their {size} bytes are too many for PostgreSQL"
    digests: dict[str, Any] = {}
    for name in ("key", "value"):
        if row[name] is not None:
            digest = Digest.of(row[name])
            digests |= {f"{name}_bytes": digest.size, f"{name}_sha256": digest.sha256}
    connection.execute(_INSERT, [{**row, **digests, "key": None, "value": None, "details": [*details, note]}])


def _size(row: dict[str, Any]) -> int:
    return sum(len(row[name] or b"") for name in ("key", "value"))


def _copy_directly(connection: sa.Connection, rows: list[dict[str, Any]]) -> bool:
    """Copy refusals into their table; return False if one of them is stored already, and nothing was inserted."""
    try:
        with connection.begin_nested():
            _copy(connection, TRADE_REFUSALS.name, rows)
    except psycopg2.Error as error:  # COPY does not go through SQLAlchemy
        if error.pgcode in NOT_DIRECTLY:
            return False
        raise
    return True


def _copy_new(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """Insert the refusals that are not stored yet, through a temporary table; it takes twice the time of a COPY."""
    copied, columns = "pg_temp.tradepipe_refusals", ", ".join(f'"{name}"' for name in rows[0])
    # A table for each time: an empty one that remains would be truncated at every COMMIT of the sink.
    connection.execute(
        text(f"CREATE TEMPORARY TABLE tradepipe_refusals AS SELECT {columns} FROM {TRADE_REFUSALS.name} WITH NO DATA")
    )
    _copy(connection, copied, rows)
    connection.execute(
        text(f"INSERT INTO {TRADE_REFUSALS.name} ({columns}) SELECT {columns} FROM {copied} ON CONFLICT DO NOTHING")
    )
    connection.execute(text(f"DROP TABLE {copied}"))


def _copy(connection: sa.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    columns = ", ".join(f'"{name}"' for name in rows[0])
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", _CopyText(rows), size=_PIECE)
    finally:
        cursor.close()


class _CopyText:
    """
    A file of rows in PostgreSQL's text format of COPY, read piece by piece: the text takes four times the memory.

    A piece has at least one row, and up to a row more than it was asked for.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = iter(rows)

    def read(self, size: int) -> str:
        lines: list[str] = []
        for row in self._rows:
            lines.append("\t".join(map(_copy_value, row.values())) + "\n")
            size -= len(lines[-1])
            if size <= 0:
                break
        return "".join(lines)


def _copy_value(value: Any) -> str:
    """Return a value in PostgreSQL's text format of COPY."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    if isinstance(value, list):
        # An element is quoted for the array, and then, with all of the array, for COPY.
        elements = (each.replace("\\", "\\\\").replace('"', '\\"') for each in value)
        value = "{" + ",".join(f'"{element}"' for element in elements) + "}"
    # A translation by a table of characters takes ten times as long.
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def offsets_between(
    connection: sa.Connection, first: int, end: int, *, topic: str, topic_id: str | None, partition: int
) -> list[tuple[int, tuple[str, ...]]]:
    """Return offset and codes of a partition's stored refusals from `first` up to but not including `end`, in order."""
    partition_key = {"of_topic": topic, "of_topic_id": topic_id or "", "of_partition": partition}
    rows = connection.execute(_BETWEEN, {**partition_key, "first": first, "end": end})
    return [(offset, tuple(codes)) for offset, codes in rows]


def count(connection: sa.Connection, selection: DeadLetterFilter) -> int:
    """Count the refusals of a selection."""
    return connection.scalar(sa.select(sa.func.count()).select_from(TRADE_REFUSALS).where(*_conditions(selection))) or 0


def list_newest(connection: sa.Connection, selection: DeadLetterFilter, limit: int | None) -> list[DeadLetter]:
    """Return the newest refusals of a selection, at most `limit`, the newest last."""
    order = (_dead_letter_columns.refused_at.desc(), *(column.desc() for column in _IDENTITY))
    rows = connection.execute(sa.select(TRADE_REFUSALS).where(*_conditions(selection)).order_by(*order).limit(limit))
    return [_read(row) for row in rows][::-1]


def list_page(
    connection: sa.Connection, selection: DeadLetterFilter, after: RecordIdentity | None, size: int
) -> list[DeadLetter]:
    """
    Return the next refusals of a selection, in the order of their identities; an empty list if there are none.

    A page has at most `size` refusals, and fewer if they have more than `PAGE_BYTES`.
    """
    query = sa.select(TRADE_REFUSALS).where(*_conditions(selection)).order_by(*_IDENTITY).limit(size)
    if after is not None:
        query = query.where(sa.tuple_(*_IDENTITY) > sa.tuple_(*map(sa.literal, after)))
    rows = query.subquery()
    sizes = (sa.func.coalesce(sa.func.pg_catalog.octet_length(each), 0) for each in (rows.c.key, rows.c.value))
    before = sa.func.pg_catalog.sum(sum(sizes)).over(
        order_by=[rows.c[each.name] for each in _IDENTITY],
        rows=(None, -1),
    )
    page = sa.select(rows, before.label("bytes_before")).subquery()
    fitting = (
        sa.select(page)
        .where(sa.func.coalesce(page.c.bytes_before, 0) < PAGE_BYTES)
        .order_by(*(page.c[each.name] for each in _IDENTITY))
    )
    return [_read(row) for row in connection.execute(fitting)]


def lock_unchanged(connection: sa.Connection, dead_letters: Sequence[DeadLetter]) -> set[RecordIdentity]:
    """
    Lock the refusals that have not changed since they were read, until the transaction ends; return them.

    A refusal that another transaction has locked is skipped.
    """
    identities = [(*each.identity, each.replay_count + 1) for each in dead_letters]
    return {tuple(row) for row in connection.execute(_LOCK, {"identities": identities})}


def mark_replayed(connection: sa.Connection, identities: Sequence[RecordIdentity]) -> None:
    """Mark refusals as replayed."""
    if identities:
        connection.execute(_REPLAYED, {"identities": identities})


def mark_refused_again(connection: sa.Connection, dead_letters: Sequence[tuple[DeadLetter, Refusal]]) -> None:
    """Replace the violations of refusals and count one more attempt."""
    rows = [
        {
            **dict(zip(("of_topic", "of_topic_id", "of_partition", "of_offset"), each.identity, strict=True)),
            "new_codes": [_sanitize(code) for code in refusal.codes],
            "new_details": [_sanitize(detail) for detail in refusal.details],
            "new_schema_id": _sanitize_id(refusal.schema_id),
        }
        for each, refusal in dead_letters
    ]
    if rows:
        connection.execute(_REFUSED_AGAIN, rows)


def _conditions(selection: DeadLetterFilter) -> Iterator[sa.ColumnElement[bool]]:
    """Translate a selection into SQL conditions, with the meaning of `DeadLetterFilter.matches`."""
    if not selection.replayed:
        yield _dead_letter_columns.replayed_at.is_(None)
    if selection.codes:
        # Qualified: an operator for text[] in another schema of search_path would match better than that of any array.
        yield _dead_letter_columns.codes.op("OPERATOR(pg_catalog.&&)")(
            sa.cast(list(selection.codes), sa.ARRAY(sa.Text))
        )
    if selection.since is not None:
        yield _dead_letter_columns.refused_at >= selection.since
    if selection.until is not None:
        yield _dead_letter_columns.refused_at < selection.until
    if selection.topics:
        yield _dead_letter_columns.topic.in_(selection.topics)
    if selection.partitions:
        yield _dead_letter_columns.partition.in_(selection.partitions)
    if selection.first is not None:
        yield _dead_letter_columns.offset >= selection.first
    if selection.last is not None:
        yield _dead_letter_columns.offset <= selection.last
    if selection.coordinates is not None:
        yield sa.tuple_(
            _dead_letter_columns.topic, _dead_letter_columns.partition, _dead_letter_columns.offset
        ) == sa.tuple_(*map(sa.literal, selection.coordinates))
    if selection.trade_id is not None:
        yield _mentions(selection.trade_id.encode())


def _mentions(trade_id: bytes) -> sa.ColumnElement[bool]:
    needle = sa.literal(trade_id, sa.LargeBinary)
    return sa.or_(
        _dead_letter_columns.key == needle, sa.func.pg_catalog.position(_dead_letter_columns.value, needle) > 0
    )


def _read(row: sa.Row[Any]) -> DeadLetter:
    key, value = (None if each is None else bytes(each) for each in (row.key, row.value))
    refused = Record(row.topic, row.partition, row.offset, key, value)
    omitted = Omitted(_digest(row.key_bytes, row.key_sha256), _digest(row.value_bytes, row.value_sha256))
    violations = tuple(Violation(code, detail) for code, detail in zip(row.codes, row.details, strict=False))
    return DeadLetter(
        Refusal(refused, violations, row.schema_id, omitted),
        row.topic_id or None,
        row.group_id,
        row.refused_at,
        row.attempts - 1,
        row.replayed_at,
    )


def _digest(size: int | None, sha256: bytes | None) -> Digest | None:
    return None if size is None or sha256 is None else Digest(size, bytes(sha256))


def _row(refusal: Refusal, group: str, topic_id: str | None) -> dict[str, Any]:
    refusal = refusal.within()
    record, omitted = refusal.record, refusal.omitted
    return {
        "topic": record.topic,
        "topic_id": topic_id or "",
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key,
        "value": record.value,
        "codes": [_sanitize(code) for code in refusal.codes],
        "details": [_sanitize(detail) for detail in refusal.details],
        "schema_id": _sanitize_id(refusal.schema_id),
        "group_id": group,
        "key_bytes": omitted.key and omitted.key.size,
        "key_sha256": omitted.key and omitted.key.sha256,
        "value_bytes": omitted.value and omitted.value.size,
        "value_sha256": omitted.value and omitted.value.sha256,
    }


def _sanitize(text: str) -> str:
    """Escape characters that PostgreSQL text cannot hold: a detail may quote NUL and surrogates of a bad record."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _sanitize_id(schema_id: int | None) -> int | None:
    """Drop an id above 2**31 - 1: no registry assigns it and the column cannot hold it; the value still contains it."""
    return schema_id if schema_id is not None and schema_id < 2**31 else None


_dead_letter_columns = TRADE_REFUSALS.columns
_IDENTITY: Final = (
    _dead_letter_columns.topic,
    _dead_letter_columns.topic_id,
    _dead_letter_columns.partition,
    _dead_letter_columns.offset,
)
_INSERT = insert(TRADE_REFUSALS).on_conflict_do_nothing(
    index_elements=[column.name for column in TRADE_REFUSALS.primary_key]
)
_BETWEEN = (
    sa.select(_dead_letter_columns.offset, _dead_letter_columns.codes)
    .where(_dead_letter_columns.topic == sa.bindparam("of_topic"))
    .where(_dead_letter_columns.topic_id == sa.bindparam("of_topic_id"))
    .where(_dead_letter_columns.partition == sa.bindparam("of_partition"))
    .where(_dead_letter_columns.offset >= sa.bindparam("first"))
    .where(_dead_letter_columns.offset < sa.bindparam("end"))
    .order_by(_dead_letter_columns.offset)
)
_LOCK = (
    sa.select(*_IDENTITY)
    .where(sa.tuple_(*_IDENTITY, _dead_letter_columns.attempts).in_(sa.bindparam("identities", expanding=True)))
    .where(_dead_letter_columns.replayed_at.is_(None))
    .with_for_update(skip_locked=True)
)
_REPLAYED = (
    sa.update(TRADE_REFUSALS)
    .where(sa.tuple_(*_IDENTITY).in_(sa.bindparam("identities", expanding=True)))
    .values(replayed_at=sa.func.now())
)
_REFUSED_AGAIN = (
    sa.update(TRADE_REFUSALS)
    .where(_dead_letter_columns.topic == sa.bindparam("of_topic"))
    .where(_dead_letter_columns.topic_id == sa.bindparam("of_topic_id"))
    .where(_dead_letter_columns.partition == sa.bindparam("of_partition"))
    .where(_dead_letter_columns.offset == sa.bindparam("of_offset"))
    .values(
        codes=sa.bindparam("new_codes", type_=sa.ARRAY(sa.Text)),
        details=sa.bindparam("new_details", type_=sa.ARRAY(sa.Text)),
        schema_id=sa.func.coalesce(sa.bindparam("new_schema_id"), _dead_letter_columns.schema_id),
        attempts=_dead_letter_columns.attempts + 1,
    )
)
