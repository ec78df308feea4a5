"""Source builder and shared emitters for generated decoders and encoders."""

import linecache
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

from tradepipe.codec import primitives
from tradepipe.codec.fields import FieldCodec
from tradepipe.codec.primitives import MAX_MICROS, MIN_MICROS, decimal_error, out_of_range_error
from tradepipe.codec.readers import WIDTHS, reader_of, skipper_of
from tradepipe.codec.steps import Null, Scalar, Step, Symbol

_INDENT: Final = "    "


class CodeBuilder:
    """
    Source of generated Python functions, line by line.

    Names with a leading underscore belong to the generator, names without one
    are fields. A `NamedTuple` allows no field with a leading underscore, so the
    two never collide.

    Attributes:
        current_field: field that the next lines belong to; errors of those lines name it.

        names: globals of the generated functions.
    """

    def __init__(self) -> None:
        self.current_field = ""
        self.names: dict[str, Any] = {}
        self._lines: list[tuple[str, str]] = []
        self._depth = 0

    @property
    def text(self) -> str:
        """Source of the lines added so far."""
        return "".join(f"{line}\n" for line, _ in self._lines)

    def line(self, text: str) -> None:
        """Add a line to the open block."""
        self._lines.append((_INDENT * self._depth + text, self.current_field))

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Add a line that opens a block; lines added within the context belong to the block."""
        self.line(opening)
        self._depth += 1
        yield
        self._depth -= 1

    def bind(self, stem: str, value: Any) -> str:
        """Add a global of an unused name; return the name."""
        name = f"_{stem}_{len(self.names)}"
        self.names[name] = value
        return name

    def field_of_line(self, number: int) -> str:
        """Return the field that a line belongs to, by the line's number from 1."""
        return self._lines[number - 1][1]

    def compile(self, function: str, title: str) -> Any:
        """
        Compile the source and return one of its functions.

        Tracebacks show the source under the title. If a title is used again,
        they show the source that was compiled last.
        """
        file = f"<tradepipe: {title}>"
        text = self.text
        exec(compile(text, file, "exec"), self.names)
        # Without a modification time linecache does not look for a file of this name and keeps the entry.
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        return self.names[function]


NAMES: Final = {
    # A field may have the name of a built-in function.
    "_len": len,
    "_min": min,
    "_DECODE_ERRORS": primitives.DECODE_ERRORS,
    "_Malformed": primitives.Malformed,
    "_ONE_BYTE_LENGTHS": primitives.ONE_BYTE_LENGTHS,
    "_ONE_BYTE_INTS": primitives.ONE_BYTE_INTS,
    "_from_bytes": int.from_bytes,
    "_decimal_error": decimal_error,
    "_out_of_range_error": out_of_range_error,
    "_read_index": primitives.read_index,
    "_read_int": primitives.read_int,
    "_read_long": primitives.read_long,
    "_read_size": primitives.read_size,
}
"""Globals of the lines that this module emits."""


def emit_varint(out: CodeBuilder, name: str, slow_read: str, table: str = "_ONE_BYTE_INTS") -> None:
    """Emit a look-up of a one-byte number in a table, with a call that reads a longer one."""
    out.line(f"{name} = {table}[_body[_at]]")
    with out.block(f"if {name} is None:"):
        out.line(f"{name}, _at = {slow_read}")
    with out.block("else:"):
        out.line("_at += 1")


def is_direct(field: FieldCodec, step: Step) -> bool:
    """Return whether the bytes are those of the declared type, so that no conversion or mapping can fail."""
    if isinstance(step, Symbol):
        return None not in step.symbols
    # A text and bytes have the same encoding.
    texts = ("string", "bytes") if field.kind == "string" else ()
    return isinstance(step, Scalar) and step.written != "fixed" and step.written in (field.type.base, *texts)


def emit_read(out: CodeBuilder, field: FieldCodec, step: Step) -> None:
    """Emit a call that reads a value of any type into the field's name."""
    read = out.bind(f"read_{field.name}", reader_of(step, field.type))
    out.line(f"{field.name}, _at = {read}(_body, _at)")


