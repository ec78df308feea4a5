"""
The target of a row: a trade's columns as PostgreSQL's binary COPY takes them, without building a value.

Each is an int32 of its length, or -1 for NULL, and its bytes. Days and
microseconds count from 2000-01-01. A numeric is that of numeric_send in
PostgreSQL's numeric.c: the number of digits, the weight of the first, sign and
scale, all int16, then the digits to the base of 10,000.
"""

from collections.abc import Sequence
from datetime import date
from enum import Enum
from struct import Struct, pack
from typing import Any, Final

from tradepipe.codec import codegen, primitives
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.primitives import EPOCH_ORDINAL, ONE_BYTE_INTS, BoundedCache, Malformed, OutOfRange, read_date
from tradepipe.evolution.schema_tree import SchemaType

_DAYS_TO_2000: Final = date(2000, 1, 1).toordinal() - EPOCH_ORDINAL
_MICROS_TO_2000: Final = _DAYS_TO_2000 * 86_400_000_000

_NULL: Final = b"\xff\xff\xff\xff"
_NEGATIVE: Final = 0x4000
_BASE: Final = 10_000
_DIGITS: Final = 4
_PADDING: Final = tuple(10**missing for missing in range(_DIGITS))
_length = Struct(">i").pack
_int4 = Struct(">ii").pack
_int8 = Struct(">iq").pack

_numeric_head = Struct(">iHhHH").pack
_three = Struct(">12s3H").pack

_LENGTHS: Final = tuple(_length(size) for size in range(64))
"""What precedes so many bytes, for the lengths that take one byte in Avro."""

_SMALL_ROWS: Final = tuple(None if number is None else _int4(4, number) for number in ONE_BYTE_INTS)
"""By a first byte: the integer, if that is all of it."""

_DAY_ROWS: Final[BoundedCache[bytes, bytes]] = BoundedCache()
"""Days met before, by their three bytes."""


class CopyRowTarget:
    """Lines that copy or pack each column, and join them."""

    function: Final = "copy_row"

    @property
    def names(self) -> dict[str, Any]:
        """What the lines use."""
        return _NAMES

    def emit_value(self, out: CodeBuilder, column: FieldCodec, writes: SchemaType) -> None:
        """Lines that read the value at `_at` into the column's name."""
        _VALUES[column.kind](out, column, writes)

    def emit_constant(self, out: CodeBuilder, column: FieldCodec, value: Any) -> None:
        """Lines that give the column a value that no byte says."""
        if column.kind == "string":
            encoded = b"" if value is None else value.encode()
            head = _NULL if value is None else _length(len(encoded))
            out.line(f"{column.name}, {column.name}_length = {encoded!r}, {head!r}")
        else:
            out.line(f"{column.name} = {_copy_field(column, value)!r}")

    def emit_result(self, out: CodeBuilder, shape: RecordCodec) -> None:
        """One look at all texts, and the row."""
        texts = [column.name for column in shape.fields if column.kind == "string"]
        out.line(f"_texts = _join([{', '.join(texts)}])")
        with out.block("if not _texts.isascii() or 0 in _texts:"):
            out.line(f"_require_texts({texts!r}, [{', '.join(texts)}])")
        out.line(f"return _join(({', '.join(piece for column in shape.fields for piece in _pieces(column))},))")


def _pieces(column: FieldCodec) -> Sequence[str]:
    return (f"{column.name}_length", column.name) if column.kind == "string" else (column.name,)


