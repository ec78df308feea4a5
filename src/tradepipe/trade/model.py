"""The trade: its fields, its primary key, and its amounts of money."""

from datetime import date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from typing import Final, NamedTuple

DIGITS: Final = 18
"""Digits in all; Avro's precision and PostgreSQL's."""

SCALE: Final = 4
"""Digits behind the point; Avro's scale and PostgreSQL's."""

LIMIT: Final = 10 ** (DIGITS - SCALE)
"""Amounts end below it."""

_LARGEST: Final = 10**DIGITS - 1
_LAST_PLACE: Final = Decimal((0, (1,), -SCALE))
_UP, _DOWN = Decimal(SCALE), Decimal(-SCALE)

# Our own: the caller's may be narrower, or round what must not be rounded.
_EXACT: Final = Context(prec=DIGITS, traps=[Inexact, InvalidOperation])
_quantize, _shift = _EXACT.quantize, _EXACT.scaleb


def to_exact(amount: Decimal) -> Decimal:
    """
    The same amount with four places; zeros behind the fourth do not count, since they change nothing.

    >>> to_exact(Decimal("1.5")), to_exact(Decimal("1.500000"))
    (Decimal('1.5000'), Decimal('1.5000'))

    Raises:
        ValueError: it has more digits or places, or is no finite number.
    """
    if amount.is_finite():
        try:
            return _quantize(amount, _LAST_PLACE)
        except ArithmeticError:
            pass
    raise ValueError(f"{amount} is no decimal({DIGITS},{SCALE})")


def to_unscaled(amount: Decimal) -> int:
    """
    The amount as a whole number of ten-thousandths; raises as `exact` does.

    >>> to_unscaled(Decimal("1.5"))
    15000
    """
    return int(_shift(to_exact(amount), _UP))


def from_unscaled(ten_thousandths: int) -> Decimal:
    """
    The amount that so many ten-thousandths are, always with four places.

    >>> from_unscaled(15_000)
    Decimal('1.5000')

    Raises:
        ValueError: it has more digits.
    """
    if abs(ten_thousandths) > _LARGEST:
        raise ValueError(f"it has more than {DIGITS} digits")
    return _shift(Decimal(ten_thousandths), _DOWN)


class Side(StrEnum):
    """Which way a trade goes, from its book's point of view; UNKNOWN where its writer did not say."""

    UNKNOWN = "UNKNOWN"
    BUY = "BUY"
    SELL = "SELL"


class Trade(NamedTuple):
    """
    One version of one trade.

    A value: a new version of a trade is a new `Trade`, never an edit of an old
    one. Nothing is checked on construction; `violations` tells what is wrong.

    The notional is an amount of the currency: both are given, or neither. Of
    two equal amounts the places do not count: 1.5 and 1.5000 are one content.

    >>> from datetime import UTC
    >>> now = datetime(2025, 6, 1, tzinfo=UTC)
    >>> trade = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=now)
    >>> trade._replace(version=2).version
    2
    >>> trade.side, trade._replace(side=Side.BUY, notional=Decimal("1.5"), currency="EUR").notional
    (<Side.UNKNOWN: 'UNKNOWN'>, Decimal('1.5'))
    """

    trade_id: str
    version: int
    counterparty_id: str
    book_id: str
    maturity_date: date
    created_at: datetime
    side: Side = Side.UNKNOWN
    notional: Decimal | None = None
    currency: str | None = None


PRIMARY_KEY = ("trade_id", "version")
"""What identifies a record: primary key, conflict target and collision query follow it."""

KAFKA_KEY = "trade_id"
"""The Kafka key: all versions of a trade lie on one partition, in the order they were sent."""

CONTENT_FIELDS = tuple(field for field in Trade._fields if field not in PRIMARY_KEY)
"""The fields in which two records of one KEY differ when they collide."""
