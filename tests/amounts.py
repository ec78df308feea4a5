"""Amounts as the declaration of a trade limits them."""

from decimal import Decimal

from tradepipe.trade.constraints import Digits
from tradepipe.trade.model import DECLARATION

(_notional,) = (field for field in DECLARATION.fields if field.name == "notional")
(_digits,) = (constraint for constraint in _notional.constraints if isinstance(constraint, Digits))
DIGITS, SCALE = _digits.precision, _digits.scale
LIMIT = 10 ** (DIGITS - SCALE)
"""The first number that has too many digits before the point."""


def from_unscaled(number: int) -> Decimal:
    """Return the amount with four decimal places of a number of ten-thousandths."""
    return Decimal(f"{number}e-{SCALE}")
