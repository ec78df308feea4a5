"""The target of a decoder: the record itself, a trade of today."""

from datetime import timedelta
from typing import Any, Final

from tradepipe.codec import codegen, primitives
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.evolution.schema_tree import SchemaType

_NAMES: Final[dict[str, Any]] = {
    "_EPOCH": primitives.EPOCH,
    "_known_date": primitives.DATES.get,
    "_new": tuple.__new__,
    "_read_date": primitives.read_date,
    "_timedelta": timedelta,
    "_times": primitives.EXACT_CONTEXT.multiply,
}


class TradeTarget:
    """Lines that make the value of each column, and of all of them the record."""

    function: Final = "decode"
    names: Final[dict[str, Any]] = _NAMES

    def emit_value(self, out: CodeBuilder, column: FieldCodec, writes: SchemaType) -> None:
        """Lines that read the value at `_at` into the column's name."""
        _VALUES[column.kind](out, column, writes)

    def emit_constant(self, out: CodeBuilder, column: FieldCodec, value: Any) -> None:
        """A line that gives the column a value that no byte says."""
        if value is None:
            out.line(f"{column.name} = None")
        else:
            out.names[f"_{column.name}_default"] = value
            out.line(f"{column.name} = _{column.name}_default")

    def emit_result(self, out: CodeBuilder, shape: RecordCodec) -> None:
        """The record, made without the detour of its own constructor, which is Python too."""
        out.names["_record"] = shape.record
        out.line(f"return _new(_record, ({', '.join(column.name for column in shape.fields)},))")


def _emit_string(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_length(out)
    out.line(f"{column.name} = _body[_at : (_at := _at + _size)].decode()")


def _emit_date(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_date(out, column, "_known_date", "_read_date")


def _emit_timestamp(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_micros(out)
    # Positional: half the time of keywords.
    out.line(f"{column.name} = _EPOCH + _timedelta(0, 0, _number)")


def _emit_decimal(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_unscaled(out, column)
    out.names[f"_{column.name}_quantum"] = primitives.quantum(column.scale)
    out.line(f"{column.name} = _times(_number, _{column.name}_quantum)")


_VALUES: Final = {
    "string": _emit_string,
    "int": codegen.emit_int,
    "date": _emit_date,
    "instant": _emit_timestamp,
    "decimal": _emit_decimal,
    "symbol": codegen.emit_enum_member,
}
