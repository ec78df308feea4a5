"""
The staging table of a connection, and the COPY that fills it.

Rows travel in PostgreSQL's binary COPY format (documentation of COPY, "Binary
Format"): dates and timestamps stay integers, and no text has to be escaped.
"""

import io
import struct
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from sqlalchemy import Column, Connection, Integer, MetaData, Table

from tradepipe.contract.amount import PLACES, unscaled
from tradepipe.contract.record import Record
from tradepipe.contract.trade import Trade
from tradepipe.postgres.tables import TRADES


class Accepted(NamedTuple):
    """A record whose trade may be stored."""

    record: Record
    trade: Trade
    schema_id: int


COPIED: Final = tuple(column.name for column in TRADES.columns if column.name != "stored_at")
"""The columns of trades that a sink gives; PostgreSQL gives the others."""

STAGING: Final = Table(
    "tradepipe_staging",
    MetaData(),
    *(Column(name, TRADES.columns[name].type, nullable=TRADES.columns[name].nullable) for name in COPIED),
    Column("ordinal", Integer, nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
"""A batch's trades, numbered in the order of the batch; emptied by each COMMIT."""

TEXTS: Final = ("trade_id", "counterparty_id", "book_id", "source_topic", "side")
NULLABLE: Final = ("notional", "currency")
NUMBERS: Final = (
    "version",
    "maturity_date",
    "created_at",
    "source_partition",
    "source_offset",
    "schema_id",
    "ordinal",
)
"""The columns in the order in which a row is packed: those of any length first, then those of fixed length."""

PACKED: Final = (*TEXTS, *NULLABLE, *NUMBERS)

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER: Final = struct.pack(">h", -1)
_FIELDS: Final = struct.pack(">h", len(PACKED))
_length = struct.Struct(">i").pack
_NULL: Final = _length(-1)
_numbers = struct.Struct(">ii ii iq ii iq ii ii".replace(" ", "")).pack

# PostgreSQL's numeric: how many digits to the base of 10,000, the power of the first, sign, places; the digits.
_amount = struct.Struct(">ihhHHHHHHH").pack
_AMOUNT_BYTES: Final = struct.calcsize(">hhHHHHHHH")
_MINUS: Final = 0x4000

# PostgreSQL counts days and microseconds from 2000-01-01.
_DAY_ZERO: Final = date(2000, 1, 1).toordinal()
_INSTANT_ZERO: Final = datetime(2000, 1, 1, tzinfo=UTC)

# psycopg2 hands COPY over in pieces of 8 KiB unless told otherwise, and takes the interpreter's lock for each.
_PIECE: Final = 1 << 20

_COPY: Final = "COPY {} ({}) FROM STDIN (FORMAT binary)".format(STAGING.name, ", ".join(PACKED))


def create(connection: Connection) -> None:
    """Create the staging table of this connection; once, as the connection is made."""
    STAGING.create(connection)


def fill(connection: Connection, rows: Iterable[tuple[int, Accepted]]) -> None:
    """Copy trades with their ordinals into the staging table."""
    cursor = connection.connection.cursor()
    try:
        cursor.copy_expert(_COPY, io.BytesIO(pack(rows)), size=_PIECE)
    finally:
        cursor.close()


def pack(rows: Iterable[tuple[int, Accepted]]) -> bytes:
    """The rows as binary COPY takes them, header and trailer included."""
    pieces = [_HEADER]
    for ordinal, (record, trade, schema_id) in rows:
        trade_id, version, counterparty_id, book_id, maturity_date, created_at, side, notional, currency = trade
        age = created_at - _INSTANT_ZERO
        pieces.append(_FIELDS)
        for value in (trade_id, counterparty_id, book_id, record.topic, side):
            encoded = value.encode()
            pieces += (_length(len(encoded)), encoded)
        pieces.append(_NULL if notional is None else _packed_amount(notional))
        if currency is None:
            pieces.append(_NULL)
        else:
            encoded = currency.encode()
            pieces += (_length(len(encoded)), encoded)
        pieces.append(
            _numbers(
                4,
                version,
                4,
                maturity_date.toordinal() - _DAY_ZERO,
                8,
                (age.days * 86_400 + age.seconds) * 1_000_000 + age.microseconds,
                4,
                record.partition,
                8,
                record.offset,
                4,
                schema_id,
                4,
                ordinal,
            )
        )
    pieces.append(_TRAILER)
    return b"".join(pieces)


def _packed_amount(amount: Decimal) -> bytes:
    """Five digits to the base of 10,000, the last of them behind the point; PostgreSQL drops leading zeros."""
    whole = unscaled(amount)
    sign = 0 if whole >= 0 else _MINUS
    whole = abs(whole)
    return _amount(
        _AMOUNT_BYTES,
        5,
        3,
        sign,
        PLACES,
        whole // 10**16,
        whole // 10**12 % 10_000,
        whole // 10**8 % 10_000,
        whole // 10_000 % 10_000,
        whole % 10_000,
    )
