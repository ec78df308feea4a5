"""What generated decoders call: a trade's values from numbers and bytes, and those they meet again and again."""

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final, Generic, TypeVar

from tradepipe.wire.numbers import Malformed, OutOfRange, read_int

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL: Final = EPOCH.toordinal()

MIN_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
MAX_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""The instants of the years 1 to 9999 in UTC, in microseconds from 1970."""

EXACT: Final = Context(prec=1_000, traps=[Inexact, InvalidOperation])
"""Arithmetic that is exact or raises, whatever a thread's own context is."""

REMEMBERED: Final = 10_000
"""Values that are kept at most; then all are let go, so that nobody can fill the memory."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Remembered(dict[_Key, _Value], Generic[_Key, _Value]):
    """Values met before, so many at most. Days repeat: most trades end on one of a few thousand."""

    def remember(self, key: _Key, value: _Value) -> _Value:
        """Keep a value, and give it back."""
        if len(self) >= REMEMBERED:
            self.clear()
        self[key] = value
        return value


DATES: Final[Remembered[bytes, date]] = Remembered()
"""Days by their three bytes, which reach from 1992 to 4840."""


def read_date(body: bytes, at: int) -> tuple[date, int]:
    """The day that begins at a place, and where it ends."""
    days, end = read_int(body, at)
    try:
        day = date.fromordinal(days + EPOCH_ORDINAL)
    except (ValueError, OverflowError):
        raise OutOfRange(f"is {days} days after 1970-01-01, which lies outside the years 1 to 9999") from None
    if end - at == 3:
        DATES.remember(body[at:end], day)
    return day, end


def outside_years(micros: int) -> OutOfRange:
    """What is raised for an instant that Python cannot hold."""
    return OutOfRange(f"is {micros} microseconds after 1970, which lies outside the years 1 to 9999 in UTC")


def no_decimal(size: int, precision: int, scale: int) -> Malformed:
    """What is raised for bytes that are no decimal of a precision and a scale."""
    if not size:
        return Malformed("is a decimal without a byte")
    return Malformed(f"has more digits than decimal({precision},{scale}) holds")


def quantum(scale: int) -> Decimal:
    """The smallest step of a decimal."""
    return Decimal((0, (1,), -scale))
