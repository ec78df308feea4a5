"""
COPY of encoded rows into the table of trades, or into a temporary table of a connection.

Rows come encoded in PostgreSQL's binary COPY format (documentation of COPY,
"Binary Format"), the same for the table of trades and the staging table.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Column, Connection, Identity, Integer, MetaData, Table, text

from tradepipe import compiled_core
from tradepipe.postgres.driver import driver_cursor
from tradepipe.postgres.tables import TRADES
from tradepipe.trade.model import PRIMARY_KEY
from tradepipe.trade.validated import ROW_COLUMNS

INSERT_COLUMNS: Final = tuple(column.name for column in TRADES.columns if column.name != "stored_at")
"""Columns of trades that a sink writes; PostgreSQL fills the others."""


def _temporary_table(name: str, columns: Sequence[str], *ordinal: Identity) -> Table:
    """Describe a table of columns of trades, whose rows are numbered from 0; every COMMIT empties it."""
    return Table(
        name,
        MetaData(),
        *(Column(each, TRADES.columns[each].type, nullable=TRADES.columns[each].nullable) for each in columns),
        Column("ordinal", Integer, *ordinal, nullable=False),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DELETE ROWS",
    )


# PostgreSQL numbers the rows, so that an encoded row is the same for the table of trades and for this one.
STAGING: Final = _temporary_table("tradepipe_staging", INSERT_COLUMNS, Identity(start=0, minvalue=0))
"""Trades of one batch, in its order."""

KEYS: Final = _temporary_table("tradepipe_keys", PRIMARY_KEY)
"""Primary keys of the trades of one batch, in its order."""

NOT_DIRECTLY: Final = ("23505", "0A000")
"""
SQLSTATEs after which rows that were copied straight into their table go into a temporary one first.

The first is unique_violation: a row is stored already. The second is feature_not_supported, under row-level security.
"""

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER: Final = struct.pack(">h", -1)
_field_count = struct.Struct(">h")
_field_length = struct.Struct(">i")
_number = struct.Struct(">ii")
# psycopg2 sends COPY in chunks of 8 KiB by default, and takes the interpreter lock for each of them.
_CHUNK_BYTES: Final = 1 << 20

_COPY: Final = "COPY {} ({}) FROM STDIN (FORMAT binary)"
_NUMBER_FROM_0: Final = text(f"SELECT pg_catalog.setval('pg_temp.{STAGING.name}_ordinal_seq', 0, false)")
_KEY_COLUMNS: Final = tuple(name for name in ROW_COLUMNS if name in PRIMARY_KEY)
_KEY_PLACES: Final = tuple(ROW_COLUMNS.index(name) for name in _KEY_COLUMNS)


def create_temporary_tables(connection: Connection) -> None:
    """Create the staging table and the table of keys; call once per connection."""
    STAGING.create(connection)
    KEYS.create(connection)


def stage(connection: Connection, rows: Sequence[bytes]) -> None:
    """Copy rows into the empty staging table."""
    connection.execute(_NUMBER_FROM_0)
    copy_rows(connection, STAGING, rows)


def copy_keys(connection: Connection, rows: Sequence[bytes]) -> None:
    """Copy the primary keys of rows into the empty table of keys."""
    _copy(connection, KEYS, (*_KEY_COLUMNS, "ordinal"), (pick_fields(rows, _KEY_PLACES),))


def copy_rows(connection: Connection, table: Table, rows: Sequence[bytes], *, savepoint: str | None = None) -> int:
    """
    Copy rows into a table in their order, and return how many are stored.

    Args:
        savepoint: the name of a savepoint to set first, in the same round trip.

    Raises:
        psycopg2.Error: a row is refused; nothing is stored.
    """
    return _copy(connection, table, ROW_COLUMNS, rows, savepoint)


def pick_fields(rows: Sequence[bytes], places: Sequence[int]) -> bytes:
    """Return rows with only the fields at some places, which ascend, and then their number; the rows are joined."""
    if (native := compiled_core.load()) is not None:
        return bytes(native.pick_fields(rows, places))
    count = _field_count.pack(len(places) + 1)
    return b"".join(
        b"".join((count, *_fields(row, places), _number.pack(_number.size - _field_length.size, number)))
        for number, row in enumerate(rows)
    )


def _fields(row: bytes, places: Sequence[int]) -> Iterator[bytes]:
    start, place = _field_count.size, 0
    for wanted in places:
        while place <= wanted:
            (length,) = _field_length.unpack_from(row, start)
            # The length of NULL is -1: it has no bytes.
            end = start + _field_length.size + max(0, length)
            if place == wanted:
                yield row[start:end]
            start, place = end, place + 1


def _copy(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[bytes], savepoint: str | None = None
) -> int:
    statements = _COPY.format(table.name, ", ".join(columns))
    if savepoint is not None:
        statements = f"SAVEPOINT {savepoint}; {statements}"
    stream = io.BytesIO(b"".join((_HEADER, *rows, _TRAILER)))
    with driver_cursor(connection) as cursor:
        cursor.copy_expert(statements, stream, size=_CHUNK_BYTES)
        return int(cursor.rowcount)
