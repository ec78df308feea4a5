"""Generator of decoders: one function per writer schema."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from struct import Struct
from typing import Any, Final

from tradepipe.codec import primitives
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.plan import make_plan
from tradepipe.codec.primitives import MAX_MICROS, MIN_MICROS, Malformed, OutOfRange
from tradepipe.codec.readers import WIDTHS, reader_of, skipper_of
from tradepipe.codec.steps import SKIPPED, Mismatch, Null, Record, Scalar, Step, Symbol, Union
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.avro_types import EXACT, from_member_default, to_member_default
from tradepipe.trade.record import Code, Violation

MAX_BODY: Final = 1_048_576
"""Largest body that is decoded, in bytes: Kafka's default limit for a record."""

_NAMES: Final[dict[str, Any]] = {
    # A field may have the name of a built-in function.
    "_len": len,
    # tuple.__new__ skips the NamedTuple's own __new__, which is a Python function.
    "_new": tuple.__new__,
    "_DECODE_ERRORS": primitives.DECODE_ERRORS,
    "_EPOCH": primitives.EPOCH,
    "_Malformed": Malformed,
    "_ONE_BYTE_INTS": primitives.ONE_BYTE_INTS,
    "_ONE_BYTE_LENGTHS": primitives.ONE_BYTE_LENGTHS,
    "_cached_date": primitives.DATES.get,
    "_decimal_error": primitives.decimal_error,
    "_from_bytes": int.from_bytes,
    "_index_error": primitives.index_error,
    "_multiply": EXACT.multiply,
    "_out_of_range_error": primitives.out_of_range_error,
    "_read_date": primitives.read_date,
    "_read_index": primitives.read_index,
    "_read_int": primitives.read_int,
    "_read_long": primitives.read_long,
    "_read_size": primitives.read_size,
    "_timedelta": timedelta,
    "_unpack_double": Struct("<d").unpack,
    "_unpack_float": Struct("<f").unpack,
}
"""Globals of the generated code."""

_INT: Final = """\
{name} = _ONE_BYTE_INTS[_body[_at]]
if {name} is None:
    {name}, _at = _read_int(_body, _at)
else:
    _at += 1
"""

_LENGTH: Final = """\
_size = _ONE_BYTE_LENGTHS[_body[_at]]
if _size is None:
    _size, _at = _read_size(_body, _at)
else:
    _at += 1
"""

_DATE: Final = """\
{name} = _cached_date(_body[_at : _at + 3])
if {name} is None:
    {name}, _at = _read_date(_body, _at)
else:
    _at += 3
"""

# Timestamps from 1978 to 3111 take eight bytes. They are read as one number, whose groups of seven bits are joined in
# three steps of two, four and eight. The first mask selects the continuation bits: set in the first seven bytes and
# clear in the eighth. Positional arguments of timedelta: keywords take twice as long.
_TIMESTAMP: Final = f"""\
_bits = _from_bytes(_body[_at : _at + 8], "little")
if _bits & 0x8080808080808080 == 0x0080808080808080:
    _at += 8
    _bits = _bits & 0x007F007F007F007F | (_bits & 0x7F007F007F007F00) >> 1
    _bits = _bits & 0x00003FFF00003FFF | (_bits & 0x3FFF00003FFF0000) >> 2
    _bits = _bits & 0x000000000FFFFFFF | (_bits & 0x0FFFFFFF00000000) >> 4
    _number = ~(_bits >> 1) if _bits & 1 else _bits >> 1
else:
    _number, _at = _read_long(_body, _at)
    if not {MIN_MICROS} <= _number <= {MAX_MICROS}:
        raise _out_of_range_error(_number)
{{name}} = _EPOCH + _timedelta(0, 0, _number)
"""

# A number of fewer bytes is always in range, so that most decimals cost one comparison.
_DECIMAL: Final = """\
_number = _from_bytes(_body[_at : (_at := _at + _size)], "big", signed=True)
if not 0 < _size < {least_size}:
    if not (_size and -{limit} < _number < {limit}):
        raise _decimal_error(_size, {precision}, {scale})
{name} = _multiply(_number, _{name}_quantum)
"""

