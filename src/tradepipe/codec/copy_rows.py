"""
Rows for PostgreSQL's binary COPY: the number of fields, those of the trade, and those of its record.

A field is an int32 length, or -1 for NULL, followed by the bytes. The bytes are
those of each type's send function in PostgreSQL's source. Days and microseconds
count from 2000-01-01.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache, partial
from struct import Struct, pack
from typing import Any, Final, NoReturn, cast

from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.primitives import OutOfRange
from tradepipe.trade.avro_types import EXACT
from tradepipe.trade.declaration import Declaration, Field
from tradepipe.trade.json_values import to_json
from tradepipe.trade.model import DECLARATION, Trade
from tradepipe.trade.record import Record
from tradepipe.trade.type_checks import type_problem_finder
from tradepipe.trade.types import Type
from tradepipe.trade.validated import ROW_COLUMNS

NULL: Final = b"\xff\xff\xff\xff"

_NEGATIVE: Final = 0x4000
_BASE: Final = 10_000
_DIGITS: Final = 4
_PADDING: Final = tuple(10**missing for missing in range(_DIGITS))
_JSONB_VERSION: Final = b"\x01"
_FIRST: Final = datetime(2000, 1, 1)
_FIRST_DAY: Final = _FIRST.toordinal()
_UTC_FIRST: Final = _FIRST.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_three_digits = Struct(">iHhHH3H").pack
_length = Struct(">i").pack
_int4 = Struct(">ii").pack
_int8 = Struct(">iq").pack
_float4 = Struct(">if").pack
_float8 = Struct(">id").pack

_pack_start = Struct(">hi").pack
_pack_coordinates = Struct(">iiiqii").pack

PackFields = Callable[[tuple[Any, ...]], bytes]
"""Packs the fields of a record's values, in declared order."""

Packer = Callable[[Any], bytes]
"""Returns the field of a value other than None."""


def pack_row(record: Record, schema_id: int, trade: Trade) -> bytes:
    """Pack a row of `ROW_COLUMNS`; `OutOfRange` for a value that PostgreSQL does not store."""
    coordinates = _pack_coordinates(4, record.partition, 8, record.offset, 4, schema_id)
    return _start(record.topic) + _pack_trade(trade) + coordinates


@cache
def _start(topic: str) -> bytes:
    encoded = topic.encode()
    return _pack_start(len(ROW_COLUMNS), len(encoded)) + encoded


def fields_packer(declaration: Declaration) -> PackFields:
    """Generate the function that packs the fields of a declared record."""
    out = CodeBuilder()
    out.names |= _NAMES
    with out.block("def pack_fields(_record):"):
        out.line(f"{', '.join(field.name for field in declaration.fields)}, = _record")
        for field in declaration.fields:
            _emit_field(out, field)
        out.line(f"return _join(({', '.join(field.name for field in declaration.fields)},))")
    return cast("PackFields", out.compile("pack_fields", f"pack {declaration.record.__name__}"))


def _emit_field(out: CodeBuilder, field: Field) -> None:
    if field.type.kind == "enum":
        fields = {member: _text_field(member.value) for member in cast("type[Enum]", field.type.python)}
        packed = f"{out.bind(f'fields_of_{field.name}', fields)}[{field.name}]"
    elif field.type.postgres in _INLINE:
        packed = _INLINE[field.type.postgres].format(field.name)
    else:
        packed = f"{out.bind(f'pack_{field.name}', packer(field.type))}({field.name})"
    missing = f"_NULL if {field.name} is None else " if field.is_nullable else ""
    out.line(f"{field.name} = {missing}{packed}")


def packer(type_: Type) -> Packer:
    """Return the function that packs values of a type."""
    if type_.is_nested:
        find_problem = type_problem_finder(type_)

        def pack_jsonb(value: Any) -> bytes:
            # PostgreSQL would refuse a NUL or an infinity in JSON by an error of syntax.
            if problem := find_problem(value):
                raise OutOfRange(problem)
            return _bytes_field(_JSONB_VERSION + to_json(type_, value).encode())

        return pack_jsonb
    if type_.kind == "decimal":
        return lambda value: numeric(int(value.scaleb(type_.scale, EXACT)), type_.scale)
    return _PACKERS[type_.postgres]


def _text_field(value: str) -> bytes:
    """Pack a text."""
    return _bytes_field(value.encode())


def _bytes_field(value: bytes) -> bytes:
    """Pack bytes."""
    return _length(len(value)) + value


def numeric(unscaled: int, scale: int) -> bytes:
    """
    Pack an unscaled integer and its scale as a numeric.

    The format is that of `numeric_send` in PostgreSQL's numeric.c: the number
    of digits, the weight of the first, the sign and the scale, all int16, then
    the digits in base 10,000.
    """
    sign, rest = (0, unscaled) if unscaled >= 0 else (_NEGATIVE, -unscaled)
    if sign == 0 and _BASE**2 <= unscaled < _BASE**3 and scale % _DIGITS == 0:  # nearly every amount
        high, low = divmod(rest, _BASE)
        return _three_digits(14, 3, 2 - scale // _DIGITS, 0, scale, high // _BASE, high % _BASE, low)
    # The point is between two base-10,000 digits, so the fraction is padded to whole digits.
    decimals = -(-scale // _DIGITS)
    rest *= _PADDING[-scale % _DIGITS]
    digits = []
    while rest:
        rest, digit = divmod(rest, _BASE)
        digits.append(digit)
    digits.reverse()
    count = len(digits)
    return pack(f">iHhHH{count}H", 8 + 2 * count, count, count - decimals - 1, sign, scale, *digits)


def _refuse_nul() -> NoReturn:
    """Refuse a text with the character NUL."""
    raise OutOfRange("holds the character NUL, which PostgreSQL does not store")


_PACKERS: Final[Mapping[str, Packer]] = {
    "boolean": lambda value: b"\0\0\0\1\1" if value else b"\0\0\0\1\0",
    "integer": partial(_int4, 4),
    "bigint": partial(_int8, 8),
    "real": partial(_float4, 4),
    "double precision": partial(_float8, 8),
    "text": lambda value: _refuse_nul() if "\0" in value else _text_field(value),
    "bytea": _bytes_field,
    "uuid": lambda value: _bytes_field(value.bytes),
    "date": lambda value: _int4(4, value.toordinal() - _FIRST_DAY),
    "time": lambda value: _int8(8, (datetime.combine(_FIRST, value) - _FIRST) // _MICROSECOND),
    "timestamp": lambda value: _int8(8, (value - _FIRST) // _MICROSECOND),
    "timestamptz": lambda value: _int8(8, (value - _UTC_FIRST) // _MICROSECOND),
}

# The types of most fields, without a call of Python code for each value.
_INLINE: Final = {
    "text": "_length(_len(_bytes := {0}.encode())) + _bytes if '\\0' not in {0} else _refuse_nul()",
    "integer": "_int4(4, {0})",
    "date": f"_int4(4, {{0}}.toordinal() - {_FIRST_DAY})",
    "timestamptz": (
        "_int8(8, ((_past := {0} - _FIRST).days * 86_400 + _past.seconds) * 1_000_000 + _past.microseconds)"
    ),
}

_NAMES: Final = {
    "_FIRST": _UTC_FIRST,
    "_NULL": NULL,
    "_int4": _int4,
    "_int8": _int8,
    "_join": b"".join,
    "_len": len,
    "_length": _length,
    "_refuse_nul": _refuse_nul,
}

_pack_trade: Final = fields_packer(DECLARATION)
