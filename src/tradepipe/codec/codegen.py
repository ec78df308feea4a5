"""Building blocks of generated decoders and encoders."""

import linecache
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Any, Final

from tradepipe.codec import primitives
from tradepipe.codec.fields import FieldCodec
from tradepipe.codec.primitives import MAX_MICROS, MIN_MICROS, decimal_error, out_of_range_error
from tradepipe.evolution.schema_tree import SchemaType

_INDENT: Final = "    "


class CodeBuilder:
    """
    Lines of generated Python, compiled at the end.

    Names with a leading underscore are the generator's own, names without are
    fields: a `NamedTuple` takes no field with one, so they never meet.

    Attributes:
        about: what the lines now added are about; told when one of them fails.

        names: what the lines may use, by name.
    """

    def __init__(self) -> None:
        self.about = ""
        self.names: dict[str, Any] = {}
        self._lines: list[tuple[str, str]] = []
        self._depth = 0

    @property
    def text(self) -> str:
        """The source so far."""
        return "".join(f"{line}\n" for line, _ in self._lines)

    def line(self, text: str) -> None:
        """Add a line to the block that is open."""
        self._lines.append((_INDENT * self._depth + text, self.about))

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """A line that opens a block; what is added within is the block."""
        self.line(opening)
        self._depth += 1
        yield
        self._depth -= 1

    def append(self, other: "CodeBuilder") -> None:
        """Put another source behind this one, an empty line between the two."""
        if self._lines and other._lines:
            self._lines.append(("", ""))
        self._lines += other._lines
        self.names |= other.names

    def field_of_line(self, number: int) -> str:
        """What a line is about, by its number from 1."""
        return self._lines[number - 1][1]

    def compile(self, function: str, title: str) -> Any:
        """
        One of the functions, ready to be called.

        A traceback shows its lines under the title; the same title given again
        shows those of the last.
        """
        file = f"<tradepipe: {title}>"
        text = self.text
        exec(compile(text, file, "exec"), self.names)
        # No time of change: linecache then never looks for a file.
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        return self.names[function]


NAMES: Final = {
    "_DAMAGE": primitives.DECODE_ERRORS,
    "_Malformed": primitives.Malformed,
    "_SIZES": primitives.ONE_BYTE_LENGTHS,
    "_SMALL": primitives.ONE_BYTE_INTS,
    "_from_bytes": int.from_bytes,
    "_no_decimal": decimal_error,
    "_outside_years": out_of_range_error,
    "_read_index": primitives.read_index,
    "_read_int": primitives.read_int,
    "_read_long": primitives.read_long,
    "_read_size": primitives.read_size,
}
"""What the lines of this module use."""


def emit_one_byte_int(out: CodeBuilder, name: str, otherwise: str, table: str = "_SMALL") -> None:
    """What a table says of the first byte, or else what a call reads."""
    out.line(f"{name} = {table}[_body[_at]]")
    with out.block(f"if {name} is None:"):
        out.line(f"{name}, _at = {otherwise}")
    with out.block("else:"):
        out.line("_at += 1")


def emit_int(out: CodeBuilder, column: FieldCodec, _writes: SchemaType) -> None:
    """An int, as the column."""
    emit_one_byte_int(out, column.name, "_read_int(_body, _at)")


def emit_enum_member(out: CodeBuilder, column: FieldCodec, writes: SchemaType) -> None:
    """What a symbol stands for, as the column."""
    emit_symbol(out, column, members(column, writes))


def emit_length(out: CodeBuilder) -> None:
    """The length of a text or of bytes, in `_size`."""
    emit_one_byte_int(out, "_size", "_read_size(_body, _at)", "_SIZES")


def emit_micros(out: CodeBuilder) -> None:
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


def emit_date(out: CodeBuilder, column: FieldCodec, known: str, otherwise: str) -> None:
    """A day by its three bytes, if it was met before."""
    out.line(f"{column.name} = {known}(_body[_at : _at + 3])")
    with out.block(f"if {column.name} is None:"):
        out.line(f"{column.name}, _at = {otherwise}(_body, _at)")
    with out.block("else:"):
        out.line("_at += 3")


def emit_unscaled(out: CodeBuilder, column: FieldCodec) -> None:
    """The whole number behind a decimal, in `_number`."""
    emit_length(out)
    out.line('_number = _from_bytes(_body[_at : (_at := _at + _size)], "big", signed=True)')
    # So many bytes cannot hold a number that is too large.
    with out.block(f"if not 0 < _size < {column.limit.bit_length() // 8 + 1}:"), _emit_range_check(out, column.limit):
        out.line(f"raise _no_decimal(_size, {column.precision}, {column.scale})")


def _emit_range_check(out: CodeBuilder, limit: int) -> AbstractContextManager[None]:
    return out.block(f"if not (_size and {-limit} < _number < {limit}):")


def emit_symbol(out: CodeBuilder, column: FieldCodec, symbols: Sequence[Any]) -> None:
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


def members(column: FieldCodec, writes: SchemaType) -> list[Enum | None]:
    """The members that the writer's symbols stand for."""
    return [column.members.get(symbol, column.fallback) for symbol in writes.symbols]
