"""
Values as fields of PostgreSQL's binary COPY: an int32 length, or -1 for NULL, followed by the bytes.

The bytes are those of each type's send function in PostgreSQL's source. Days
and microseconds count from 2000-01-01.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from struct import Struct, pack
from typing import Any, Final, NoReturn, cast
from uuid import UUID

from tradepipe.codec.primitives import OutOfRange
from tradepipe.trade.avro_types import EXACT
from tradepipe.trade.json_values import to_json
from tradepipe.trade.type_checks import Finder, type_problem_finder
from tradepipe.trade.types import Type

NULL: Final = b"\xff\xff\xff\xff"

_NEGATIVE: Final = 0x4000
_BASE: Final = 10_000
DIGITS: Final = 4
_PADDING: Final = tuple(10**missing for missing in range(DIGITS))
_JSONB_VERSION: Final = b"\x01"
_FIRST: Final = datetime(2000, 1, 1)
FIRST_DAY: Final = _FIRST.toordinal()
UTC_FIRST: Final = _FIRST.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_three_digits = Struct(">iHhHH3H").pack
length = Struct(">i").pack
int4 = Struct(">ii").pack
int8 = Struct(">iq").pack
_float4 = Struct(">if").pack
_float8 = Struct(">id").pack

Packer = Callable[[Any], bytes]
"""Returns the field of a value other than None."""


def packer(type_: Type) -> Packer:
    """Return the function that packs values of a type."""
    if type_.is_nested:
        return partial(_pack_jsonb, type_, type_problem_finder(type_))
    if type_.kind == "decimal":
        return partial(_pack_decimal, type_.scale)
    return _PACKERS[type_.postgres]


def text_field(value: str) -> bytes:
    """Pack a text."""
    return bytes_field(value.encode())


def bytes_field(value: bytes) -> bytes:
    """Pack bytes."""
    return length(len(value)) + value


def enum_fields(type_: Type) -> dict[Any, bytes]:
    """Return the fields of an enum's members, by member."""
    return {member: text_field(member.value) for member in cast("type[Enum]", type_.python)}


def numeric(unscaled: int, scale: int) -> bytes:
    """
    Pack an unscaled integer and its scale as a numeric.

    The format is that of `numeric_send` in PostgreSQL's numeric.c: the number
    of digits, the weight of the first, the sign and the scale, all int16, then
    the digits in base 10,000.
    """
    sign, rest = (0, unscaled) if unscaled >= 0 else (_NEGATIVE, -unscaled)
    if sign == 0 and _BASE**2 <= unscaled < _BASE**3 and scale % DIGITS == 0:  # nearly every amount
        high, low = divmod(rest, _BASE)
        return _three_digits(14, 3, 2 - scale // DIGITS, 0, scale, high // _BASE, high % _BASE, low)
    # The point is between two base-10,000 digits, so the fraction is padded to whole digits.
    decimals = -(-scale // DIGITS)
    rest *= _PADDING[-scale % DIGITS]
    digits = []
    while rest:
        rest, digit = divmod(rest, _BASE)
        digits.append(digit)
    digits.reverse()
    count = len(digits)
    return pack(f">iHhHH{count}H", 8 + 2 * count, count, count - decimals - 1, sign, scale, *digits)


def _pack_decimal(scale: int, value: Decimal) -> bytes:
    return numeric(int(value.scaleb(scale, EXACT)), scale)


def _pack_jsonb(type_: Type, find_problem: Finder, value: Any) -> bytes:
    # PostgreSQL would refuse a NUL or an infinity in JSON by an error of syntax.
    if problem := find_problem(value):
        raise OutOfRange(problem)
    return bytes_field(_JSONB_VERSION + to_json(type_, value).encode())


def _pack_text(value: str) -> bytes:
    if "\0" in value:
        refuse_nul()
    return text_field(value)


def refuse_nul() -> NoReturn:
    """Refuse a text with the character NUL."""
    raise OutOfRange("holds the character NUL, which PostgreSQL does not store")


def _pack_boolean(value: bool) -> bytes:
    return b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


def _pack_time(value: time) -> bytes:
    return int8(8, (datetime.combine(_FIRST, value) - _FIRST) // _MICROSECOND)


def _pack_uuid(value: UUID) -> bytes:
    return bytes_field(value.bytes)


def _pack_date(value: date) -> bytes:
    return int4(4, value.toordinal() - FIRST_DAY)


_PACKERS: Final[Mapping[str, Packer]] = {
    "boolean": _pack_boolean,
    "integer": partial(int4, 4),
    "bigint": partial(int8, 8),
    "real": partial(_float4, 4),
    "double precision": partial(_float8, 8),
    "text": _pack_text,
    "bytea": bytes_field,
    "uuid": _pack_uuid,
    "date": _pack_date,
    "time": _pack_time,
    "timestamp": lambda value: int8(8, (value - _FIRST) // _MICROSECOND),
    "timestamptz": lambda value: int8(8, (value - UTC_FIRST) // _MICROSECOND),
}
