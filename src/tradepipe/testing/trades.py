"""Valid trades for tests, each with another key."""

from datetime import UTC, date, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, Final

from tradepipe.trade.declaration import REQUIRED
from tradepipe.trade.model import DECLARATION, Trade
from tradepipe.trade.sample_values import given_value

FIRST_CREATED_AT: Final = datetime(2025, 1, 2, 8, tzinfo=UTC)
"""Creation time of the first trade; each further one is a second later. Tests use no clock."""

MATURITY_DATE: Final = date(2035, 1, 2)

_ALIKE: Final[dict[str, Any]] = {
    "version": 1,
    "counterparty_id": "CP-1",
    "book_id": "B1",
}
"""Values of all trades, unless others are passed; others have the default of `Trade`, or a value that fits."""


class TradeFactory:
    """
    Creates valid trades: `make_trade()`, `make_trade(book_id="RATES")`.

    The first has the id T0001, the next one T0002, and the same calls create the
    same trades. Any field can be set, even to a value that violates a rule;
    `maturity_date` is by default not before `created_at`.

    >>> make_trade = TradeFactory()
    >>> make_trade().trade_id, make_trade(version=3).trade_id
    ('T0001', 'T0002')
    >>> make_trade(trade="T7")
    Traceback (most recent call last):
    TypeError: a Trade has no field 'trade'; it has trade_id, version, ...
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, **fields: Any) -> Trade:
        """Return a trade with these fields, and valid values in all others."""
        if unknown := sorted(set(fields) - set(Trade._fields)):
            raise TypeError(f"a Trade has no field {', '.join(map(repr, unknown))}; it has {', '.join(Trade._fields)}")
        number = next(self._numbers)
        values = {
            "trade_id": f"T{number:04}",
            "created_at": FIRST_CREATED_AT + timedelta(seconds=number - 1),
            **_ALIKE,
            **fields,
        }
        values.setdefault("maturity_date", _maturity_date(values["created_at"]))
        for field in DECLARATION.fields:
            if field.default is REQUIRED and field.name not in values:
                # Seeded by the name: the same value in each run, whatever other fields there are.
                values[field.name] = given_value(field, Random(field.name))
        return Trade(**values)


def _maturity_date(created_at: object) -> date:
    """Return a maturity date that is not before the UTC date of `created_at`."""
    if not isinstance(created_at, datetime):
        return MATURITY_DATE
    try:
        return max(MATURITY_DATE, created_at.astimezone(UTC).date())
    except OverflowError:
        return MATURITY_DATE
