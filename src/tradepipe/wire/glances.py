"""
The target of a glance: whether a body keeps all rules, told by its numbers and bytes, without building a value.

What it passes decodes, and breaks no rule; of what it does not pass it says nothing.
"""

from typing import Any, Final

from tradepipe.contract.rules import keeps_all_written
from tradepipe.contract.trade import ORDERED_BY
from tradepipe.wire import lines, values
from tradepipe.wire.columns import Column, Shape
from tradepipe.wire.source import Source
from tradepipe.wire.values import EPOCH_ORDINAL, Remembered, read_date

_DAYS: Final[Remembered[bytes, int]] = Remembered()
"""Days met before, by their three bytes."""


class Glances:
    """Lines that read each column as it is written, and ask the rules about all of them."""

    function: Final = "glance"

    @property
    def names(self) -> dict[str, Any]:
        """What the lines use."""
        return _NAMES

    def value(self, out: Source, column: Column, writes: Any) -> None:
        """Lines that read the value at `_at` into the column's name."""
        _VALUES[column.kind](out, column, writes)

    def constant(self, out: Source, column: Column, value: Any) -> None:
        """A line that gives the column a value that no byte says."""
        out.names[f"_{column.name}_default"] = _written(column, value)
        out.line(f"{column.name} = _{column.name}_default")

    def result(self, out: Source, shape: Shape) -> None:
        """The bytes of `ORDERED_BY`, or None."""
        names = ", ".join(column.name for column in shape.columns)
        out.line(f"return {ORDERED_BY} if _keeps_all(({names},)) else None")


def _string(out: Source, column: Column, _writes: Any) -> None:
    lines.size(out)
    out.line(f"{column.name} = _body[_at : (_at := _at + _size)]")


def _date(out: Source, column: Column, _writes: Any) -> None:
    lines.day(out, column, "_known_days", "_read_days")


def _instant(out: Source, column: Column, _writes: Any) -> None:
    lines.micros(out)
    out.line(f"{column.name} = _number")


def _decimal(out: Source, column: Column, _writes: Any) -> None:
    lines.unscaled(out, column)
    out.line(f"{column.name} = _number")


def _written(column: Column, value: Any) -> Any:
    """A constant as a body would have it."""
    if column.kind == "string" and value is not None:
        return value.encode()
    if column.kind == "decimal" and value is not None:
        return int(values.EXACT.scaleb(value, column.scale))
    return value


def _read_days(body: bytes, at: int) -> tuple[int, int]:
    """The days from 1970 that begin at a place, and where they end."""
    day, end = read_date(body, at)
    days = day.toordinal() - EPOCH_ORDINAL
    if end - at == 3:
        _DAYS.remember(body[at:end], days)
    return days, end


_VALUES: Final = {
    "string": _string,
    "int": lines.whole,
    "date": _date,
    "instant": _instant,
    "decimal": _decimal,
    "symbol": lines.member,
}

_NAMES: Final = {"_keeps_all": keeps_all_written, "_known_days": _DAYS.get, "_read_days": _read_days}