def emit_skip(out: CodeBuilder, step: Step) -> None:
    """Emit lines that move `_at` past a value."""
    match step:
        case Null():
            pass
        case Scalar("int" | "long" as written):
            with out.block("if _body[_at] < 128:"):
                out.line("_at += 1")
            with out.block("else:"):
                out.line(f"_, _at = _read_{written}(_body, _at)")
        case Scalar("bytes" | "string"):
            out.line("_size, _at = _read_size(_body, _at)")
            out.line("_at += _size")
        case Scalar(written, size) if written != "boolean":
            out.line(f"_at += {WIDTHS.get(written, size)}")
        case _:
            out.line(f"_, _at = {out.bind('skip', skipper_of(step))}(_body, _at)")


def emit_int(out: CodeBuilder, field: FieldCodec, _step: Step) -> None:
    """Emit a read of an int into the field's name."""
    emit_varint(out, field.name, "_read_int(_body, _at)")


def emit_enum_member(out: CodeBuilder, field: FieldCodec, step: Step) -> None:
    """Emit a read of an enum member into the field's name."""
    emit_symbol(out, field, symbol_members(field, step))


def emit_length(out: CodeBuilder) -> None:
    """Emit a read of the length of a string or of bytes into `_size`."""
    emit_varint(out, "_size", "_read_size(_body, _at)", "_ONE_BYTE_LENGTHS")


def emit_micros(out: CodeBuilder) -> None:
    """
    Emit a read of microseconds since 1970, within the years 1 to 9999, into `_number`.

    Timestamps from 1978 to 3111 take eight bytes. They are read as one number,
    whose groups of seven bits are joined in three steps of two, four and eight.
    """
    # The mask selects the continuation bits: set in the first seven bytes and clear in the eighth.
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
            out.line("raise _out_of_range_error(_number)")


def emit_date(out: CodeBuilder, field: FieldCodec, cache_get: str, slow_read: str) -> None:
    """Emit a look-up of a date in a cache by its three bytes, with a call that reads it otherwise."""
    out.line(f"{field.name} = {cache_get}(_body[_at : _at + 3])")
    with out.block(f"if {field.name} is None:"):
        out.line(f"{field.name}, _at = {slow_read}(_body, _at)")
    with out.block("else:"):
        out.line("_at += 3")


def emit_unscaled(out: CodeBuilder, field: FieldCodec) -> None:
    """Emit a read of a decimal's unscaled integer into `_number`."""
    emit_length(out)
    out.line('_number = _from_bytes(_body[_at : (_at := _at + _size)], "big", signed=True)')
    # A number of fewer bytes is always in range, so that most decimals cost one comparison.
    limit = 10**field.type.precision
    with (
        out.block(f"if not 0 < _size < {limit.bit_length() // 8 + 1}:"),
        out.block(f"if not (_size and {-limit} < _number < {limit}):"),
    ):
        out.line(f"raise _decimal_error(_size, {field.type.precision}, {field.type.scale})")


def emit_symbol(out: CodeBuilder, field: FieldCodec, symbols: Sequence[Any]) -> None:
    """Emit a look-up of the value for the writer's symbol, by its index."""
    # An index below 64 takes one byte, which is twice the index.
    by_byte = dict(zip(range(0, 128, 2), symbols, strict=False))
    one_byte = out.bind(f"{field.name}_by_byte", tuple(by_byte.get(byte) for byte in range(256)))
    out.line(f"{field.name} = {one_byte}[_body[_at]]")
    with out.block(f"if {field.name} is None:"):
        out.line(f"_index, _at = _read_index(_body, _at, {len(symbols)})")
        out.line(f"{field.name} = {out.bind(f'{field.name}_symbols', tuple(symbols))}[_index]")
    with out.block("else:"):
        out.line("_at += 1")


def symbol_members(field: FieldCodec, step: Step) -> list[Enum]:
    """Return the members for the writer's symbols, in their order."""
    assert isinstance(step, Symbol)
    return [field.type.python(symbol) for symbol in step.symbols]
