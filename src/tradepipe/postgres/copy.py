"""
The staging table of a connection, and the COPY that fills it.

Rows travel in PostgreSQL's binary COPY format (documentation of COPY, "Binary
Format"). A trade's own columns come as they were made of its record; here the
place of the record is put beside them.
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
"""The columns of trades that a sink gives; PostgreSQL gives the others."""

STAGING: Final = Table(
    "tradepipe_staging",
    MetaData(),
    *(Column(name, TRADES.columns[name].type, nullable=TRADES.columns[name].nullable) for name in INSERT_COLUMNS),
    Column("ordinal", Integer, nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
"""A batch's trades, numbered in the order of the batch; emptied by each COMMIT."""

COPY_COLUMNS: Final = (
    "source_topic",
    *Trade._fields,
    "source_partition",
    "source_offset",
    "schema_id",
    "ordinal",
)
"""The columns in the order in which a row is packed: first what is the same for all of a topic."""

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER: Final = struct.pack(">h", -1)
_begin = struct.Struct(">hi").pack
_numbers = struct.Struct(">ii iq ii ii".replace(" ", "")).pack

# psycopg2 hands COPY over in pieces of 8 KiB unless told otherwise, and takes the interpreter's lock for each.
_CHUNK_BYTES: Final = 1 << 20

_COPY: Final = "COPY {} ({}) FROM STDIN (FORMAT binary)".format(STAGING.name, ", ".join(COPY_COLUMNS))


def create(connection: Connection) -> None:
    """Create the staging table of this connection; once, as the connection is made."""
    STAGING.create(connection)


def copy_rows(connection: Connection, rows: Iterable[tuple[int, ValidRecord]]) -> None:
    """Copy trades with their ordinals into the staging table."""
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(_COPY, io.BytesIO(encode_rows(rows)), size=_CHUNK_BYTES)
    finally:
        cursor.close()


def encode_rows(rows: Iterable[tuple[int, ValidRecord]]) -> bytes:
    """The rows as binary COPY takes them, header and trailer included."""
    pieces, begins, topic = [_HEADER], b"", None
    for ordinal, accepted in rows:
        record = accepted.record
        if record.topic != topic:
            topic = record.topic
            begins = _row_starts(topic)
        numbers = _numbers(4, record.partition, 8, record.offset, 4, accepted.schema_id, 4, ordinal)
        pieces += (begins, accepted.row, numbers)
    pieces.append(_TRAILER)
    return b"".join(pieces)


def _row_starts(topic: str) -> bytes:
    """How each row begins: the number of its fields, and the topic."""
    encoded = topic.encode()
    return _begin(len(COPY_COLUMNS), len(encoded)) + encoded
