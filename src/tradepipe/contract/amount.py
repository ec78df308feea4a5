"""An amount of money: a decimal of 18 digits, 4 of them behind the point, and never rounded."""

from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

DIGITS: Final = 18
"""Digits in all; Avro's precision and PostgreSQL's."""

PLACES: Final = 4
"""Digits behind the point; Avro's scale and PostgreSQL's."""

LIMIT: Final = 10 ** (DIGITS - PLACES)
"""Amounts end below it."""

_LARGEST: Final = 10**DIGITS - 1
_LAST_PLACE: Final = Decimal((0, (1,), -PLACES))
_UP, _DOWN = Decimal(PLACES), Decimal(-PLACES)

# Our own: the caller's may be narrower, or round what must not be rounded.
_EXACT: Final = Context(prec=DIGITS, traps=[Inexact, InvalidOperation])
_quantize, _shift = _EXACT.quantize, _EXACT.scaleb


def exact(amount: Decimal) -> Decimal:
    """
    The same amount with four places; zeros behind the fourth do not count, since they change nothing.

    >>> exact(Decimal("1.5")), exact(Decimal("1.500000"))
    (Decimal('1.5000'), Decimal('1.5000'))

    Raises:
        ValueError: it has more digits or places, or is no finite number.
    """
    if amount.is_finite():
        try:
            return _quantize(amount, _LAST_PLACE)
        except ArithmeticError:
            pass
    raise ValueError(f"{amount} is no decimal({DIGITS},{PLACES})")


def unscaled(amount: Decimal) -> int:
    """
    The amount as a whole number of ten-thousandths; raises as `exact` does.

    >>> unscaled(Decimal("1.5"))
    15000
    """
    return int(_shift(exact(amount), _UP))


def scaled(ten_thousandths: int) -> Decimal:
    """
    The amount that so many ten-thousandths are, always with four places.

    >>> scaled(15_000)
    Decimal('1.5000')

    Raises:
        ValueError: it has more digits.
    """
    if abs(ten_thousandths) > _LARGEST:
        raise ValueError(f"it has more than {DIGITS} digits")
    return _shift(Decimal(ten_thousandths), _DOWN)