_SYMBOL: Final = """\
{name} = {by_byte}[_body[_at]]
if {name} is None:
    _index, _at = _read_index(_body, _at, {count}, "enum symbol")
    {name} = {members}[_index]
else:
    _at += 1
"""

_READS: Final[Mapping[str, str]] = {
    "string": _LENGTH + "{name} = _body[_at : (_at := _at + _size)].decode()",
    "bytes": _LENGTH + "{name} = _body[_at : (_at := _at + _size)]",
    "int": _INT,
    "long": _INT.replace("_read_int", "_read_long"),
    "float": "{name}, = _unpack_float(_body[_at : (_at := _at + 4)])",
    "double": "{name}, = _unpack_double(_body[_at : (_at := _at + 8)])",
    "date": _DATE,
    "timestamp-micros": _TIMESTAMP,
    "decimal": _LENGTH + _DECIMAL,
    "enum": _SYMBOL,
}
"""The code that reads a value at `_at` into the field's name, by kind; other kinds are read by a function."""


def generate_decoder(writer: SchemaType, codec: RecordCodec, schema_id: int) -> CodeBuilder:
    """Generate the source of a function `decode`, which reads a record of one writer schema."""
    main = CodeBuilder()
    main.names = {**_NAMES, "_record": codec.record}
    with main.block("def decode(_body):"):
        with main.block(f"if _len(_body) > {MAX_BODY}:"):
            main.line("raise _errors.too_long()")
        with main.block("try:"):
            _FieldEmitter(codec, main).emit_fields(make_plan(writer, codec).record)
            # A slice beyond the end is short instead of an error: the offset shows whether the body was long enough.
            with main.block("if _at == _len(_body):"):
                main.line(f"return _new(_record, ({', '.join(field.name for field in codec.fields)},))")
        with main.block("except _DECODE_ERRORS as _error:"):
            main.line("raise _errors.from_error(_error) from _error")
        main.line("raise _errors.trailing_bytes(_at, _len(_body))")
    main.names["_errors"] = _DecodeErrors(schema_id, codec, main)
    return main


