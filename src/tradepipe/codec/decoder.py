"""Generator of decoders: one function per writer schema."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from tradepipe.codec import primitives
from tradepipe.codec.codegen import NAMES, CodeBuilder, emit_one_byte_int
from tradepipe.codec.fields import NO_DEFAULT, FieldCodec, RecordCodec
from tradepipe.codec.primitives import Malformed, OutOfRange
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.record import Code, Violation

_WIDTHS: Final = {"float": 4, "double": 8}

_NAMES: Final = {
    "_Malformed": primitives.Malformed,
    "_read_block": primitives.read_block,
    "_read_index": primitives.read_index,
    "_read_int": primitives.read_int,
    "_read_long": primitives.read_long,
    "_read_size": primitives.read_size,
    "_require_end": primitives.require_end,
}


class SkipEmitter:
    """
    The writer of such code.

    Attributes:
        functions: those that the code calls; to be put before it.
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
        # A function each, since Python limits the number of nested loops.
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
    return [f"_at += {_WIDTHS.get(kind) or schema.size}"]


MAX_BODY: Final = 1_048_576
"""Bytes of a body that is decoded; Kafka's own default limit for a record lies there too."""


class DecodeTarget(Protocol):
    """What a body is turned into: the lines for each kind of column, and for the whole."""

    @property
    def function(self) -> str:
        """The name of the function."""

    @property
    def names(self) -> dict[str, Any]:
        """What its lines use."""

    def emit_value(self, out: CodeBuilder, column: FieldCodec, writes: SchemaType) -> None:
        """Lines that read the value at `_at` into the column's name."""

    def emit_constant(self, out: CodeBuilder, column: FieldCodec, value: Any) -> None:
        """Lines that give the column a value that no byte says."""

    def emit_result(self, out: CodeBuilder, shape: RecordCodec) -> None:
        """Lines that return what the columns add up to."""


def generate_decoder(
    writer: SchemaType,
    shape: RecordCodec,
    target: DecodeTarget,
    schema_id: int,
    *,
    sooner: Callable[[bytes], object] | None = None,
) -> CodeBuilder:
    """
    The source of a target's function for one writer schema.

    Args:
        sooner: what is asked about a body that is refused, and may refuse it
            for a reason of its own: so that two targets tell the same.
    """
    skipping, main = SkipEmitter(), CodeBuilder()
    main.names |= NAMES | target.names
    with main.block(f"def {target.function}(_body):"):
        _guard(main)
        with main.block("try:"):
            _FieldEmitter(target, skipping, main).fields(writer, shape)
            with main.block("if _at == len(_body):"):
                target.emit_result(main, shape)
        with main.block("except _DAMAGE as _error:"):
            main.line("raise _refusals.from_error(_error, _body) from _error")
        main.line("raise _refusals.trailing_bytes(_at, _body)")
    source = skipping.functions
    source.append(main)
    source.names["_refusals"] = _DecodeErrors(schema_id, shape, source, sooner)
    return source


def _guard(out: CodeBuilder) -> None:
    with out.block(f"if len(_body) > {MAX_BODY}:"):
        out.line("raise _refusals.too_long(len(_body))")


class _FieldEmitter:
    """One walk over the writer's fields."""

    def __init__(self, target: DecodeTarget, skipping: SkipEmitter, out: CodeBuilder) -> None:
        self._target = target
        self._skipping = skipping
        self._out = out

    def fields(self, writer: SchemaType, shape: RecordCodec) -> None:
        """Lines for every field that is written, then for every column that is not."""
        missing = {column.name: column for column in shape.fields}
        self._out.line("_at = 0")
        for field in writer.fields:
            column = missing.pop(field.name, None)
            # A name is the writer's choice: it is never put into the source but as a literal.
            self._out.about = field.name[:100]
            self._out.line(f"# {self._out.about!a}" if column is None else f"# {column.name}: {column.kind}")
            self._emit_field(column, field.type)
        for column in missing.values():
            self._out.about = column.name
            self._emit_default(column)
        self._out.about = ""

    def _emit_field(self, column: FieldCodec | None, writes: SchemaType) -> None:
        if column is None:
            self._skipping.emit(self._out, writes)
        else:
            self._emit_column(column, writes)

    def _emit_column(self, column: FieldCodec, writes: SchemaType) -> None:
        if writes.kind == "union":
            self._emit_union(column, writes.branches)
        elif writes.kind == "null":
            self._target.emit_constant(self._out, column, None)
        else:
            self._target.emit_value(self._out, column, writes)

    def _emit_union(self, column: FieldCodec, branches: Sequence[SchemaType]) -> None:
        """The branch that is written; each of them resolves to the column."""
        out = self._out
        emit_one_byte_int(out, "_branch", f"_read_index(_body, _at, {len(branches)})")
        for index, branch in enumerate(branches):
            with out.block(f"{'elif' if index else 'if'} _branch == {index}:"):
                self._emit_column(column, branch)
        with out.block("else:"):
            out.line(f'raise _Malformed(f"names choice {{_branch}} of {len(branches)}")')

    def _emit_default(self, column: FieldCodec) -> None:
        if column.default is NO_DEFAULT:
            raise TypeError(f"field {column.name} is neither written nor has it a default")
        self._out.line(f"# {column.name}: not written")
        self._target.emit_constant(self._out, column, column.default)


class _DecodeErrors:
    """What is raised when a body is not a trade, naming the field: that of the generated line that failed."""

    def __init__(
        self, schema_id: int, shape: RecordCodec, source: CodeBuilder, sooner: Callable[[bytes], object] | None
    ) -> None:
        self._schema_id = schema_id
        self._codes = {column.name: column.code for column in shape.fields}
        self._source = source
        self._sooner = sooner

    def from_error(self, error: BaseException, body: bytes) -> UndecodableRecord:
        """For what a line raised."""
        if self._sooner:
            self._sooner(body)
        assert error.__traceback__ is not None
        field = self._source.field_of_line(error.__traceback__.tb_lineno)
        if isinstance(error, Malformed):
            return self._malformed_error(error.field or field, error)
        if isinstance(error, UnicodeDecodeError):
            return self._undecodable(f"the body is not a trade: {field} is not UTF-8")
        return self._undecodable(f"the body is not a trade: it ends before {field} does")

    def _malformed_error(self, field: str, error: Malformed) -> UndecodableRecord:
        if isinstance(error, OutOfRange):
            return self._undecodable(f"{field} {error.problem}", self._codes[field])
        return self._undecodable(f"the body is not a trade: {field} {error.problem}")

    def trailing_bytes(self, at: int, body: bytes) -> UndecodableRecord:
        """For a body that does not end where its last field does."""
        if self._sooner:
            self._sooner(body)
        if at > len(body):
            return self._undecodable("the body is not a trade: it ends before its last field does")
        return self._undecodable(f"{len(body) - at} bytes follow the trade")

    def too_long(self, length: int) -> UndecodableRecord:
        """For a body that is not looked at."""
        return self._undecodable(f"the body has {length} bytes, more than {MAX_BODY}")

    def _undecodable(self, detail: str, code: Code = Code.UNDECODABLE) -> UndecodableRecord:
        return UndecodableRecord(Violation(code, detail), self._schema_id)
