"""Generated lines that every target shares: a number of few bytes at once, any other by a call."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Final

from tradepipe.wire import numbers
from tradepipe.wire.columns import Column
from tradepipe.wire.source import Source
from tradepipe.wire.values import MAX_MICROS, MIN_MICROS, no_decimal, outside_years

NAMES: Final = {
    "_DAMAGE": numbers.DAMAGE,
    "_Malformed": numbers.Malformed,
    "_SIZES": numbers.SIZES,
    "_SMALL": numbers.SMALL,
    "_from_bytes": int.from_bytes,
    "_no_decimal": no_decimal,
    "_outside_years": outside_years,
    "_read_index": numbers.read_index,
    "_read_int": numbers.read_int,
    "_read_long": numbers.read_long,
    "_read_size": numbers.read_size,
}
"""What the lines of this module use."""


def small(out: Source, name: str, otherwise: str, table: str = "_SMALL") -> None:
    """What a table says of the first byte, or else what a call reads."""
    out.line(f"{name} = {table}[_body[_at]]")
    with out.block(f"if {name} is None:"):
        out.line(f"{name}, _at = {otherwise}")
    with out.block("else:"):
        out.line("_at += 1")


def whole(out: Source, column: Column, _writes: Any) -> None:
    """An int, as the column."""
    small(out, column.name, "_read_int(_body, _at)")


def member(out: Source, column: Column, writes: Any) -> None:
    """What a symbol stands for, as the column."""
    symbol(out, column, members(column, writes))


def size(out: Source) -> None:
    """The length of a text or of bytes, in `_size`."""
    small(out, "_size", "_read_size(_body, _at)", "_SIZES")


def micros(out: Source) -> None:
    """
    Microseconds from 1970 within the years 1 to 9999, in `_number`.

    From 1978 to 3111 they take eight bytes: read as one number, whose groups of
    seven bits are then pushed together in three steps, two, four and eight at once.
    """
    out.line('_bits = _from_bytes(_body[_at : _at + 8], "little")')
    with out.block("if _bits & 0x8080808080808080 == 0x0080808080808080:"):
        out.line("_at += 8")
        out.line("_bits = _bits & 0x007F007F007F007F | (_bits & 0x7F007F007F007F00) >> 1")
        out.line("_bits = _bits & 0x00003FFF00003FFF | (_bits & 0x3FFF00003FFF0000) >> 2")
        out.line("_bits = _bits & 0x000000000FFFFFFF | (_bits & 0x0FFFFFFF00000000) >> 4")
        out.line("_number = ~(_bits >> 1) if _bits & 1 else _bits >> 1")
    with out.block("else:"):
        out.line("_number, _at = _read_long(_body, _at)")
        with out.block(f"if not {MIN_MICROS} <= _number <= {MAX_MICROS}:"):
            out.line("raise _outside_years(_number)")


def day(out: Source, column: Column, known: str, otherwise: str) -> None:
    """A day by its three bytes, if it was met before."""
    out.line(f"{column.name} = {known}(_body[_at : _at + 3])")
    with out.block(f"if {column.name} is None:"):
        out.line(f"{column.name}, _at = {otherwise}(_body, _at)")
    with out.block("else:"):
        out.line("_at += 3")


def unscaled(out: Source, column: Column) -> None:
    """The whole number behind a decimal, in `_number`."""
    size(out)
    out.line('_number = _from_bytes(_body[_at : (_at := _at + _size)], "big", signed=True)')
    # So many bytes cannot hold a number that is too large.
    with out.block(f"if not 0 < _size < {column.limit.bit_length() // 8 + 1}:"), _unless_within(out, column.limit):
        out.line(f"raise _no_decimal(_size, {column.precision}, {column.scale})")


def _unless_within(out: Source, limit: int) -> AbstractContextManager[None]:
    return out.block(f"if not (_size and {-limit} < _number < {limit}):")


def symbol(out: Source, column: Column, symbols: Sequence[Any]) -> None:
    """What each of the writer's symbols stands for, by its index."""
    out.names[f"_{column.name}_symbols"] = tuple(symbols)
    by_byte = dict(zip(range(0, 128, 2), symbols, strict=False))
    out.names[f"_{column.name}_by_byte"] = tuple(by_byte.get(byte) for byte in range(256))
    out.line(f"{column.name} = _{column.name}_by_byte[_body[_at]]")
    with out.block(f"if {column.name} is None:"):
        out.line(f"_index, _at = _read_index(_body, _at, {len(symbols)})")
        out.line(f"{column.name} = _{column.name}_symbols[_index]")
    with out.block("else:"):
        out.line("_at += 1")


def members(column: Column, writes: Any) -> list[Enum | None]:
    """The members that the writer's symbols stand for."""
    return [column.members.get(symbol, column.fallback) for symbol in writes["symbols"]]
