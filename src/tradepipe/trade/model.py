"""The trade: fields, primary key and exact amounts."""

from datetime import date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from typing import Final, NamedTuple

DIGITS: Final = 18
"""Total digits of an amount: the precision in Avro and PostgreSQL."""

SCALE: Final = 4
"""Digits after the decimal point: the scale in Avro and PostgreSQL."""

LIMIT: Final = 10 ** (DIGITS - SCALE)
"""Exclusive upper bound of an amount."""

_LARGEST: Final = 10**DIGITS - 1
_SMALLEST_STEP: Final = Decimal((0, (1,), -SCALE))
_TO_UNSCALED, _FROM_UNSCALED = Decimal(SCALE), Decimal(-SCALE)

# Not the thread's context: the caller may have set a lower precision, or rounding without an error.
_EXACT: Final = Context(prec=DIGITS, traps=[Inexact, InvalidOperation])
_quantize, _shift = _EXACT.quantize, _EXACT.scaleb


def to_exact(amount: Decimal) -> Decimal:
    """
    Return an amount with four decimal places, dropping trailing zeros after the fourth.

    >>> to_exact(Decimal("1.5")), to_exact(Decimal("1.500000"))
    (Decimal('1.5000'), Decimal('1.5000'))

    Raises:
        ValueError: the amount has more digits or places, or is not finite.
    """
    if amount.is_finite():
        try:
            return _quantize(amount, _SMALLEST_STEP)
        except ArithmeticError:
            pass
    raise ValueError(f"{amount} is not a decimal({DIGITS},{SCALE})")


def to_unscaled(amount: Decimal) -> int:
    """
    Return an amount as an integer number of ten-thousandths.

    >>> to_unscaled(Decimal("1.5"))
    15000

    Raises:
        ValueError: the amount has more digits or places, or is not finite.
    """
    return int(_shift(to_exact(amount), _TO_UNSCALED))


def from_unscaled(ten_thousandths: int) -> Decimal:
    """
    Return the amount, with four decimal places, of a number of ten-thousandths.

    >>> from_unscaled(15_000)
    Decimal('1.5000')

    Raises:
        ValueError: the amount has more than 18 digits.
    """
    if abs(ten_thousandths) > _LARGEST:
        raise ValueError(f"{ten_thousandths} has more than {DIGITS} digits")
    return _shift(Decimal(ten_thousandths), _FROM_UNSCALED)


class Side(StrEnum):
    """Direction of a trade from its book's point of view; UNKNOWN if the writer did not give it."""

    UNKNOWN = "UNKNOWN"
    BUY = "BUY"
    SELL = "SELL"


class Trade(NamedTuple):
    """
    One version of one trade.

    A trade is immutable: a new version of a trade is a new `Trade`. The
    constructor does not validate; `violations` does.

    The notional is an amount of the currency: both are given, or neither.
    Trailing zeros do not matter: 1.5 and 1.5000 are the same content.

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
"""Fields that identify a trade version; the primary key, conflict target and collision query derive from it."""

KAFKA_KEY = "trade_id"
"""Field used as the Kafka key, so that all versions of a trade are in one partition, in the order they were sent."""

CONTENT_FIELDS = tuple(field for field in Trade._fields if field not in PRIMARY_KEY)
"""Fields outside the primary key: a duplicate has the same content as the stored trade, a collision has not."""
