"""
The staging table of a connection, and the COPY that fills it.

Rows are sent in PostgreSQL's binary COPY format (documentation of COPY, "Binary
Format"). The decoder has encoded a trade's columns; the coordinates of its
record are added here.
"""

import io
import struct
from collections.abc import Iterable
from typing import Final

from sqlalchemy import Column, Connection, Integer, MetaData, Table

from tradepipe.postgres.tables import TRADES
from tradepipe.trade.model import Trade
from tradepipe.trade.record import ValidRecord

INSERT_COLUMNS: Final = tuple(column.name for column in TRADES.columns if column.name != "stored_at")
"""Columns of trades that a sink writes; PostgreSQL fills the others."""

STAGING: Final = Table(
    "tradepipe_staging",
    MetaData(),
    *(Column(name, TRADES.columns[name].type, nullable=TRADES.columns[name].nullable) for name in INSERT_COLUMNS),
    Column("ordinal", Integer, nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
"""Trades of one batch, numbered in its order; every COMMIT empties the table."""

COPY_COLUMNS: Final = (
    "source_topic",
    *Trade._fields,
    "source_partition",
    "source_offset",
    "schema_id",
    "ordinal",
)
"""Columns in the order of an encoded row: first the one that is the same for a whole topic."""

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER: Final = struct.pack(">h", -1)
_pack_start = struct.Struct(">hi").pack
_pack_numbers = struct.Struct(">ii iq ii ii".replace(" ", "")).pack

# psycopg2 sends COPY in chunks of 8 KiB by default, and takes the interpreter lock for each of them.
_CHUNK_BYTES: Final = 1 << 20

_COPY: Final = "COPY {} ({}) FROM STDIN (FORMAT binary)".format(STAGING.name, ", ".join(COPY_COLUMNS))


def create(connection: Connection) -> None:
    """Create the staging table; call once per connection."""
    STAGING.create(connection)


def copy_rows(connection: Connection, rows: Iterable[tuple[int, ValidRecord]]) -> None:
    """Copy trades with their ordinals into the staging table."""
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(_COPY, io.BytesIO(encode_rows(rows)), size=_CHUNK_BYTES)
    finally:
        cursor.close()


def encode_rows(rows: Iterable[tuple[int, ValidRecord]]) -> bytes:
    """Encode rows in the binary COPY format, with header and trailer."""
    chunks, row_start, topic = [_HEADER], b"", None
    for ordinal, valid in rows:
        record = valid.record
        if record.topic != topic:
            topic = record.topic
            # Every row begins with the number of its fields, and the topic.
            encoded = topic.encode()
            row_start = _pack_start(len(COPY_COLUMNS), len(encoded)) + encoded
        numbers = _pack_numbers(4, record.partition, 8, record.offset, 4, valid.schema_id, 4, ordinal)
        chunks += (row_start, valid.row, numbers)
    chunks.append(_TRAILER)
    return b"".join(chunks)