def _emit_string(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    out.line("_size = _SIZES[_body[_at]]")
    with out.block("if _size is None:"):
        out.line("_size, _at = _read_size(_body, _at)")
        out.line(f"{column.name}_length = _length(min(_size, len(_body)))")
    with out.block("else:"):
        out.line("_at += 1")
        out.line(f"{column.name}_length = _LENGTHS[_size]")
    out.line(f"{column.name} = _body[_at : (_at := _at + _size)]")


def _emit_int(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    out.line(f"{column.name} = _SMALL_ROWS[_body[_at]]")
    with out.block(f"if {column.name} is None:"):
        out.line("_number, _at = _read_int(_body, _at)")
        out.line(f"{column.name} = _int4(4, _number)")
    with out.block("else:"):
        out.line("_at += 1")


def _emit_date(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_date(out, column, "_known_day_row", "_read_day_row")


def _emit_timestamp(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_micros(out)
    out.line(f"{column.name} = _int8(8, _number - {_MICROS_TO_2000})")


def _emit_decimal(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    """Three digits to the base of 10,000 at once: leading zeros are PostgreSQL's to strip."""
    codegen.emit_unscaled(out, column)
    if column.scale % _DIGITS == 0:
        with out.block(f"if 0 <= _number < {_BASE**3}:"):
            out.line(f"_high = _number // {_BASE}")
            head = _numeric_head(14, 3, 2 - column.scale // _DIGITS, 0, column.scale)
            out.line(f"{column.name} = _three({head!r}, _high // {_BASE}, _high % {_BASE}, _number % {_BASE})")
        with out.block("else:"):
            out.line(f"{column.name} = _numeric(_number, {column.scale})")
    else:
        out.line(f"{column.name} = _numeric(_number, {column.scale})")


def _emit_enum(out: CodeBuilder, column: FieldCodec, writes: SchemaType) -> None:
    codegen.emit_symbol(out, column, [_text_field(member) for member in codegen.members(column, writes)])


def _copy_field(column: FieldCodec, value: Any) -> bytes:
    """A constant as COPY takes it."""
    if value is None:
        return _NULL
    if column.kind == "symbol":
        return _text_field(value)
    if column.kind == "decimal":
        return numeric(int(primitives.EXACT_CONTEXT.scaleb(value, column.scale)), column.scale)
    return _int4(4, value)


def _text_field(member: Enum | None) -> bytes:
    assert member is not None
    encoded = str(member.value).encode()
    return _length(len(encoded)) + encoded


def numeric(unscaled: int, scale: int) -> bytes:
    """A numeric with its length: a whole number and how many of its digits are decimals."""
    sign, rest = (0, unscaled) if unscaled >= 0 else (_NEGATIVE, -unscaled)
    decimals = -(-scale // _DIGITS)
    rest *= _PADDING[-scale % _DIGITS]
    digits = []
    while rest:
        rest, digit = divmod(rest, _BASE)
        digits.append(digit)
    digits.reverse()
    count = len(digits)
    return pack(f">iHhHH{count}H", 8 + 2 * count, count, count - decimals - 1, sign, scale, *digits)


def _read_day_row(body: bytes, at: int) -> tuple[bytes, int]:
    """The day that begins at a place, and where it ends."""
    day, end = read_date(body, at)
    row = _int4(4, day.toordinal() - EPOCH_ORDINAL - _DAYS_TO_2000)
    if end - at == 3:
        _DAY_ROWS.remember(body[at:end], row)
    return row, end


def _require_texts(fields: Sequence[str], texts: Sequence[bytes]) -> None:
    """Refuse texts that PostgreSQL cannot hold; raises with the name of the field."""
    for field, encoded in zip(fields, texts, strict=True):
        try:
            encoded.decode()
        except UnicodeDecodeError as error:
            raise Malformed("is not UTF-8", field) from error
        if 0 in encoded:
            raise OutOfRange("holds the character NUL, which PostgreSQL cannot hold", field)


_VALUES: Final = {
    "string": _emit_string,
    "int": _emit_int,
    "date": _emit_date,
    "instant": _emit_timestamp,
    "decimal": _emit_decimal,
    "symbol": _emit_enum,
}

_NAMES: Final = {
    "_LENGTHS": _LENGTHS,
    "_SMALL_ROWS": _SMALL_ROWS,
    "_int4": _int4,
    "_int8": _int8,
    "_join": b"".join,
    "_known_day_row": _DAY_ROWS.get,
    "_length": _length,
    "_numeric": numeric,
    "_read_day_row": _read_day_row,
    "_require_texts": _require_texts,
    "_three": _three,
}
