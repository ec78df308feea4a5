"""The compiled core encodes as Python does, and leaves to Python what it does not encode."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.every_type import codec_of
from tests.codec.every_type import make_encoder as make_python_encoder
from tests.properties import examples
from tests.trade.declarations import declarations, records
from tradepipe.codec.codec import Encoder
from tradepipe.codec.fields import trade_codec
from tradepipe.codec.native import make_encoder
from tradepipe.errors import InvalidTrade
from tradepipe.evolution.history import golden_records
from tradepipe.trade.model import Trade
from tradepipe.trade.rules import violation_finder, violations

HEADER = b"\0\0\0\0\x07"
ODD = st.sampled_from(
    [
        *(None, True, 0, 1, -1, 2**31, 2**63, 1.5, 0.1, float("nan"), float("inf"), 1e300, "", "EUR", "a\0", "\ud800"),
        *(b"", b"abcd", "UNKNOWN", Decimal("NaN"), Decimal("-Infinity"), Decimal("1E+3"), Decimal("0.00001")),
        *(Decimal("1.50000000"), Decimal("-0"), Decimal(10) ** 14, Decimal(10) ** 40, UUID(int=1), date.min, date.max),
        *(time(1, 2, 3, 4), time(1, tzinfo=UTC), datetime.min, datetime.max, datetime(2025, 6, 1, fold=1)),
        *(datetime.max.replace(tzinfo=UTC), datetime(2025, 6, 1, tzinfo=timezone(timedelta(hours=2)))),
        *(datetime(1677, 1, 1, tzinfo=UTC), datetime(2025, 6, 1, 1, 2, 3, 4, tzinfo=UTC)),
    ]
)


def by_python(encode, record):
    try:
        return HEADER + encode(record)
    except (InvalidTrade, AttributeError):  # its text names a trade's fields, which a drawn record lacks
        return None


def is_usual(value):
    """Whether the compiled core has to encode a value: other zones, and numbers of many digits, are left to Python."""
    match value:
        case datetime():
            return value.tzinfo in (None, UTC)
        case Decimal():
            return str(value).lstrip("-").replace(".", "").isdigit() and len(str(value)) < 16
    return True


@examples(500)
@given(st.data())
def test_records_of_any_declaration_are_encoded_as_by_python(data):
    declaration = data.draw(declarations(depth=0))
    codec = codec_of(declaration)
    encoder, encode = make_encoder(codec), make_python_encoder(codec)
    find_violations = violation_finder(declaration)
    assert encoder is not None
    for record in data.draw(st.lists(records(declaration, lambda _field: ODD), min_size=1, max_size=10)):
        expected = by_python(encode, record)
        is_valid = expected is not None and not find_violations(record)
        if all(map(is_usual, record)):
            assert expected == encoder.encode(HEADER, False, record)
            assert (expected if is_valid else None) == encoder.encode(HEADER, True, record)
        else:
            assert encoder.encode(HEADER, False, record) in (None, expected)
            assert encoder.encode(HEADER, True, record) in (None, expected if is_valid else None)


@pytest.fixture
def encoder():
    return make_encoder(trade_codec())


def test_golden_trades_are_encoded_as_by_python(encoder):
    for golden in golden_records():
        assert HEADER + Encoder().encode(golden.trade) == encoder.encode(HEADER, True, golden.trade)


class OfAnotherClass(Trade):
    """A trade that may behave differently."""


@pytest.mark.parametrize("stranger", [(), None, "T1", tuple(golden_records()[-1].trade), "invalid", "other"])
def test_a_list_is_encoded_up_to_the_first_trade_that_is_not(encoder, stranger):
    good = golden_records()[-1].trade
    stranger = {"invalid": good._replace(version=0), "other": OfAnotherClass(*good)}.get(stranger, stranger)
    listed = [good, good, stranger, good]

    assert [2, 0, 1, 0] == [len(encoder.encode_all(HEADER, True, listed, start)) for start in (0, 2, 3, 4)]


def test_rules_are_checked_only_on_request(encoder):
    invalid = golden_records()[-1].trade._replace(version=0)

    assert violations(invalid)
    assert HEADER + Encoder().encode(invalid) == encoder.encode(HEADER, False, invalid)
    assert encoder.encode(HEADER, True, invalid) is None
