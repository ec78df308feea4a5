"""Checks that a value has its declared type, and that Avro and PostgreSQL both hold it exactly."""

import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from math import isfinite
from typing import Any, Final

from tradepipe.trade.constraints import Digits, format_value
from tradepipe.trade.types import Member, Type, show_member

MIN_INT: Final = -(2**31)
MAX_INT: Final = 2**31 - 1
"""Bounds of Avro's int and PostgreSQL's integer."""

MIN_LONG: Final = -(2**63)
MAX_LONG: Final = 2**63 - 1
"""Bounds of Avro's long and PostgreSQL's bigint."""

_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
MAX_NANOS: Final = MAX_LONG // 1_000
MIN_NANOS: Final = -MAX_NANOS
"""Microseconds since 1970 that a long of nanoseconds can hold: the years 1677 to 2262."""

Finder = Callable[[Any], str | None]
"""Returns what is wrong with a value, to follow "which", or None if it is valid."""


def type_problem_finder(type_: Type, *, allow_nul: bool = False) -> Finder:
    """
    Return a function that finds what keeps a value from being of a type.

    Args:
        allow_nul: whether a text may hold the character NUL, which Avro has and PostgreSQL does not store.
    """
    find_text = partial(_find_text_problem, allow_nul)
    match type_.kind:
        case "array":
            find_item = member_problem_finder(type_.item, allow_nul=allow_nul)
            return partial(
                _find_nested_problem,
                type_,
                lambda value: ((f"at [{place}]", find_item, each) for place, each in enumerate(value)),
            )
        case "map":
            find_key = partial(_find_scalar_problem, str, find_text, _nothing)
            find_value = member_problem_finder(type_.item, allow_nul=allow_nul)
            return partial(
                _find_nested_problem,
                type_,
                lambda value: chain(
                    (("the key", find_key, key) for key in value),
                    ((f"at [{key!r}]", find_value, each) for key, each in value.items()),
                ),
            )
        case "record":
            finders = tuple(
                (f"at .{member.name}", member_problem_finder(member, allow_nul=allow_nul)) for member in type_.members
            )
            return partial(
                _find_nested_problem,
                type_,
                lambda value: ((place, find, each) for (place, find), each in zip(finders, value, strict=True)),
            )
        case "string":
            return partial(_find_scalar_problem, str, find_text, _nothing)
        case _:
            find_problem = _FINDERS.get(type_.python, _nothing)
            return partial(_find_scalar_problem, type_.python, find_problem, _details(type_))


def member_problem_finder(member: Member, *, allow_nul: bool = False) -> Finder:
    """Return a function that finds what keeps a value, or None, from being of a member's type."""
    find_problem = type_problem_finder(member.type, allow_nul=allow_nul)
    digits = Digits(member.type.precision, member.type.scale).find_problem if member.type.kind == "decimal" else None

    def find_member_problem(value: Any) -> str | None:
        if value is None:
            return None if member.is_nullable else f"is not a {show_member(member)}"
        return find_problem(value) or (digits(value) if digits else None)

    return find_member_problem


def _find_scalar_problem(python: type, find_problem: Finder, find_detail: Finder, value: Any) -> str | None:
    # Exact types, as a subclass may behave differently; datetimes, dates and times of libraries are welcome.
    is_instance = isinstance(value, python) if python in _MOMENTS else type(value) is python
    if not is_instance or (python is date and isinstance(value, datetime)):
        return f"is not {'an' if python is int else 'a'} {python.__name__}"
    return find_problem(value) or find_detail(value)


def _find_nested_problem(
    type_: Type, parts: Callable[[Any], Iterable[tuple[str, Finder, Any]]], value: Any
) -> str | None:
    # Not any tuple for a record: the order of its values would be unchecked.
    if type(value) is not type_.python:
        return f"is not a {type_}"
    for place, find_problem, each in parts(value):
        if (problem := find_problem(each)) is not None:
            return f"has {place} {format_value(each)}, which {problem}"
    return None


def _nothing(_value: Any) -> None:
    return None


def _find_text_problem(allow_nul: bool, value: str) -> str | None:
    if "\0" in value and not allow_nul:
        return "holds the character NUL, which PostgreSQL does not store"
    try:
        # A lone surrogate is a str in Python, and no text in UTF-8, Avro or PostgreSQL.
        value.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate"
    return None


_FINDERS: Final[Mapping[type, Finder]] = {
    # Not isfinite for both: it converts to a float, and large decimals would become infinite.
    float: lambda value: None if isfinite(value) else "is not a finite number",
    Decimal: lambda value: None if value.is_finite() else "is not a finite number",
}

_MOMENTS: Final = (date, datetime, time)


def _details(type_: Type) -> Finder:  # noqa: PLR0911 - one case for each kind of type
    """Return a function for what the Avro type asks of a value of the right class."""
    match type_.kind:
        case "int":
            return partial(_find_range_problem, MIN_INT, MAX_INT)
        case "long":
            return partial(_find_range_problem, MIN_LONG, MAX_LONG)
        case "float":
            return _find_single_problem
        case "fixed":
            size = type_.size
            return lambda value: None if len(value) == size else f"has {len(value)} bytes, not {size}"
    name, _, unit = type_.kind.rpartition("-")
    match name:
        case "time":
            return lambda value: "has a time zone" if value.tzinfo else _find_unit_problem(unit, value)
        case "timestamp" | "local-timestamp":
            return partial(_find_datetime_problem, name, unit)
    return _nothing


def _find_range_problem(lowest: int, highest: int, value: int) -> str | None:
    if lowest <= value <= highest:
        return None
    return f"is less than {lowest}" if value < 0 else f"is greater than {highest}"


def _find_single_problem(value: float) -> str | None:
    """Single precision must hold the number exactly: what is stored is what was sent."""
    try:
        # As the encoder does, which rounds to single precision.
        (nearest,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return "is too large for a float"
    return None if nearest == value else f"a float does not hold exactly; the nearest one is {nearest!r}"


def _find_datetime_problem(name: str, unit: str, value: datetime) -> str | None:
    if name == "local-timestamp":
        if value.tzinfo:
            return "has a time zone"
        naive = value
    elif value.utcoffset() is None:
        return "has no time zone"
    else:
        try:
            naive = value.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:
            return "is outside the years 1 to 9999 in UTC"
    if unit == "nanos" and not MIN_NANOS <= (naive - _EPOCH) // _MICROSECOND <= MAX_NANOS:
        return "is outside the years 1677 to 2262, which 64 bits of nanoseconds hold"
    return _find_unit_problem(unit, value)


def _find_unit_problem(unit: str, value: time | datetime) -> str | None:
    return (
        "has microseconds, but its type holds milliseconds" if unit == "millis" and value.microsecond % 1_000 else None
    )
