"""Rows in COPY format, and their effect in PostgreSQL."""

import io
import struct
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.codec.sample_schema import SAMPLE, SAMPLES, Side, pack_fields
from tests.properties import examples
from tradepipe.codec.copy_rows import numeric, pack_row
from tradepipe.codec.primitives import OutOfRange
from tradepipe.trade.record import Record
from tradepipe.trade.samples import trades
from tradepipe.trade.validated import ROW_COLUMNS

COLUMNS = {
    "trade_id": "text",
    "version": "integer",
    "maturity_date": "date",
    "created_at": "timestamptz",
    "side": "text",
    "notional": "numeric(18,4)",
    "currency": "text",
}

FIRST = SAMPLE._replace(maturity_date=date.min, created_at=datetime.min.replace(tzinfo=UTC))
LAST = SAMPLE._replace(maturity_date=date.max, created_at=datetime.max.replace(tzinfo=UTC))


@pytest.fixture(scope="module")
def cursor(session_services):
    server = session_services.postgres.start()
    connection = psycopg2.connect(server.create_database("test_rows"))
    with connection.cursor() as cursor:
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        cursor.execute(f"SET timezone = 'UTC'; CREATE TEMPORARY TABLE copied ({columns}, place serial)")
        cursor.execute(f"CREATE TEMPORARY TABLE inserted ({columns}, place serial)")
        yield cursor
    connection.close()
    server.drop_database("test_rows")


def copied(cursor, rows):
    """Copy rows into the table; return its content."""
    head = struct.pack(">h", len(COLUMNS))
    stream = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(head + row for row in rows) + b"\xff\xff"
    cursor.copy_expert(f"COPY copied ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)", io.BytesIO(stream))


def differing(cursor):
    """Return the rows that are in one of the two tables only."""
    listed = ", ".join(COLUMNS)
    one, other = (f"SELECT place, {listed} FROM {table}" for table in ("copied", "inserted"))
    cursor.execute(f"({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one})")
    found = cursor.fetchall()
    cursor.execute("TRUNCATE copied, inserted RESTART IDENTITY")
    return found


def storable(sample):
    return "\0" not in sample.trade_id + (sample.currency or "")


@examples(30)
@given(st.lists(SAMPLES.filter(storable), min_size=1, max_size=30))
@example([SAMPLE, SAMPLE._replace(notional=None, currency=None, side=Side.UNKNOWN)])
@example([SAMPLE._replace(trade_id="x" * 5_000, currency="€" * 100, version=-(2**31))])
@example(
    [SAMPLE._replace(notional=Decimal(number).scaleb(-4)) for number in (0, 1, 9_999, 10_000, -1, 10**18 - 1, 10**12)]
)
def test_copied_rows_equal_inserted_trades(cursor, sample_trades):
    copied(cursor, map(pack_fields, sample_trades))
    cursor.executemany(
        f"INSERT INTO inserted ({', '.join(COLUMNS)}) VALUES (%s, %s, %s, %s, %s, %s, %s)", sample_trades
    )

    assert [] == differing(cursor)


@pytest.mark.parametrize("sample", [FIRST, LAST], ids=["first", "last"])
def test_the_first_and_the_last_timestamp_are_stored(cursor, sample):
    copied(cursor, [pack_fields(sample)])
    cursor.execute(
        "SELECT maturity_date = %s::date, created_at = %s::timestamptz FROM copied",
        (sample.maturity_date.isoformat(), sample.created_at.isoformat()),
    )

    assert [(True, True)] == cursor.fetchall()
    differing(cursor)


@given(st.integers(-(10**18) + 1, 10**18 - 1))
@example(0)
@example(10**12)
@example(-(10**12) + 1)
def test_a_numeric_equals_postgresqls_except_for_outer_zeros(unscaled):
    length, count, weight, sign, scale = struct.unpack_from(">iHhHH", numeric(unscaled, 4))
    digits = struct.unpack_from(f">{count}H", numeric(unscaled, 4), 12)
    value = sum(Decimal(10_000) ** (weight - place) * digit for place, digit in enumerate(digits))

    assert (8 + 2 * count, 4) == (length, scale)
    assert Decimal(unscaled).scaleb(-4) == (-value if sign == 0x4000 else value)


@pytest.mark.parametrize("scale", [0, 1, 4, 5, 8])
def test_a_numeric_may_have_any_number_of_decimals(cursor, scale):
    cursor.execute("CREATE TEMPORARY TABLE one (number numeric) ON COMMIT DROP")
    row = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\1" + numeric(1_234_567_890_123_456, scale) + b"\xff\xff"
    cursor.copy_expert("COPY one FROM STDIN (FORMAT binary)", io.BytesIO(row))
    cursor.execute("SELECT number FROM one")

    assert [(Decimal(1_234_567_890_123_456).scaleb(-scale),)] == cursor.fetchall()
    cursor.connection.commit()


@pytest.mark.parametrize("field", ["trade_id", "currency"])
def test_a_nul_cannot_be_packed(field):
    """The rules refuse such a text before."""
    with pytest.raises(OutOfRange, match="holds the character NUL"):
        pack_fields(SAMPLE._replace(**{field: "€\0"}))


def test_a_row_has_the_columns_of_a_sink_in_their_order():
    trade = next(trades(1))
    row = pack_row(Record("topic", 3, 5, None, b""), 7, trade)
    (count,) = struct.unpack_from(">h", row)
    fields, row = [], row[2:]
    while row:
        (length,) = struct.unpack_from(">i", row)
        fields.append(row[4 : 4 + max(0, length)])
        row = row[4 + max(0, length) :]
    found = dict(zip(ROW_COLUMNS, fields, strict=True))

    assert count == len(ROW_COLUMNS)
    assert (b"topic", trade.trade_id.encode()) == (found["source_topic"], found["trade_id"])
    numbers = ("version", "source_partition", "source_offset", "schema_id")
    assert [trade.version, 3, 5, 7] == [int.from_bytes(found[name], "big") for name in numbers]
