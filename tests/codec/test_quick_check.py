"""Agreement of the quick check with the rules."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import examples
from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.history import current, golden_records, versions
from tradepipe.trade import samples
from tradepipe.trade.model import Side, Trade
from tradepipe.trade.record import Violation
from tradepipe.trade.rules import violations
from tradepipe.trade.type_checks import MAX_INT

DECODER = Decoder(current().text, 7)
DECODERS = {version.number: Decoder(version.text, version.number) for version in versions()}

IDENTIFIERS = st.sampled_from(
    ["T1", "~", "x" * 64, "x" * 65, "", "T 1", "T1\n", "\nT1", "A\nB", "T\\1", "T\x7f", "T\x00", "Tü", "٣", "a/b:c'\"%"]
)
DAY = date(2025, 6, 1)
DATES = st.sampled_from([DAY + timedelta(days) for days in (-1, 0, 1)] + [date.min, date(1970, 1, 1), date.max])
INSTANTS = st.sampled_from(
    [
        datetime(2025, 6, 1, tzinfo=UTC),
        datetime(2025, 6, 1, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2025, 6, 2, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ]
)
AMOUNTS = st.sampled_from([None, *map(Decimal, ("0.0001", "0", "-0.0001", "1.5", "99999999999999.9999", "-1"))])
CURRENCIES = st.sampled_from([None, "EUR", "eur", "EU", "EURO", "EUR\n", "ÉUR", ""])

TRADES = st.builds(
    Trade,
    trade_id=IDENTIFIERS,
    version=st.sampled_from([1, 0, -1, 63, 64, MAX_INT, -MAX_INT - 1]),
    counterparty_id=st.just("CP-1") | IDENTIFIERS,
    book_id=st.just("B1") | IDENTIFIERS,
    maturity_date=st.just(DAY) | DATES,
    created_at=st.just(datetime(2025, 6, 1, tzinfo=UTC)) | INSTANTS,
    side=st.sampled_from(Side),
    notional=AMOUNTS,
    currency=CURRENCIES,
)


def quick_check_by_rules(trade):
    return None if violations(trade) else trade.trade_id.encode()


def refusal_or(read, body):
    try:
        return read(body)
    except UndecodableRecord as refused:
        return refused.violation


@examples(2_000)
@given(TRADES)
def test_the_quick_check_agrees_with_the_rules(trade):
    assert quick_check_by_rules(trade) == DECODER.quick_check(Encoder().encode(trade))


@pytest.mark.parametrize("field", Trade._fields)
@examples(100)
@given(other=TRADES)
def test_the_quick_check_covers_every_field(field, other):
    good = Trade("T1", 1, "CP-1", "B1", DAY, datetime(2025, 6, 1, tzinfo=UTC), Side.BUY, Decimal("1.5"), "EUR")
    trade = good._replace(**{field: getattr(other, field)})

    assert quick_check_by_rules(trade) == DECODER.quick_check(Encoder().encode(trade))


def test_the_quick_check_passes_every_encoded_sample_trade():
    stream = list(islice(samples.trades(5), 1_000))

    assert [trade.trade_id.encode() for trade in stream] == [*map(DECODER.quick_check, map(Encoder().encode, stream))]


@pytest.mark.parametrize("record", golden_records(), ids=lambda record: f"v{record.version}")
def test_the_quick_check_uses_the_defaults_of_missing_fields(record):
    decoder = DECODERS[record.version]

    assert quick_check_by_rules(decoder.decode(record.body)) == decoder.quick_check(record.body)


@examples(500)
@given(TRADES, st.data())
def test_a_damaged_body_that_passes_the_quick_check_is_a_valid_trade(trade, data):
    body = bytearray(Encoder().encode(trade))
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=2)):
        body[place] = data.draw(st.integers(0, 255))
    expected = refusal_or(DECODER.decode, bytes(body))
    checked = refusal_or(DECODER.quick_check, bytes(body))

    if isinstance(checked, Violation):
        assert expected == checked
    elif checked is not None:
        assert quick_check_by_rules(expected) == checked
