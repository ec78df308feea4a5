"""Generator of decoders: one function per writer schema and target."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from tradepipe.codec import primitives
from tradepipe.codec.codegen import NAMES, CodeBuilder, emit_varint
from tradepipe.codec.fields import NO_DEFAULT, FieldCodec, RecordCodec
from tradepipe.codec.primitives import Malformed, OutOfRange
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.record import Code, Violation

_WIDTHS: Final = {"float": 4, "double": 8}

_NAMES: Final = {"_read_block": primitives.read_block, "_require_end": primitives.require_end}
"""Globals of skipping functions that `NAMES` lacks."""


class SkipEmitter:
    """
    Generator of code that skips values without decoding them.

    Attributes:
        functions: functions that the code calls; they precede it in the source.
    """

    def __init__(self) -> None:
        self.functions = CodeBuilder()
        self.functions.names |= _NAMES
        self._count = 0

    def emit(self, out: CodeBuilder, schema: SchemaType) -> None:
        """Add lines that move `_at` past a value."""
        if schema.kind == "record":
            for field in schema.fields:
                self.emit(out, field.type)
        elif schema.kind == "union":
            out.line(f"_at = {self._emit_union_function(schema.branches)}(_body, _at)")
        elif schema.inner:
            out.line(f"_at = {self._emit_block_function(schema)}(_body, _at)")
        else:
            for line in _skip_lines(schema):
                out.line(line)

    def _emit_block_function(self, schema: SchemaType) -> str:
        """Add a function for an array or a map; return its name."""
        # One function for each, since Python limits the number of nested loops.
        out = CodeBuilder()
        name = self._next_name(f"_skip_{schema.kind}")
        with out.block(f"def {name}(_body, _at):"), out.block("while True:"):
            out.line("_count, _end, _at = _read_block(_body, _at)")
            with out.block("if not _count:"):
                out.line("return _at")
            with out.block("for _ in range(_count):"):
                if schema.kind == "map":
                    self.emit(out, _MAP_KEY)
                self.emit(out, schema.inner[0])
            out.line("_require_end(_at, _end)")
        self.functions.append(out)
        return name

    def _emit_union_function(self, branches: Sequence[SchemaType]) -> str:
        """Add a function for a union; return its name."""
        out = CodeBuilder()
        name = self._next_name("_skip_union")
        # A table of functions, so that the choice takes the same time for any number of branches.
        out.line(f"{name}_branches = ({', '.join(self._emit_branch_function(branch) for branch in branches)},)")
        out.line("")
        with out.block(f"def {name}(_body, _at):"):
            out.line(f"_branch, _at = _read_index(_body, _at, {len(branches)})")
            out.line(f"return {name}_branches[_branch](_body, _at)")
        self.functions.append(out)
        return name

    def _emit_branch_function(self, branch: SchemaType) -> str:
        out = CodeBuilder()
        name = self._next_name("_skip_branch")
        with out.block(f"def {name}(_body, _at):"):
            self.emit(out, branch)
            out.line("return _at")
        self.functions.append(out)
        return name

    def _next_name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


_MAP_KEY: Final = SchemaType("string", "")


def _skip_lines(schema: SchemaType) -> list[str]:
    """Return the lines that skip a value of a type without inner types."""
    kind = schema.kind
    if kind == "null":
        return []
    if kind == "boolean":
        return ["if _body[_at] > 1:", '    raise _Malformed("holds a boolean that is neither 0 nor 1")', "_at += 1"]
    if kind in ("int", "long"):
        return ["if _body[_at] < 128:", "    _at += 1", "else:", f"    _, _at = _read_{kind}(_body, _at)"]
    if kind in ("bytes", "string"):
        return ["_size, _at = _read_size(_body, _at)", "_at += _size"]
    if kind == "enum":
        return [f"_, _at = _read_index(_body, _at, {len(schema.symbols)})"]
    # Nothing for a size of 0: an item of an array may have many of these, and must not cost more than its bytes.
    width = _WIDTHS.get(kind) or schema.size
    return [f"_at += {width}"] if width else []


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

    def emit_value(self, out: CodeBuilder, field: FieldCodec, schema: SchemaType) -> None:
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
    skipping, main = SkipEmitter(), CodeBuilder()
    main.names |= NAMES | target.names
    with main.block(f"def {target.function}(_body):"):
        with main.block(f"if len(_body) > {MAX_BODY}:"):
            main.line("raise _errors.too_long()")
        with main.block("try:"):
            _FieldEmitter(target, skipping, main).emit_fields(writer, codec)
            # A slice beyond the end is short instead of an error: the offset shows whether the body was long enough.
            with main.block("if _at == len(_body):"):
                target.emit_result(main, codec)
        with main.block("except _DECODE_ERRORS as _error:"):
            main.line("raise _errors.from_error(_error, _body) from _error")
        main.line("raise _errors.trailing_bytes(_at, _body)")
    source = skipping.functions
    source.append(main)
    source.names["_errors"] = _DecodeErrors(schema_id, codec, source, check_first)
    return source


class _FieldEmitter:
    """Emitter of the code for the writer's fields, in their order."""

    def __init__(self, target: DecodeTarget, skipping: SkipEmitter, out: CodeBuilder) -> None:
        self._target = target
        self._skipping = skipping
        self._out = out

    def emit_fields(self, writer: SchemaType, codec: RecordCodec) -> None:
        """Emit code for every written field, then for every field that was not written."""
        missing = {field.name: field for field in codec.fields}
        self._out.line("_at = 0")
        for written in writer.fields:
            field = missing.pop(written.name, None)
            self._out.current_field = written.name[:100]
            if field is None:
                # The writer chooses the name: it enters the source as an ASCII literal only, so it cannot be code.
                self._out.line(f"# {self._out.current_field!a}")
                self._skipping.emit(self._out, written.type)
            else:
                self._out.line(f"# {field.name}: {field.kind}")
                self._emit_field(field, written.type)
        for field in missing.values():
            self._out.current_field = field.name
            self._emit_default(field)
        self._out.current_field = ""

    def _emit_field(self, field: FieldCodec, schema: SchemaType) -> None:
        if schema.kind == "union":
            self._emit_union(field, schema.branches)
        elif schema.kind == "null":
            self._target.emit_constant(self._out, field, None)
        else:
            self._target.emit_value(self._out, field, schema)

    def _emit_union(self, field: FieldCodec, branches: Sequence[SchemaType]) -> None:
        """Emit a choice among the writer's branches, each of which resolves to the field."""
        out = self._out
        emit_varint(out, "_branch", f"_read_index(_body, _at, {len(branches)})")
        for index, branch in enumerate(branches):
            with out.block(f"{'elif' if index else 'if'} _branch == {index}:"):
                self._emit_field(field, branch)
        with out.block("else:"):
            out.line(f'raise _Malformed(f"names choice {{_branch}} of {len(branches)}")')

    def _emit_default(self, field: FieldCodec) -> None:
        if field.default is NO_DEFAULT:
            raise TypeError(f"field {field.name} has no default and is missing from the writer schema")
        self._out.line(f"# {field.name}: not written")
        self._target.emit_constant(self._out, field, field.default)


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
