"""Generator of decoders: one function per writer schema."""

from typing import Final

from tradepipe.codec import codegen, values
from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.plan import make_plan
from tradepipe.codec.primitives import Malformed, OutOfRange
from tradepipe.codec.steps import SKIPPED, Mismatch, Null, Record, Step, Union
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.record import Code, Violation

MAX_BODY: Final = 1_048_576
"""Largest body that is decoded, in bytes: Kafka's default limit for a record."""


def generate_decoder(writer: SchemaType, codec: RecordCodec, schema_id: int) -> CodeBuilder:
    """Generate the source of a function `decode`, which reads a record of one writer schema."""
    main = CodeBuilder()
    main.names |= codegen.NAMES
    with main.block("def decode(_body):"):
        with main.block(f"if _len(_body) > {MAX_BODY}:"):
            main.line("raise _errors.too_long()")
        with main.block("try:"):
            _FieldEmitter(codec, main).emit_fields(make_plan(writer, codec).record)
            # A slice beyond the end is short instead of an error: the offset shows whether the body was long enough.
            with main.block("if _at == _len(_body):"):
                values.emit_record(main, codec)
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
                codegen.emit_skip(self._out, read.step)
            else:
                field = self._codec.in_schema[read.slot]
                self._out.current_field = field.name
                self._out.line(f"# {field.name}: {field.kind}")
                self._emit_field(field, read.step)
        for missing in record.missing:
            field = self._codec.in_schema[missing.slot]
            self._out.current_field = field.name
            self._out.line(f"# {field.name}: not written")
            values.emit_constant(self._out, field, field.default)
        self._out.current_field = ""

    def _emit_field(self, field: FieldCodec, step: Step) -> None:
        match step:
            case Union(branches):
                self._emit_union(field, branches)
            case Null():
                values.emit_constant(self._out, field, None)
            case Mismatch(problem):
                self._out.line(f"raise _Malformed({problem!a})")
            case _:
                values.emit_value(self._out, field, step)

    def _emit_union(self, field: FieldCodec, branches: tuple[Step, ...]) -> None:
        """Emit a choice among the writer's branches."""
        out = self._out
        codegen.emit_varint(out, "_branch", f"_read_index(_body, _at, {len(branches)})")
        for index, branch in enumerate(branches):
            with out.block(f"{'elif' if index else 'if'} _branch == {index}:"):
                self._emit_field(field, branch)
        with out.block("else:"):
            out.line(f'raise _Malformed(f"names choice {{_branch}} of {len(branches)}")')


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
        if isinstance(error, Malformed):
            field = error.field or field
            if isinstance(error, OutOfRange):
                return self._undecodable(f"{field} {error.problem}", self._codes[field])
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
