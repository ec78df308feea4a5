"""Generator of decoders: one function per writer schema and target."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from tradepipe.codec.codegen import NAMES, CodeBuilder, emit_skip, emit_varint
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.plan import make_plan
from tradepipe.codec.primitives import Malformed, OutOfRange
from tradepipe.codec.steps import SKIPPED, Mismatch, Null, Record, Step, Union
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.record import Code, Violation

MAX_BODY: Final = 1_048_576
"""Largest body that is decoded, in bytes: Kafka's default limit for a record."""


class DecodeTarget(Protocol):
    """Kind of result that a body is decoded into: the code for each field and for the whole."""

    @property
    def function(self) -> str:
        """Name of the generated function."""

    @property
    def names(self) -> dict[str, Any]:
        """Globals of the generated code."""

    def emit_value(self, out: CodeBuilder, field: FieldCodec, step: Step) -> None:
        """Emit a read of the value at `_at` into the field's name."""

    def emit_constant(self, out: CodeBuilder, field: FieldCodec, value: Any) -> None:
        """Emit an assignment of a value that is not in the body."""

    def emit_result(self, out: CodeBuilder, codec: RecordCodec) -> None:
        """Emit the return of the result."""


def generate_decoder(
    writer: SchemaType,
    codec: RecordCodec,
    target: DecodeTarget,
    schema_id: int,
    *,
    check_first: Callable[[bytes], object] | None = None,
) -> CodeBuilder:
    """
    Generate the source of a target's function for one writer schema.

    Args:
        check_first: called with a body that the function refuses, before it
            raises; if it raises too, its error is raised. All targets
            thus refuse a body for the same reason.
    """
    main = CodeBuilder()
    main.names |= NAMES | target.names
    with main.block(f"def {target.function}(_body):"):
        with main.block(f"if _len(_body) > {MAX_BODY}:"):
            main.line("raise _errors.too_long()")
        with main.block("try:"):
            _FieldEmitter(target, codec, main).emit_fields(make_plan(writer, codec).record)
            # A slice beyond the end is short instead of an error: the offset shows whether the body was long enough.
            with main.block("if _at == _len(_body):"):
                target.emit_result(main, codec)
        with main.block("except _DECODE_ERRORS as _error:"):
            main.line("raise _errors.from_error(_error, _body) from _error")
        main.line("raise _errors.trailing_bytes(_at, _body)")
    main.names["_errors"] = _DecodeErrors(schema_id, codec, main, check_first)
    return main


class _FieldEmitter:
    """Emitter of the code for the writer's fields, in their order."""

    def __init__(self, target: DecodeTarget, codec: RecordCodec, out: CodeBuilder) -> None:
        self._target = target
        self._codec = codec
        self._out = out

    def emit_fields(self, record: Record) -> None:
        """Emit code for every written field, then for every field that was not written."""
        self._out.line("_at = 0")
        for read in record.reads:
            if read.slot == SKIPPED:
                self._out.current_field = read.name[:100]
                # The writer chooses the name: it enters the source as an ASCII literal only, so it cannot be code.
                self._out.line(f"# {self._out.current_field!a}")
                emit_skip(self._out, read.step)
            else:
                field = self._codec.in_schema[read.slot]
                self._out.current_field = field.name
                self._out.line(f"# {field.name}: {field.kind}")
                self._emit_field(field, read.step)
        for missing in record.missing:
            field = self._codec.in_schema[missing.slot]
            self._out.current_field = field.name
            self._out.line(f"# {field.name}: not written")
            self._target.emit_constant(self._out, field, field.default)
        self._out.current_field = ""

    def _emit_field(self, field: FieldCodec, step: Step) -> None:
        match step:
            case Union(branches):
                self._emit_union(field, branches)
            case Null():
                self._target.emit_constant(self._out, field, None)
            case Mismatch(problem):
                self._out.line(f"raise _Malformed({problem!a})")
            case _:
                self._target.emit_value(self._out, field, step)

    def _emit_union(self, field: FieldCodec, branches: tuple[Step, ...]) -> None:
        """Emit a choice among the writer's branches."""
        out = self._out
        emit_varint(out, "_branch", f"_read_index(_body, _at, {len(branches)})")
        for index, branch in enumerate(branches):
            with out.block(f"{'elif' if index else 'if'} _branch == {index}:"):
                self._emit_field(field, branch)
        with out.block("else:"):
            out.line(f'raise _Malformed(f"names choice {{_branch}} of {len(branches)}")')


class _DecodeErrors:
    """Errors for a body that is not a trade; they name the field of the generated line that failed."""

    def __init__(
        self, schema_id: int, codec: RecordCodec, source: CodeBuilder, check_first: Callable[[bytes], object] | None
    ) -> None:
        self._schema_id = schema_id
        self._codes = {field.name: field.code for field in codec.fields}
        self._source = source
        self._check_first = check_first

    def from_error(self, error: BaseException, body: bytes) -> UndecodableRecord:
        """Return the error for an exception that a generated line raised."""
        if self._check_first:
            self._check_first(body)
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

    def trailing_bytes(self, at: int, body: bytes) -> UndecodableRecord:
        """Return the error for a body that does not end with its last field."""
        if self._check_first:
            self._check_first(body)
        if at > len(body):
            return self._undecodable("the body is not a trade: it ends before its last field does")
        return self._undecodable(f"{len(body) - at} bytes follow the trade")

    def too_long(self) -> UndecodableRecord:
        """Return the error for a body that is too long to be decoded."""
        return self._undecodable(f"the body has more than {MAX_BODY} bytes")

    def _undecodable(self, detail: str, code: str = Code.UNDECODABLE) -> UndecodableRecord:
        return UndecodableRecord(Violation(code, detail), self._schema_id)
