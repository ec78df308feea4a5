"""Checks that a value has its declared type, and that Avro and PostgreSQL both hold it exactly."""

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
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
    match type_.kind:
        case "array":
            return partial(
                _find_list_problem, member_problem_finder(type_.item, allow_nul=allow_nul), f"is not a {type_}"
            )
        case "map":
            find_problem = member_problem_finder(type_.item, allow_nul=allow_nul)
            return partial(_find_dict_problem, find_problem, _text_finder(allow_nul), f"is not a {type_}")
        case "record":
            finders = (member_problem_finder(member, allow_nul=allow_nul) for member in type_.members)
            names = (f".{member.name}" for member in type_.members)
            return partial(_find_record_problem, type_.python, tuple(zip(names, finders, strict=True)))
        case "string":
            return partial(_find_scalar_problem, type_, _text_finder(allow_nul), _nothing)
        case _:
            return partial(_find_scalar_problem, type_, _FINDERS.get(type_.python) or _nothing, _details(type_))


def member_problem_finder(member: Member, *, allow_nul: bool = False) -> Finder:
    """Return a function that finds what keeps a value, or None, from being of a member's type."""
    find_problem = type_problem_finder(member.type, allow_nul=allow_nul)
    digits = Digits(member.type.precision, member.type.scale).find_problem if member.type.kind == "decimal" else None

    def find_member_problem(value: Any) -> str | None:
        if value is None:
            return None if member.is_nullable else f"is not a {show_member(member)}"
        return find_problem(value) or (digits(value) if digits else None)

    return find_member_problem


def _find_scalar_problem(type_: Type, find_problem: Finder, find_detail: Finder, value: Any) -> str | None:
    # Exact types, as a subclass may behave differently; datetimes, dates and times of libraries are welcome.
    python = type_.python
    is_instance = isinstance(value, python) if python in _MOMENTS else type(value) is python
    if not is_instance or (python is date and isinstance(value, datetime)):
        return f"is not {'an' if python is int else 'a'} {python.__name__}"
    return find_problem(value) or find_detail(value)


def _find_list_problem(find_problem: Finder, wrong: str, value: Any) -> str | None:
    if type(value) is not list:
        return wrong
    return _first((f"[{place}]", find_problem, each) for place, each in enumerate(value))


def _find_dict_problem(find_problem: Finder, find_text_problem: Finder, wrong: str, value: Any) -> str | None:
    if type(value) is not dict:
        return wrong
    for key in value:
        if type(key) is not str:
            return f"has the key {format_value(key)}, which is not a str"
        if problem := find_text_problem(key):
            return f"has the key {format_value(key)}, which {problem}"
    return _first((f"[{key!r}]", find_problem, each) for key, each in value.items())


def _find_record_problem(record: Any, finders: tuple[tuple[str, Finder], ...], value: Any) -> str | None:
    # Not any tuple: the order of its values would be unchecked.
    if type(value) is not record:
        return f"is not a {record.__name__}"
    return _first((name, find_problem, each) for (name, find_problem), each in zip(finders, value, strict=True))


def _first(found: Any) -> str | None:
    for place, find_problem, value in found:
        if (problem := find_problem(value)) is not None:
            return f"has at {place} {format_value(value)}, which {problem}"
    return None


def _nothing(_value: Any) -> None:
    return None


def _text_finder(allow_nul: bool) -> Finder:
    return _find_surrogate if allow_nul else _find_text_problem


def _find_text_problem(value: str) -> str | None:
    return "holds the character NUL, which PostgreSQL does not store" if "\0" in value else _find_surrogate(value)


def _find_surrogate(value: str) -> str | None:
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
            return partial(_find_size_problem, type_.size)
    name, _, unit = type_.kind.rpartition("-")
    match name:
        case "time":
            return partial(_find_time_problem, unit)
        case "timestamp":
            return partial(_find_timestamp_problem, unit)
        case "local-timestamp":
            return partial(_find_local_problem, unit)
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


def _find_size_problem(size: int, value: bytes) -> str | None:
    return None if len(value) == size else f"has {len(value)} bytes, not {size}"


def _find_time_problem(unit: str, value: time) -> str | None:
    return "has a time zone" if value.tzinfo else _find_unit_problem(unit, value)


def _find_timestamp_problem(unit: str, value: datetime) -> str | None:
    if value.utcoffset() is None:
        return "has no time zone"
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        return "is outside the years 1 to 9999 in UTC"
    return _find_unit_problem(unit, value) or _find_nanos_problem(unit, utc.replace(tzinfo=None))


def _find_local_problem(unit: str, value: datetime) -> str | None:
    if value.tzinfo:
        return "has a time zone"
    return _find_unit_problem(unit, value) or _find_nanos_problem(unit, value)


def _find_unit_problem(unit: str, value: time | datetime) -> str | None:
    return (
        "has microseconds, but its type holds milliseconds" if unit == "millis" and value.microsecond % 1_000 else None
    )


def _find_nanos_problem(unit: str, value: datetime) -> str | None:
    if unit == "nanos" and not MIN_NANOS <= (value - _EPOCH) // _MICROSECOND <= MAX_NANOS:
        return "is outside the years 1677 to 2262, which 64 bits of nanoseconds hold"
    return None
