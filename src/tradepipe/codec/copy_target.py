"""Decode target of rows: a trade's columns in PostgreSQL's binary COPY format, without building the values."""

from collections.abc import Sequence
from datetime import date
from struct import Struct
from typing import Any, Final

from tradepipe.codec import codegen
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.copy_fields import DIGITS, NULL, int4, int8, length, numeric, packer, text_field
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.primitives import EPOCH_ORDINAL, ONE_BYTE_INTS, BoundedCache, Malformed, OutOfRange, read_date
from tradepipe.codec.steps import Step

_DAYS_TO_2000: Final = date(2000, 1, 1).toordinal() - EPOCH_ORDINAL
_MICROS_TO_2000: Final = _DAYS_TO_2000 * 86_400_000_000

_BASE: Final = 10_000
_numeric_head = Struct(">iHhHH").pack
_three = Struct(">12s3H").pack

_LENGTH_PREFIXES: Final = tuple(length(size) for size in range(64))
"""COPY length prefixes for the lengths that take one byte in Avro."""

_ONE_BYTE_INT_FIELDS: Final = tuple(None if number is None else int4(4, number) for number in ONE_BYTE_INTS)
"""COPY fields of the integers that take one byte, by that byte."""

_DATE_FIELDS: Final[BoundedCache[bytes, bytes]] = BoundedCache()
"""COPY fields of dates by their three bytes."""


class CopyRowTarget:
    """Code that copies or packs each field and joins them."""

    function: Final = "copy_row"

    @property
    def names(self) -> dict[str, Any]:
        """Globals of the generated code."""
        return _NAMES

    def emit_value(self, out: CodeBuilder, field: FieldCodec, step: Step) -> None:
        """Emit a read of the value at `_at` into the field's name."""
        if field.kind in _VALUES and codegen.is_direct(field, step):
            _VALUES[field.kind](out, field, step)
        else:
            codegen.emit_read(out, field, step)
            out.line(f"{field.name} = {out.bind(f'pack_{field.name}', packer(field.type))}({field.name})")

    def emit_constant(self, out: CodeBuilder, field: FieldCodec, value: Any) -> None:
        """Emit an assignment of a value that is not in the body."""
        if field.kind == "string":
            encoded = b"" if value is None else value.encode()
            head = NULL if value is None else length(len(encoded))
            out.line(f"{field.name}, _{field.name}_length = {encoded!r}, {head!r}")
        else:
            out.line(f"{field.name} = {NULL if value is None else packer(field.type)(value)!r}")

    def emit_result(self, out: CodeBuilder, codec: RecordCodec) -> None:
        """Emit a check of the strings, and the return of the row."""
        # One check of all strings together: nearly all are ASCII, and only others need a check of their own.
        texts = [field.name for field in codec.fields if field.kind == "string"]
        out.line(f"_texts = _join([{', '.join(texts)}])")
        with out.block("if not _texts.isascii() or 0 in _texts:"):
            out.line(f"_check_texts({texts!r}, [{', '.join(texts)}])")
        out.line(f"return _join(({', '.join(piece for field in codec.fields for piece in _row_names(field))},))")


def _row_names(field: FieldCodec) -> Sequence[str]:
    return (f"_{field.name}_length", field.name) if field.kind == "string" else (field.name,)


def _emit_string(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    out.line("_size = _ONE_BYTE_LENGTHS[_body[_at]]")
    with out.block("if _size is None:"):
        out.line("_size, _at = _read_size(_body, _at)")
        out.line(f"_{field.name}_length = _length(_min(_size, _len(_body)))")
    with out.block("else:"):
        out.line("_at += 1")
        out.line(f"_{field.name}_length = _LENGTH_PREFIXES[_size]")
    out.line(f"{field.name} = _body[_at : (_at := _at + _size)]")


def _emit_int(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    out.line(f"{field.name} = _ONE_BYTE_INT_FIELDS[_body[_at]]")
    with out.block(f"if {field.name} is None:"):
        out.line("_number, _at = _read_int(_body, _at)")
        out.line(f"{field.name} = _int4(4, _number)")
    with out.block("else:"):
        out.line("_at += 1")


def _emit_date(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_date(out, field, "_cached_date_field", "_read_date_field")


def _emit_timestamp(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_micros(out)
    out.line(f"{field.name} = _int8(8, _number - {_MICROS_TO_2000})")


def _emit_decimal(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    codegen.emit_unscaled(out, field)
    # Numbers of up to three base-10,000 digits are packed in one call; PostgreSQL strips leading zeros.
    if field.type.scale % DIGITS == 0:
        with out.block(f"if 0 <= _number < {_BASE**3}:"):
            out.line(f"_high = _number // {_BASE}")
            head = _numeric_head(14, 3, 2 - field.type.scale // DIGITS, 0, field.type.scale)
            out.line(f"{field.name} = _three({head!r}, _high // {_BASE}, _high % {_BASE}, _number % {_BASE})")
        with out.block("else:"):
            out.line(f"{field.name} = _numeric(_number, {field.type.scale})")
    else:
        out.line(f"{field.name} = _numeric(_number, {field.type.scale})")


def _emit_enum(out: CodeBuilder, field: FieldCodec, step: Step) -> None:
    codegen.emit_symbol(out, field, [text_field(member.value) for member in codegen.symbol_members(field, step)])


def _read_date_field(body: bytes, at: int) -> tuple[bytes, int]:
    """Read the date at an offset; return its COPY field and the offset after it."""
    day, end = read_date(body, at)
    row = int4(4, day.toordinal() - EPOCH_ORDINAL - _DAYS_TO_2000)
    if end - at == 3:
        _DATE_FIELDS.remember(body[at:end], row)
    return row, end


def _check_texts(fields: Sequence[str], texts: Sequence[bytes]) -> None:
    """Raise an error that names the first field whose text PostgreSQL cannot store."""
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
    "timestamp-micros": _emit_timestamp,
    "decimal": _emit_decimal,
    "enum": _emit_enum,
}

_NAMES: Final = {
    "_LENGTH_PREFIXES": _LENGTH_PREFIXES,
    "_ONE_BYTE_INT_FIELDS": _ONE_BYTE_INT_FIELDS,
    "_int4": int4,
    "_int8": int8,
    "_join": b"".join,
    "_cached_date_field": _DATE_FIELDS.get,
    "_length": length,
    "_numeric": numeric,
    "_read_date_field": _read_date_field,
    "_check_texts": _check_texts,
    "_three": _three,
}
