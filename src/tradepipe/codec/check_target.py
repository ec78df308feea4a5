"""
The target of a glance: whether a body keeps all rules, told by its numbers and bytes, without building a value.

What it passes decodes, and breaks no rule; of what it does not pass it says nothing.
"""

from typing import Any, Final

from tradepipe.codec import codegen, primitives
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.primitives import EPOCH_ORDINAL, BoundedCache, read_date
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.model import KAFKA_KEY
from tradepipe.trade.rules import encoded_passes_quick_check

_DAYS: Final[BoundedCache[bytes, int]] = BoundedCache()
"""Days met before, by their three bytes."""


class QuickCheckTarget:
    """Lines that read each column as it is written, and ask the rules about all of them."""

    function: Final = "glance"

    @property
    def names(self) -> dict[str, Any]:
        """What the lines use."""
        return _NAMES

    def emit_value(self, out: CodeBuilder, column: FieldCodec, writes: SchemaType) -> None:
        """Lines that read the value at `_at` into the column's name."""
        _VALUES[column.kind](out, column, writes)

    def emit_constant(self, out: CodeBuilder, column: FieldCodec, value: Any) -> None:
        """A line that gives the column a value that no byte says."""
        out.names[f"_{column.name}_default"] = _encoded_value(column, value)
        out.line(f"{column.name} = _{column.name}_default")

    def emit_result(self, out: CodeBuilder, shape: RecordCodec) -> None:
        """The bytes of `ORDERED_BY`, or None."""
        names = ", ".join(column.name for column in shape.fields)
        out.line(f"return {KAFKA_KEY} if _keeps_all(({names},)) else None")


def _emit_string(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_length(out)
    out.line(f"{column.name} = _body[_at : (_at := _at + _size)]")


def _emit_date(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_date(out, column, "_known_days", "_read_days")


def _emit_timestamp(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_micros(out)
    out.line(f"{column.name} = _number")


def _emit_decimal(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    codegen.emit_unscaled(out, column)
    out.line(f"{column.name} = _number")


def _encoded_value(column: FieldCodec, value: Any) -> Any:
    """A constant as a body would have it."""
    if column.kind == "string" and value is not None:
        return value.encode()
    if column.kind == "decimal" and value is not None:
        return int(primitives.EXACT_CONTEXT.scaleb(value, column.scale))
    return value


def _read_days(body: bytes, at: int) -> tuple[int, int]:
    """The days from 1970 that begin at a place, and where they end."""
    day, end = read_date(body, at)
    days = day.toordinal() - EPOCH_ORDINAL
    if end - at == 3:
        _DAYS.remember(body[at:end], days)
    return days, end


_VALUES: Final = {
    "string": _emit_string,
    "int": codegen.emit_int,
    "date": _emit_date,
    "instant": _emit_timestamp,
    "decimal": _emit_decimal,
    "symbol": codegen.emit_enum_member,
}

_NAMES: Final = {"_keeps_all": encoded_passes_quick_check, "_known_days": _DAYS.get, "_read_days": _read_days}
