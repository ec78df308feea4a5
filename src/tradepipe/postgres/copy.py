"""
COPY of encoded rows into the table of trades, or into the staging table of a connection.

Rows come encoded in PostgreSQL's binary COPY format (documentation of COPY,
"Binary Format"), the same for both tables.
"""

import io
import struct
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Column, Connection, Identity, Integer, MetaData, Table, text

from tradepipe.postgres.tables import TRADES
from tradepipe.trade.validated import ROW_COLUMNS

INSERT_COLUMNS: Final = tuple(column.name for column in TRADES.columns if column.name != "stored_at")
"""Columns of trades that a sink writes; PostgreSQL fills the others."""

STAGING: Final = Table(
    "tradepipe_staging",
    MetaData(),
    *(Column(name, TRADES.columns[name].type, nullable=TRADES.columns[name].nullable) for name in INSERT_COLUMNS),
    # PostgreSQL numbers the rows, so that an encoded row is the same for both tables.
    Column("ordinal", Integer, Identity(start=0, minvalue=0), nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
"""Trades of one batch, numbered from 0 in its order; every COMMIT empties the table."""

NOT_DIRECTLY: Final = ("23505", "0A000")
"""
SQLSTATEs after which rows that were copied straight into their table go into a temporary one first.

The first is unique_violation: a row is stored already. The second is feature_not_supported, under row-level security.
"""

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER: Final = struct.pack(">h", -1)
# psycopg2 sends COPY in chunks of 8 KiB by default, and takes the interpreter lock for each of them.
_CHUNK_BYTES: Final = 1 << 20

_COPY: Final = "COPY {} ({}) FROM STDIN (FORMAT binary)"
_COLUMNS: Final = ", ".join(ROW_COLUMNS)
_NUMBER_FROM_0: Final = text("SELECT pg_catalog.setval('pg_temp.tradepipe_staging_ordinal_seq', 0, false)")


def create_staging(connection: Connection) -> None:
    """Create the staging table; call once per connection."""
    STAGING.create(connection)


def stage(connection: Connection, rows: Sequence[bytes]) -> None:
    """Copy rows into the empty staging table."""
    connection.execute(_NUMBER_FROM_0)
    copy_rows(connection, STAGING, rows)


def copy_rows(connection: Connection, table: Table, rows: Sequence[bytes]) -> int:
    """
    Copy rows into a table in their order, and return how many PostgreSQL has stored.

    Raises:
        psycopg2.Error: PostgreSQL refused one of them, and with it the statement.
    """
    stream = io.BytesIO(b"".join((_HEADER, *rows, _TRAILER)))
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(_COPY.format(table.name, _COLUMNS), stream, size=_CHUNK_BYTES)
        return int(cursor.rowcount)
    finally:
        cursor.close()
