"""Validation rules of a trade."""

import doctest
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import examples
from tradepipe.trade import rules, samples
from tradepipe.trade.model import Side, Trade
from tradepipe.trade.rules import find_violations, passes_quick_check, violations
from tradepipe.trade.type_checks import MAX_INT

TRADE = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=datetime(2025, 6, 1, tzinfo=UTC))

NOT_IDENTIFIERS = {
    "empty": "",
    "65 characters": "T" * 65,
    "space": "T 1",
    "backslash": "T\\1",
    "DEL": "T\x7f",
    "NUL": "T\x00",
    "newline at the end": "T1\n",
    "not ASCII": "Tü",
    "full-width digit": "T\uff11",
    "lone surrogate": "T\ud800",
    "bytes": b"T1",
    "None": None,
    "a subclass of str": Side.BUY,
}


def codes(**changed):
    return [violation.code for violation in violations(TRADE._replace(**changed))]


def test_the_examples_in_the_docstrings_hold():
    assert 0 == doctest.testmod(rules).failed


@pytest.mark.parametrize(
    "other", ["T1", {"trade_id": "T1"}, tuple(range(len(Trade._fields)))], ids=["text", "dict", "tuple"]
)
def test_what_is_not_a_trade_is_a_type_error(other):
    """Its length would otherwise be the error, or its values in the order of a trade's."""
    with pytest.raises(TypeError, match=f"expected a Trade, not {type(other).__name__}"):
        violations(other)


def test_a_valid_trade_has_no_violations():
    assert () == violations(TRADE)


@pytest.mark.parametrize("field", ["trade_id", "counterparty_id", "book_id"])
@pytest.mark.parametrize("value", NOT_IDENTIFIERS.values(), ids=NOT_IDENTIFIERS.keys())
def test_an_identifier_is_1_to_64_visible_ascii_characters_without_backslash(field, value):
    assert [field.upper()] == codes(**{field: value})


@pytest.mark.parametrize("value", ["!", "~", "T" * 64, "a/b:c'\"%", "$1;--"], ids=str)
def test_an_identifier_may_contain_every_other_visible_character(value):
    assert [] == codes(trade_id=value)


@pytest.mark.parametrize("version", [0, -1, MAX_INT + 1, True, 1.0, "1", None], ids=repr)
def test_a_version_is_a_whole_number_from_1(version):
    assert ["VERSION"] == codes(version=version)


@pytest.mark.parametrize("version", [1, MAX_INT])
def test_the_lowest_and_the_highest_version_are_valid(version):
    assert [] == codes(version=version)


def test_a_trade_may_mature_on_the_day_of_its_creation_but_not_before():
    assert [] == codes(maturity_date=date(2025, 6, 1))
    assert ["MATURITY_DATE"] == codes(maturity_date=date(2025, 5, 31))


def test_the_day_of_creation_is_the_day_in_utc():
    """Half past midnight in Berlin is still the previous day in UTC."""
    berlin = timezone(timedelta(hours=2))

    assert [] == codes(created_at=datetime(2025, 6, 1, 0, 30, tzinfo=berlin), maturity_date=date(2025, 5, 31))


@pytest.mark.parametrize("value", [datetime(2030, 1, 1, tzinfo=UTC), "2030-01-01", None], ids=repr)
def test_a_maturity_date_is_a_date(value):
    assert ["MATURITY_DATE"] == codes(maturity_date=value)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2025, 6, 1),
        date(2025, 6, 1),
        1_748_736_000,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1))),
    ],
    ids=["naive", "date", "number", "before year 1 in UTC", "after year 9999 in UTC"],
)
def test_created_at_is_an_aware_datetime_of_the_years_1_to_9999(value):
    """Without a valid created_at there is no day to compare the maturity date with, so it is not checked."""
    assert ["CREATED_AT"] == codes(created_at=value, maturity_date=date(1, 1, 1))


@pytest.mark.parametrize("notional", ["0.0001", "1.5", "1.50000000", "1E+3", "99999999999999.9999"])
def test_a_notional_is_above_zero_and_has_four_places_at_most(notional):
    """Trailing zeros do not count."""
    assert [] == codes(notional=Decimal(notional), currency="EUR")


@pytest.mark.parametrize(
    "notional",
    [
        *map(Decimal, ("0", "-0", "-1", "0.00001", "1.00001", "100000000000000", "1E+999999", "1E-999999")),
        *map(Decimal, ("NaN", "sNaN", "Infinity", "-Infinity")),
        1,
        1.5,
        "1.5",
        True,
    ],
    ids=repr,
)
def test_any_other_notional_is_refused(notional):
    assert ["NOTIONAL"] == codes(notional=notional, currency="EUR")


def test_notional_and_currency_are_given_both_or_neither():
    assert [] == codes(notional=None, currency=None)
    assert ["NOTIONAL"] == codes(notional=Decimal(1), currency=None)
    assert ["NOTIONAL"] == codes(notional=None, currency="EUR")