class _FieldEmitter:
    """Emitter of the code for the writer's fields, in their order."""

    def __init__(self, codec: RecordCodec, out: CodeBuilder) -> None:
        self._codec = codec
        self._out = out

    def emit_fields(self, record: Record) -> None:
        """Emit code for every written field, then for every field that was not written."""
        self._out.line("_at = 0")
        for read in record.reads:
            if read.slot == SKIPPED:
                self._out.current_field = read.name[:100]
                # The writer chooses the name: it enters the source as an ASCII literal only, never as code.
                self._out.line(f"# {self._out.current_field!a}")
                self._emit_skip(read.step)
            else:
                field = self._codec.in_schema[read.slot]
                self._out.current_field = field.name
                self._out.line(f"# {field.name}: {field.kind}")
                self._emit_field(field, read.step)
        for missing in record.missing:
            field = self._codec.in_schema[missing.slot]
            self._out.current_field = field.name
            self._out.line(f"# {field.name}: not written")
            self._emit_constant(field, field.default)
        self._out.current_field = ""

    def _emit_field(self, field: FieldCodec, step: Step) -> None:
        match step:
            case Union(branches):
                # The code of the choice among the writer's branches.
                self._out.lines(
                    _INT.replace(
                        "_read_int(_body, _at)", f"_read_index(_body, _at, {len(branches)}, 'union branch')"
                    ).format(name="_branch")
                )
                for index, branch in enumerate(branches):
                    with self._out.block(f"{'elif' if index else 'if'} _branch == {index}:"):
                        self._emit_field(field, branch)
                with self._out.block("else:"):
                    self._out.line(f"raise _index_error(_branch, {len(branches)}, 'union branch')")
            case Null():
                self._emit_constant(field, None)
            case Mismatch(problem):
                self._out.line(f"raise _Malformed({problem!a})")
            case _ if field.kind in _READS and _is_direct(field, step):
                self._emit_read(field, step)
            case _:
                read = self._out.bind(f"read_{field.name}", reader_of(step, field.type))
                self._out.line(f"{field.name}, _at = {read}(_body, _at)")

    def _emit_read(self, field: FieldCodec, step: Step) -> None:
        """Emit the code of `_READS`."""
        words: dict[str, Any] = {"name": field.name}
        if field.kind == "decimal":
            limit = 10**field.type.precision
            self._out.names[f"_{field.name}_quantum"] = primitives.quantum(field.type.scale)
            words |= {"limit": limit, "least_size": limit.bit_length() // 8 + 1}
            words |= {"precision": field.type.precision, "scale": field.type.scale}
        if isinstance(step, Symbol):
            members = tuple(field.type.python(symbol) for symbol in step.symbols)
            # An index below 64 takes one byte, which is twice the index.
            one_byte = dict(zip(range(0, 128, 2), members, strict=False))
            words |= {
                "by_byte": self._out.bind(f"{field.name}_by_byte", tuple(one_byte.get(byte) for byte in range(256))),
                "members": self._out.bind(f"{field.name}_symbols", members),
                "count": len(members),
            }
        self._out.lines(_READS[field.kind].format(**words))

    def _emit_constant(self, field: FieldCodec, value: Any) -> None:
        """Emit an assignment of a value that is not in the body."""
        out = self._out
        if value is None:
            out.line(f"{field.name} = None")
        elif field.type.is_nested:
            # Made for each record: a list that two records share could be changed in one of them.
            make = partial(from_member_default, field.member, to_member_default(field.member, value))
            out.line(f"{field.name} = {out.bind(f'make_{field.name}', make)}()")
        else:
            out.names[f"_{field.name}_default"] = value
            out.line(f"{field.name} = _{field.name}_default")

    def _emit_skip(self, step: Step) -> None:
        """Emit lines that move `_at` past a value."""
        match step:
            case Null():
                pass
            case Scalar("int" | "long" as written):
                self._out.lines(f"if _body[_at] < 128:\n    _at += 1\nelse:\n    _, _at = _read_{written}(_body, _at)")
            case Scalar("bytes" | "string"):
                self._out.lines("_size, _at = _read_size(_body, _at)\n_at += _size")
            case Scalar(written, size) if written != "boolean":
                self._out.line(f"_at += {WIDTHS.get(written, size)}")
            case _:
                self._out.line(f"_, _at = {self._out.bind('skip', skipper_of(step))}(_body, _at)")


def _is_direct(field: FieldCodec, step: Step) -> bool:
    """Return whether the bytes are those of the declared type, so that no conversion or mapping can fail."""
    if isinstance(step, Symbol):
        return None not in step.symbols
    # A text and bytes have the same encoding.
    texts = ("string", "bytes") if field.kind == "string" else ()
    return isinstance(step, Scalar) and step.written != "fixed" and step.written in (field.type.base, *texts)


class _DecodeErrors:
    """Errors for a body that is not a trade; they name the field of the generated line that failed."""

    def __init__(self, schema_id: int, codec: RecordCodec, source: CodeBuilder) -> None:
        self._schema_id = schema_id
        self._codes = {field.name: field.code for field in codec.fields}
        self._source = source

    def from_error(self, error: BaseException) -> UndecodableRecord:
        """Return the error for an exception that a generated line raised."""
        # The topmost frame of the traceback is the generated function, not a reader that it called.
        assert error.__traceback__ is not None
        field = self._source.field_of_line(error.__traceback__.tb_lineno)
        if isinstance(error, OutOfRange):
            return self._undecodable(f"{field} {error.problem}", self._codes[field])
        if isinstance(error, Malformed):
            return self._undecodable(f"the body is not a trade: {field} {error.problem}")
        if isinstance(error, UnicodeDecodeError):
            return self._undecodable(f"the body is not a trade: {field} is not UTF-8")
        return self._undecodable(f"the body is not a trade: it ends before {field} does")

    def trailing_bytes(self, at: int, size: int) -> UndecodableRecord:
        """Return the error for a body that does not end with its last field."""
        if at > size:
            return self._undecodable("the body is not a trade: it ends before its last field does")
        return self._undecodable(f"{size - at} bytes follow the trade")

    def too_long(self) -> UndecodableRecord:
        """Return the error for a body that is too long to be decoded."""
        return self._undecodable(f"the body has more than {MAX_BODY} bytes")

    def _undecodable(self, detail: str, code: str = Code.UNDECODABLE) -> UndecodableRecord:
        return UndecodableRecord(Violation(code, detail), self._schema_id)
