"""Generated encoder, and the slow encoder that explains refusals."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.codec.sample_schema import CODEC, SAMPLE, SAMPLES, SCHEMA, Sample, Side, encode, make_decoder, written
from tradepipe.codec import encoder
from tradepipe.codec.encoder import generate_encoder
from tradepipe.codec.fields import record_codec, trade_codec
from tradepipe.codec.primitives import TABLE_SIZE
from tradepipe.errors import InvalidTrade
from tradepipe.trade.declaration import declare


class Text(str):
    """A subclass of str."""


class Day(date):
    """A subclass of date."""


@given(SAMPLES)
@example(SAMPLE._replace(created_at=datetime(1978, 12, 2, 19, 29, 36, 710656, tzinfo=UTC)))
@example(SAMPLE._replace(created_at=datetime(1978, 12, 2, 19, 29, 36, 710655, tzinfo=UTC)))
@example(SAMPLE._replace(created_at=datetime(3111, 9, 16, 23, 9, 45, 990143, tzinfo=UTC)))
@example(SAMPLE._replace(created_at=datetime(3111, 9, 16, 23, 9, 45, 990144, tzinfo=UTC)))
@example(SAMPLE._replace(trade_id="x" * (TABLE_SIZE - 1), version=TABLE_SIZE - 1))
@example(SAMPLE._replace(trade_id="x" * TABLE_SIZE, version=TABLE_SIZE))
@example(SAMPLE._replace(notional=Decimal("1E+3")))
@example(SAMPLE._replace(notional=Decimal("1." + "0" * 40)))
@example(SAMPLE._replace(notional=Decimal("-0.0000000")))
def test_both_encoders_write_the_same(sample):
    assert encoder.encode_slow(sample, CODEC) == encode(sample)
    assert sample == make_decoder()(encode(sample))


@given(st.integers(0, 2**55))
def test_a_timestamp_is_encoded_as_by_fastavro(micros):
    sample = SAMPLE._replace(created_at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros))

    assert written(SCHEMA, sample._asdict()) == encode(sample)


@pytest.mark.parametrize(
    ("notional", "size"),
    [("-0.0128", 1), ("-0.0129", 2), ("0.0127", 1), ("0.0128", 2), ("-3.2768", 2), ("0", 1)],
)
def test_a_decimal_takes_as_few_bytes_as_javas(notional, size):
    """BigInteger.toByteArray: two's complement in the fewest bytes."""
    (start, bare) = encode(SAMPLE._replace(notional=None)), encode(SAMPLE)

    assert len(start) + 1 + size == len(encode(SAMPLE._replace(notional=Decimal(notional))))
    assert len(bare) > len(start)


def test_a_union_of_one_type_is_encoded_with_its_index():
    """Only a schema that is written by hand has one."""
    fields = [each | {"type": [each["type"]]} if each["name"] == "version" else each for each in SCHEMA["fields"]]
    schema = SCHEMA | {"fields": fields}
    codec = record_codec(schema, declare(Sample))
    encode_in_union = encoder.generate_encoder(codec).compile("encode", "encode a union of one type")

    assert encoder.encode_slow(SAMPLE, codec) == written(schema, SAMPLE._asdict())
    assert {written(schema, SAMPLE._asdict())} == {encode_in_union(SAMPLE) for _ in range(2)}  # the first one is slow


def test_encoding_ignores_the_threads_decimal_context():
    body = encode(SAMPLE)
    with localcontext() as context:
        context.prec = 3

        assert body == encode(SAMPLE)
        assert SAMPLE == make_decoder()(body)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("trade_id", Text("T1"), "which is not a str"),
        ("trade_id", None, "is None, which is not a str"),
        ("version", True, "is True, which is not an int"),
        ("version", 2**31, "which is greater than 2147483647"),
        ("maturity_date", datetime(2030, 1, 1, tzinfo=UTC), "which is not a date"),
        ("created_at", datetime(2025, 6, 1), "has no time zone"),
        ("created_at", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "outside the years 1 to 9999 in UTC"),
        ("side", "BUY", "is 'BUY', which is not a Side"),
        ("side", None, "is None, which is not a Side"),
        ("notional", 1, "is 1, which is not a Decimal"),
        ("notional", 1.5, "is 1.5, which is not a Decimal"),
        ("notional", Decimal("NaN"), "is not a finite number"),
        ("notional", Decimal("sNaN"), "is not a finite number"),
        ("notional", Decimal("-Infinity"), "is not a finite number"),
        ("notional", Decimal("0.00001"), "which has 5 decimal places, at most 4 are allowed"),
        ("notional", Decimal(10**14), "which has 15 digits before the point, at most 14 are allowed"),
        ("notional", Decimal("1E+999999"), "which has 1000000 digits before the point"),
        ("notional", Decimal("1E-999999"), "which has 999999 decimal places"),
        ("currency", b"EUR", "is b'EUR', which is not a str"),
        ("currency", "\ud800", "holds a lone surrogate"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_that_is_not_exactly_its_type_is_refused_by_name(field, value, expected):
    with pytest.raises(InvalidTrade) as refused:
        encode(SAMPLE._replace(**{field: value}))

    (violation,) = refused.value.violations
    assert field.upper() == violation.code
    assert violation.detail.startswith(field)
    assert expected in violation.detail


def test_the_encoder_reports_all_violations_in_the_order_of_the_fields():
    with pytest.raises(InvalidTrade) as refused:
        encode(SAMPLE._replace(currency=5, version=None, side="SELL"))

    assert ["VERSION", "SIDE", "CURRENCY"] == [violation.code for violation in refused.value.violations]


@pytest.mark.parametrize(
    "sample",
    [
        SAMPLE._replace(maturity_date=Day(2031, 1, 1)),
        SAMPLE._replace(created_at=SAMPLE.created_at.astimezone(timezone(timedelta(hours=-5)))),
        SAMPLE._replace(notional=Decimal("-1.5")),
        type("Special", (Sample,), {})(*SAMPLE),
    ],
    ids=["a date's subclass", "another zone", "negative", "a sample's subclass"],
)
def test_rare_values_are_encoded_by_the_slow_encoder(sample):
    assert sample == make_decoder()(encode(sample))


def test_the_cache_of_dates_is_bounded():
    begin = date(1, 1, 1)
    for day in range(12_000):
        encode(SAMPLE._replace(maturity_date=begin + timedelta(days=day)))

    assert len(encoder.DATE_CACHE) <= 10_000


def test_the_source_of_the_encoder_is_available():
    source = generate_encoder(trade_codec()).text
    assert source.startswith("def encode(_trade):\n")
    compile(source, "shown", "exec")


def test_a_side_is_the_member_itself():
    assert Side.BUY is make_decoder()(encode(SAMPLE)).side
