"""The target of a decoder: the record itself, a trade of today."""

from datetime import timedelta
from typing import Any, Final

from tradepipe.wire import lines, values
from tradepipe.wire.columns import Column, Shape
from tradepipe.wire.source import Source

_NAMES: Final[dict[str, Any]] = {
    "_EPOCH": values.EPOCH,
    "_known_date": values.DATES.get,
    "_new": tuple.__new__,
    "_read_date": values.read_date,
    "_timedelta": timedelta,
    "_times": values.EXACT.multiply,
}


class Trades:
    """Lines that make the value of each column, and of all of them the record."""

    function: Final = "decode"
    names: Final[dict[str, Any]] = _NAMES

    def value(self, out: Source, column: Column, writes: Any) -> None:
        """Lines that read the value at `_at` into the column's name."""
        _VALUES[column.kind](out, column, writes)

    def constant(self, out: Source, column: Column, value: Any) -> None:
        """A line that gives the column a value that no byte says."""
        if value is None:
            out.line(f"{column.name} = None")
        else:
            out.names[f"_{column.name}_default"] = value
            out.line(f"{column.name} = _{column.name}_default")

    def result(self, out: Source, shape: Shape) -> None:
        """The record, made without the detour of its own constructor, which is Python too."""
        out.names["_record"] = shape.record
        out.line(f"return _new(_record, ({', '.join(column.name for column in shape.columns)},))")


def _string(out: Source, column: Column, _writes: Any) -> None:
    lines.size(out)
    out.line(f"{column.name} = _body[_at : (_at := _at + _size)].decode()")


def _date(out: Source, column: Column, _writes: Any) -> None:
    lines.day(out, column, "_known_date", "_read_date")


def _instant(out: Source, column: Column, _writes: Any) -> None:
    lines.micros(out)
    # Positional: half the time of keywords.
    out.line(f"{column.name} = _EPOCH + _timedelta(0, 0, _number)")


def _decimal(out: Source, column: Column, _writes: Any) -> None:
    lines.unscaled(out, column)
    out.names[f"_{column.name}_quantum"] = values.quantum(column.scale)
    out.line(f"{column.name} = _times(_number, _{column.name}_quantum)")


_VALUES: Final = {
    "string": _string,
    "int": lines.whole,
    "date": _date,
    "instant": _instant,
    "decimal": _decimal,
    "symbol": lines.member,
}