@pytest.mark.parametrize(
    "currency", ["", "EU", "EURO", "eur", "EU1", "EUR\n", "ÄÖÜ", "EUR\x00", b"EUR", 978], ids=ascii
)
def test_a_currency_is_three_capital_letters(currency):
    assert ["CURRENCY"] == codes(notional=Decimal(1), currency=currency)


@pytest.mark.parametrize("side", Side)
def test_every_side_is_valid(side):
    assert [] == codes(side=side)


@pytest.mark.parametrize("side", ["buy", "BUY", None, 1, "SIDE"], ids=repr)
def test_anything_else_is_not_a_side(side):
    assert ["SIDE"] == codes(side=side)


def test_all_violations_are_reported_in_the_order_of_the_fields():
    wrong = Trade("", 0, "", "", date(1999, 1, 1), datetime(2025, 6, 1, tzinfo=UTC), notional=Decimal(0), currency="")

    expected = [violation.code for violation in violations(wrong)]

    assert ["TRADE_ID", "VERSION", "COUNTERPARTY_ID", "BOOK_ID", "MATURITY_DATE", "NOTIONAL", "CURRENCY"] == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"notional": Decimal("-1.5"), "currency": "EUR"},
            "notional is -1.5, which is not greater than 0",
        ),
        ({"notional": Decimal(1)}, "notional is 1, but currency is missing: give both or neither"),
        ({"currency": "EUR"}, "notional is missing, but currency is 'EUR': give both or neither"),
        ({"notional": 1.5, "currency": "EUR"}, "notional is 1.5, which is not a Decimal"),
        (
            {"notional": Decimal(1), "currency": "eur"},
            "currency is 'eur', which is not three ASCII letters from A to Z",
        ),
    ],
    ids=["sign", "no currency", "no notional", "float", "lower case"],
)
def test_a_violation_of_an_amount_states_the_reason(changed, expected):
    (violation,) = violations(TRADE._replace(**changed))

    assert violation.detail.startswith(expected)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (98, f"book_id is '{'B' * 98}'"),
        (99, f"book_id is '{'B' * 99}… (101 characters)"),
        (1_000_000, f"book_id is '{'B' * 99}… (1000002 characters)"),
    ],
    ids=str,
)
def test_a_detail_names_the_field_and_shortens_a_long_value(length, expected):
    (violation,) = violations(TRADE._replace(book_id="B" * length))

    assert expected == violation.detail.split(", which ")[0]


@pytest.mark.parametrize("values", [TRADE[:-1], (*TRADE, None)], ids=["one missing", "one too many"])
def test_a_tuple_of_another_length_has_no_verdict(values):
    with pytest.raises(ValueError, match="argument 2|values to unpack"):
        find_violations(values)


ODD = {
    "trade_id": ["T2", "T" * 64, *NOT_IDENTIFIERS.values(), "T1\nCP-1", 7],
    "version": [MAX_INT, 0, -1, MAX_INT + 1, True, 1.0, "1", None],
    "counterparty_id": ["CP-2", *NOT_IDENTIFIERS.values(), "CP-1\nB1"],
    "book_id": ["B2", *NOT_IDENTIFIERS.values()],
    "maturity_date": [
        date(2025, 6, 1),
        date(2025, 5, 31),
        date.min,
        date.max,
        datetime(2030, 1, 1),
        None,
        "2030-01-01",
    ],
    "created_at": [
        datetime(2025, 6, 1),
        datetime(2030, 1, 1, 23, tzinfo=timezone(timedelta(hours=-5))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.max.replace(tzinfo=UTC),
        date(2025, 6, 1),
        None,
    ],
    "notional": [
        None,
        *map(Decimal, ("1.5", "1.50000", "0", "-1", "1.00001", "1E+14", "NaN", "sNaN", "Infinity")),
        1.5,
        1,
    ],
    "currency": [None, "EUR", "eur", "EURO", "EUR\n", "€UR", b"EUR"],
}


@examples(2_000)
@given(changed=st.fixed_dictionaries({}, optional={field: st.sampled_from(values) for field, values in ODD.items()}))
def test_the_quick_check_passes_no_invalid_trade(changed):
    trade = TRADE._replace(**changed)

    assert () == find_violations(trade) or not passes_quick_check(trade)


@pytest.mark.parametrize("field", ODD)
def test_the_quick_check_passes_no_invalid_value(field):
    changed = [TRADE._replace(notional=Decimal(1), currency="EUR")._replace(**{field: value}) for value in ODD[field]]

    assert [] == [trade for trade in changed if passes_quick_check(trade) and find_violations(trade)]


def test_the_quick_check_passes_every_sample_trade():
    assert all(passes_quick_check(trade) for trade in islice(samples.trades(5), 1_000))
