"""Rows in COPY format, and their effect in PostgreSQL."""

import io
import struct
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.codec.sample_schema import SAMPLE, SAMPLES, SCHEMA, Side, encode, make_decoder, make_row_decoder, written
from tests.properties import examples
from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.codec.copy_fields import numeric
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.history import current
from tradepipe.trade.model import Trade
from tradepipe.trade.samples import trades

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

copy_row = make_row_decoder()


@pytest.fixture(scope="module")
def cursor(services):
    server = services.postgres.start()
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
    bodies = [encode(sample) for sample in sample_trades]
    decode = make_decoder()
    copied(cursor, map(copy_row, bodies))
    cursor.executemany(
        f"INSERT INTO inserted ({', '.join(COLUMNS)}) VALUES (%s, %s, %s, %s, %s, %s, %s)", list(map(decode, bodies))
    )

    assert [] == differing(cursor)


@pytest.mark.parametrize("sample", [FIRST, LAST], ids=["first", "last"])
def test_the_first_and_the_last_timestamp_are_stored(cursor, sample):
    copied(cursor, [copy_row(encode(sample))])
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


def test_a_field_the_writer_lacks_has_its_default_in_the_row():
    old = SCHEMA | {"fields": SCHEMA["fields"][:4]}
    body = written(old, SAMPLE._asdict())
    today = SAMPLE._replace(side=Side.UNKNOWN, notional=None, currency=None)

    assert today == make_decoder(old)(body)
    assert copy_row(encode(today)) == make_row_decoder(old)(body)


@pytest.mark.parametrize(
    ("sample", "code", "expected"),
    [
        (SAMPLE._replace(trade_id="T\0"), "TRADE_ID", "trade_id holds the character NUL"),
        (SAMPLE._replace(currency="€\0"), "CURRENCY", "currency holds the character NUL"),
    ],
    ids=["ascii", "not ascii"],
)
def test_a_nul_is_refused_by_the_code_of_its_field(sample, code, expected):
    """PostgreSQL does not store it; the rules refuse a decoded sample with the same code."""
    with pytest.raises(UndecodableRecord) as refused:
        copy_row(encode(sample))

    assert code == refused.value.violation.code
    assert expected in refused.value.violation.detail


def test_a_character_split_over_two_texts_is_not_utf_8():
    """The first check joins all texts."""
    sample = written(SCHEMA, SAMPLE._replace(trade_id="T", currency="C")._asdict())
    broken = sample.replace(b"\x02T", b"\x02\xc3").replace(b"\x02C", b"\x02\xa9")
    with pytest.raises(UndecodableRecord, match="trade_id is not UTF-8"):
        copy_row(broken)


def test_the_row_of_a_trade_has_its_fields_in_their_order():
    trade = next(trades(1))
    row = Decoder(current().text, 1).copy_row(Encoder().encode(trade))
    fields = []
    while row:
        (length,) = struct.unpack_from(">i", row)
        fields.append(row[4 : 4 + max(0, length)])
        row = row[4 + max(0, length) :]

    assert len(Trade._fields) == len(fields)
    assert trade.trade_id.encode() == fields[Trade._fields.index("trade_id")]
    assert trade.version == int.from_bytes(fields[Trade._fields.index("version")], "big")


DECODE = make_decoder()


def violation_of(read, body):
    """Return the violation that a body is refused with, or None."""
    try:
        read(body)
    except UndecodableRecord as error:
        return error.violation
    return None


@given(st.binary(max_size=80))
@example(b"\x0c\x00\x00\x00\x00\x00\x80\x00\x81\x80X")
def test_any_bytes_are_refused_as_by_the_decoder(body):
    refused = violation_of(copy_row, body)

    assert refused == violation_of(DECODE, body) or "NUL" in refused.detail


@given(SAMPLES, st.data())
def test_a_damaged_body_is_refused_as_by_the_decoder(sample, data):
    damaged = bytearray(encode(sample))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))

    test_any_bytes_are_refused_as_by_the_decoder.hypothesis.inner_test(bytes(damaged))
