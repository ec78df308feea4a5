"""Quick checks: they pass valid records only, and nearly all of them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

import pytest
from annotated_types import Ge, Gt, Le, Lt

from tests.trade.all_types import EVERY, SAMPLE
from tradepipe.trade.constraints import Digits, Identifier, Key, NotBefore, PartitionKey, Pattern, Together
from tradepipe.trade.declaration import declare
from tradepipe.trade.rules import compile_check, violation_finder


class Order(NamedTuple):
    id: Annotated[str, Key(), PartitionKey(), Identifier()]
    account: Annotated[str, Identifier()]
    venue: Annotated[str, Identifier()] | None
    note: str
    unit: Annotated[str, Pattern("[A-Z]{3}")]
    tag: Annotated[str, Pattern("[^a-z]*")]
    lots: Annotated[int, Ge(1), Lt(100)]
    price: Annotated[Decimal, Digits(9, 2), Gt(0)]
    tax: Annotated[Decimal, Digits(9, 2), Le(Decimal("0.5"))] | None
    made: datetime
    due: date
    ended: date | None
    low: int | None
    high: int | None


ORDER = declare(Order, [NotBefore("due", "made"), NotBefore("ended", "due"), Together("low", "high")])
MADE = datetime(2025, 6, 1, 23, tzinfo=UTC)
VALID = Order(
    "O1", "A", "V", "paid", "EUR", "1", 1, Decimal("0.01"), Decimal("0.5"), MADE, MADE.date(), MADE.date(), 1, 2
)


def passes(record):
    return compile_check(ORDER)(record)


find_violations = violation_finder(ORDER)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"venue": None},
        {"tax": None},
        {"ended": None},
        {"low": None, "high": None},
        {"lots": 99},
        {"id": "x" * 64, "account": "~"},
        {"price": Decimal("9999999.99")},
        {"note": ""},
    ],
    ids=str,
)
def test_a_valid_record_passes(changed):
    assert passes(VALID._replace(**changed))


INVALID = {
    "id": ["", "x" * 65, "a b", "O1\nA", b"O1", None],
    "account": ["", "a\\", "A\nA", 1, None],
    "venue": ["", "a b", 1],
    "note": ["\0", "\ud800", 1, None],
    "unit": ["EU", "EURO", "eur", "EUR\n", None],
    "tag": ["a", "\0", None],
    "lots": [0, 100, True, 1.0, None],
    "price": [Decimal(0), Decimal("0.001"), Decimal("1e7"), Decimal("NaN"), Decimal("Infinity"), 1, None],
    "tax": [Decimal("0.51"), Decimal("-Infinity"), Decimal("0.001"), 0.5],
    "made": [datetime(2025, 6, 1), datetime(2025, 6, 2, tzinfo=UTC), MADE.date(), None],
    "due": [date(2025, 5, 31), datetime(2025, 6, 2), None],
    "ended": [date(2025, 5, 31), MADE],
    "low": [None, 2**31, -(2**31) - 1],
    "high": [None, "2"],
}


@pytest.mark.parametrize("field", INVALID)
def test_no_record_with_an_invalid_value_passes(field):
    records = [VALID._replace(**{field: value}) for value in INVALID[field]]

    assert [] == [record for record in records if passes(record) or not find_violations(record)]


def test_a_valid_record_of_every_type_passes():
    assert compile_check(EVERY)(SAMPLE._replace(text="ASCII"))


@pytest.mark.parametrize("field", SAMPLE._fields)
def test_no_value_of_another_type_passes(field):
    assert not compile_check(EVERY)(SAMPLE._replace(**{field: object()}))
