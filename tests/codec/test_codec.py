"""Encoding and decoding of trades."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, getcontext, localcontext
from io import BytesIO

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.amounts import DIGITS, from_unscaled
from tradepipe.codec.codec import MAX_BODY, MAX_INT, MIN_INT, Decoder, Encoder
from tradepipe.errors import InvalidTrade, UndecodableRecord
from tradepipe.evolution.history import current, versions
from tradepipe.trade.model import Side, Trade
from tradepipe.trade.record import Code

TRADE = Trade(
    "T47654",
    73,
    "CP-1",
    "B1",
    maturity_date=date(2030, 1, 1),
    created_at=datetime(2025, 6, 1, 12, 30, 1, 5, tzinfo=UTC),
    side=Side.BUY,
    notional=Decimal("1250000.5000"),
    currency="EUR",
)
NOTHING = b"\x00\x00\x00"
"""Encoded side, notional and currency without values."""

FASTAVRO = fastavro.parse_schema(current().schema)

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=70)
TRADES = st.builds(
    Trade,
    TEXTS,
    st.integers(MIN_INT, MAX_INT),
    TEXTS,
    TEXTS,
    maturity_date=st.dates(),
    created_at=st.datetimes(timezones=st.just(UTC)),
    side=st.sampled_from(Side),
    notional=st.none() | st.integers(1 - 10**DIGITS, 10**DIGITS - 1).map(from_unscaled),
    currency=st.none() | TEXTS,
)


def decode(body):
    return Decoder(current().text, 1).decode(body)


def code_of(body):
    with pytest.raises(UndecodableRecord) as refused:
        decode(body)
    assert 1 == refused.value.schema_id
    assert len(refused.value.violation.detail) < 250
    return refused.value.violation.code


def avro_long(number):
    stream = BytesIO()
    fastavro.schemaless_writer(stream, "long", number)
    return stream.getvalue()


def body(version=1, days=20_000, micros=0, trade_id=b"\x04T1", rest=NOTHING):
    """Build a body by hand, which may contain values that the encoder refuses."""
    return trade_id + avro_long(version) + b"\x02C\x02B" + avro_long(days) + avro_long(micros) + rest


@given(TRADES)
@example(TRADE._replace(maturity_date=date.min, created_at=datetime.min.replace(tzinfo=UTC)))
@example(TRADE._replace(maturity_date=date.max, created_at=datetime.max.replace(tzinfo=UTC)))
def test_a_trade_survives_encoding_and_decoding(trade):
    decoded = decode(Encoder().encode(trade))

    assert trade == decoded
    assert decoded.created_at.tzinfo is UTC
    assert Side is type(decoded.side)


@given(TRADES)
@example(TRADE._replace(notional=from_unscaled(-(2**31))))
def test_the_bytes_are_those_of_fastavro(trade):
    """
    fastavro with its own logical types is the oracle.

    A notional below zero may take it one byte more: it writes -0.0128 in two, we in one, as Java's BigInteger.
    """
    stream = BytesIO()
    fastavro.schemaless_writer(stream, FASTAVRO, trade._asdict())
    ours = Encoder().encode(trade)

    assert trade._asdict() == fastavro.schemaless_reader(BytesIO(ours), FASTAVRO, None)
    if trade.notional is None or trade.notional >= 0:
        assert stream.getvalue() == ours


@pytest.mark.parametrize("given", ["1.5", "1.5000", "1.50000000", "15E-1"])
def test_equal_amounts_have_the_same_bytes_and_come_back_with_four_places(given):
    decoded = decode(Encoder().encode(TRADE._replace(notional=Decimal(given))))

    assert "1.5000" == str(decoded.notional)


def test_the_callers_decimal_context_rounds_nothing():
    largest = from_unscaled(10**DIGITS - 1)
    with localcontext(prec=3):
        assert 3 == getcontext().prec
        assert largest == decode(Encoder().encode(TRADE._replace(notional=largest))).notional


def test_an_amount_with_redundant_leading_bytes_is_decoded():
    assert from_unscaled(-1) == decode(body(rest=b"\x00\x02\x06\xff\xff\xff\x00")).notional


def test_fields_missing_from_version_1_have_their_defaults():
    v1 = Encoder().encode(TRADE._replace(side=Side.UNKNOWN, notional=None, currency=None)).removesuffix(NOTHING)

    decoded = Decoder(versions()[0].text, 1).decode(v1)

    assert (Side.UNKNOWN, None, None) == decoded[6:]
    assert Side is type(decoded.side)


@given(st.integers(-12, 12).map(lambda hours: timezone(timedelta(hours=hours))))
def test_a_timestamp_of_any_zone_is_decoded_in_utc(zone):
    made_at = datetime(2025, 6, 1, 12, tzinfo=zone)

    decoded = decode(Encoder().encode(TRADE._replace(created_at=made_at)))

    assert made_at == decoded.created_at
    assert decoded.created_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("version", True, "is True, which is not an int"),
        ("version", 1.0, "is 1.0, which is not an int"),
        ("version", "1", "is '1', which is not an int"),
        ("version", MAX_INT + 1, "is 2147483648, which is greater than 2147483647"),
        ("version", MIN_INT - 1, "is -2147483649, which is less than -2147483648"),
        ("trade_id", None, "is None, which is not a str"),
        ("trade_id", Code.EMPTY, "which is not a str"),
        ("book_id", b"B1", "is b'B1', which is not a str"),
        ("counterparty_id", "CP\ud800", "is 'CP\\ud800', which holds a lone surrogate"),
        ("maturity_date", datetime(2030, 1, 1, tzinfo=UTC), "which is not a date"),
        ("maturity_date", 21_915, "is 21915, which is not a date"),
        ("created_at", datetime(2025, 6, 1), "is 2025-06-01T00:00:00, which has no time zone"),
        ("created_at", date(2025, 6, 1), "is 2025-06-01, which is not a datetime"),
        ("side", "BUY", "is 'BUY', which is not a Side"),
        ("side", None, "is None, which is not a Side"),
        ("notional", 1.5, "is 1.5, which is not a Decimal"),
        ("notional", 1, "is 1, which is not a Decimal"),
        ("notional", Decimal("1.00001"), "is 1.00001, which has 5 decimal places, at most 4 are allowed"),
        (
            "notional",
            Decimal(10**14),
            "is 100000000000000, which has 15 digits before the point",
        ),
        ("notional", Decimal("1E+999999"), "which has 1000000 digits before the point"),
        ("notional", Decimal("NaN"), "is NaN, which is not a finite number"),
        ("notional", Decimal("sNaN"), "is sNaN, which is not a finite number"),
        ("notional", Decimal("-Infinity"), "is -Infinity, which is not a finite number"),
        ("currency", b"EUR", "is b'EUR', which is not a str"),
        ("currency", "\ud800", "which holds a lone surrogate"),
        ("created_at", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "outside the years 1 to 9999 in UTC"),
        (
            "created_at",
            datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
            "outside the years 1 to 9999 in UTC",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_that_is_not_exactly_its_avro_type_is_refused_by_name(field, value, expected):
    with pytest.raises(InvalidTrade) as refused:
        Encoder().encode(TRADE._replace(**{field: value}))

    (violation,) = refused.value.violations
    assert field.upper() == violation.code
    assert violation.detail.startswith(field)
    assert expected in violation.detail


def test_all_invalid_values_are_reported():
    with pytest.raises(InvalidTrade) as refused:
        Encoder().encode(TRADE._replace(version=None, book_id=None))

    assert ["VERSION", "BOOK_ID"] == [violation.code for violation in refused.value.violations]


def test_only_a_trade_is_encoded():
    with pytest.raises(TypeError, match="not dict"):
        Encoder().encode(TRADE._asdict())


def test_a_trade_that_violates_rules_is_encoded_and_decoded():
    """The codec does not apply the rules, which refuse a NUL or version 0."""
    broken = TRADE._replace(trade_id="T\x00", version=0, book_id="", notional=Decimal(-1), currency="x" * 500)

    assert broken == decode(Encoder().encode(broken))


@pytest.mark.parametrize(
    ("hostile", "code"),
    [
        (b"", Code.UNDECODABLE),
        (Encoder().encode(TRADE)[:-1], Code.UNDECODABLE),
        (Encoder().encode(TRADE) + b"\x00", Code.UNDECODABLE),
        (b"\x01", Code.UNDECODABLE),
        (avro_long(2**40), Code.UNDECODABLE),
        (b"\xff" * 1_000, Code.UNDECODABLE),
        (body(trade_id=b"\x04\xff\xfe"), Code.UNDECODABLE),
        (body(trade_id=b"\x06\xed\xa0\x80"), Code.UNDECODABLE),
        (body(version=2**60), Code.UNDECODABLE),
        (body(version=MIN_INT - 1), Code.UNDECODABLE),
        (body(days=2**40), Code.UNDECODABLE),
        (body(days=MAX_INT), "MATURITY_DATE"),
        (body(days=date.max.toordinal() - 719_163 + 1), "MATURITY_DATE"),
        (body(days=date.min.toordinal() - 719_163 - 1), "MATURITY_DATE"),
        (body(micros=2**63 - 1), "CREATED_AT"),
        (body(micros=-(2**63)), "CREATED_AT"),
        (body(micros=253_402_300_800_000_000), "CREATED_AT"),
        (body(micros=-62_135_596_800_000_001), "CREATED_AT"),
        (body(rest=b"\x06\x00\x00"), Code.UNDECODABLE),
        (body(rest=b"\x00\x04\x00"), Code.UNDECODABLE),
        (body(rest=b"\x00\x02\x00\x00"), Code.UNDECODABLE),
        (body(rest=b"\x00\x02\x10\x0d\xe0\xb6\xb3\xa7\x64\x00\x00\x00"), Code.UNDECODABLE),
        (body(rest=b"\x00\x02\x10\xf2\x1f\x49\x4c\x58\x9c\x00\x00\x00"), Code.UNDECODABLE),
        (body(rest=b"\x00\x02" + avro_long(100_000) + b"\x7f" * 100_000 + b"\x00"), Code.UNDECODABLE),
        (body(rest=b"\x00\x00\x02\x02\xff"), Code.UNDECODABLE),
        (b"\x00" * (MAX_BODY + 1), Code.UNDECODABLE),
    ],
    ids=[
        "no bytes",
        "truncated",
        "trailing byte",
        "string of -1 bytes",
        "string of 2^40 bytes",
        "endless number",
        "not UTF-8",
        "surrogate in UTF-8",
        "int of 2^60",
        "int below 32 bits",
        "days beyond 32 bits",
        "last day of 32 bits",
        "the day after year 9999",
        "the day before year 1",
        "the last microsecond of 64 bits",
        "the first microsecond of 64 bits",
        "year 10000",
        "the last microsecond before year 1",
        "fourth side of three",
        "third branch of two",
        "decimal of no bytes",
        "decimal of 19 digits",
        "decimal of 19 digits below zero",
        "decimal of 100,000 bytes",
        "currency not in UTF-8",
        "more than the largest body",
    ],
)
def test_hostile_bytes_are_refused_with_a_code(hostile, code):
    assert code == code_of(hostile)


@given(st.binary(max_size=80))
@example(b"\x02T\x02\x02C\x02B\x00\x00" + NOTHING)
def test_random_bytes_are_a_trade_or_refused(hostile):
    try:
        trade = decode(hostile)
    except UndecodableRecord:
        return
    assert trade == decode(Encoder().encode(trade))


@given(st.data())
def test_a_damaged_trade_is_a_trade_or_refused(data):
    damaged = bytearray(Encoder().encode(TRADE))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))

    test_random_bytes_are_a_trade_or_refused.hypothesis.inner_test(bytes(damaged))
