"""
A trade to Avro, field by field: slow, and tells of every field that its type cannot hold.

The generated encoder comes here with whatever is not of the plainest kind, so
this is also what encodes rare values: a date not met before, an instant of
another time zone, a negative number.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final

from tradepipe.contract.refusal import Violation
from tradepipe.errors import InvalidTrade
from tradepipe.wire.columns import Column, Shape
from tradepipe.wire.numbers import MAX_INT, MIN_INT, written
from tradepipe.wire.values import EPOCH, EPOCH_ORDINAL, MAX_MICROS, MIN_MICROS, Remembered, quantum

DAYS: Final[Remembered[date, bytes]] = Remembered()
"""The bytes of days met before."""


def encoded(trade: Any, shape: Shape) -> bytes:
    """
    The trade as Avro, without a frame.

    Raises:
        InvalidTrade: with each field whose type cannot hold its value exactly.

        TypeError: it is no trade at all.
    """
    if not isinstance(trade, shape.record):
        raise TypeError(f"a {shape.record.__name__} is encoded, not {type(trade).__name__}")
    pieces: dict[str, bytes] = {}
    found: list[Violation] = []
    for column, value in zip(shape.columns, trade, strict=True):
        try:
            pieces[column.name] = _piece(column, value)
        except ValueError as problem:
            found.append(Violation(column.code, f"{column.name} is {_shown(value)}, which {problem}"))
    if found:
        raise InvalidTrade(trade, found)  # type: ignore[arg-type]  # a Trade, but in tests of other shapes
    return b"".join(pieces[name] for name in shape.written)


def symbols(column: Column) -> dict[Any, bytes]:
    """The bytes of an enum's members, by the member."""
    return {member: written(index) for index, member in enumerate(column.members.values())}


def bounded(digits: int) -> Context:
    """Arithmetic that raises for a number of more digits, before or behind the point, instead of losing any."""
    return Context(prec=digits, Emax=digits - 1, traps=[Inexact, InvalidOperation])


def _piece(column: Column, value: Any) -> bytes:
    if value is None and "null" in column.branches:
        return written(column.branches.index("null"))
    encoded = _PIECES[column.kind](column, value)
    return encoded if len(column.branches) == 1 else written(column.branches.index("value")) + encoded


def _string(_column: Column, value: Any) -> bytes:
    if type(value) is not str:
        raise ValueError("is not a string")
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None
    return written(len(encoded)) + encoded


def _int(_column: Column, value: Any) -> bytes:
    if type(value) is not int or not MIN_INT <= value <= MAX_INT:
        raise ValueError("is not a whole number of 32 bits")
    return written(value)


def _date(_column: Column, value: Any) -> bytes:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("is not a date")
    return DAYS.remember(value, written(value.toordinal() - EPOCH_ORDINAL))


def _instant(_column: Column, value: Any) -> bytes:
    if not isinstance(value, datetime):
        raise ValueError("is not a datetime")
    if value.tzinfo is not UTC and value.utcoffset() is None:
        raise ValueError("has no time zone")
    since = value - EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not MIN_MICROS <= micros <= MAX_MICROS:
        raise ValueError("lies outside the years 1 to 9999 in UTC")
    return written(micros)


def _decimal(column: Column, value: Any) -> bytes:
    if not isinstance(value, Decimal):
        raise ValueError("is not a Decimal")
    if not value.is_finite():
        raise ValueError("is not a finite number")
    try:
        exact = bounded(column.precision).quantize(value, quantum(column.scale))
    except (Inexact, InvalidOperation):
        raise ValueError(f"decimal({column.precision},{column.scale}) cannot hold exactly") from None
    number = int(exact.scaleb(column.scale, bounded(column.precision)))
    size = ((number if number >= 0 else ~number).bit_length() >> 3) + 1
    return written(size) + number.to_bytes(size, "big", signed=True)


def _symbol(column: Column, value: Any) -> bytes:
    (kind,) = {type(member) for member in column.members.values()}
    if type(value) is not kind:
        raise ValueError(f"is not a {kind.__name__}")
    return symbols(column)[value]


_PIECES: Final[dict[str, Callable[[Column, Any], bytes]]] = {
    "string": _string,
    "int": _int,
    "date": _date,
    "instant": _instant,
    "decimal": _decimal,
    "symbol": _symbol,
}


def _shown(value: object) -> str:
    text = value.isoformat() if isinstance(value, (date, datetime)) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}… ({len(text)} characters)"
