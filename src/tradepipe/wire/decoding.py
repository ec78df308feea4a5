"""
Generates what decodes one writer schema: straight lines, from the body into what a target makes of a trade.

The writer's fields are walked once, in their order, each resolved against the
column of its name. A column the writer lacks takes its default; a field this
build lacks is passed over. `admission` has made sure that nothing else is left.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from tradepipe.contract.refusal import Code, Violation
from tradepipe.errors import UndecodableRecord
from tradepipe.wire.columns import REQUIRED, Column, Shape
from tradepipe.wire.lines import NAMES, small
from tradepipe.wire.numbers import Malformed, OutOfRange
from tradepipe.wire.resolution import Parsed, kind_of
from tradepipe.wire.skipping import Skipping
from tradepipe.wire.source import Source

MAX_BODY: Final = 1_048_576
"""Bytes of a body that is decoded; Kafka's own default limit for a record lies there too."""


class Target(Protocol):
    """What a body is turned into: the lines for each kind of column, and for the whole."""

    @property
    def function(self) -> str:
        """The name of the function."""

    @property
    def names(self) -> dict[str, Any]:
        """What its lines use."""

    def value(self, out: Source, column: Column, writes: Any) -> None:
        """Lines that read the value at `_at` into the column's name."""

    def constant(self, out: Source, column: Column, value: Any) -> None:
        """Lines that give the column a value that no byte says."""

    def result(self, out: Source, shape: Shape) -> None:
        """Lines that return what the columns add up to."""


def generated(
    writer: Parsed, shape: Shape, target: Target, schema_id: int, *, sooner: Callable[[bytes], object] | None = None
) -> Source:
    """
    The source of a target's function for one writer schema.

    Args:
        sooner: what is asked about a body that is refused, and may refuse it
            for a reason of its own: so that two targets tell the same.
    """
    skipping, main = Skipping(writer), Source()
    main.names |= NAMES | target.names
    with main.block(f"def {target.function}(_body):"):
        _guard(main)
        with main.block("try:"):
            _Walk(writer, target, skipping, main).fields(shape)
            with main.block("if _at == len(_body):"):
                target.result(main, shape)
        with main.block("except _DAMAGE as _error:"):
            main.line("raise _refusals.of(_error, _body) from _error")
        main.line("raise _refusals.of_length(_at, _body)")
    source = skipping.functions
    source.append(main)
    source.names["_refusals"] = _Refusals(schema_id, shape, source, sooner)
    return source


def _guard(out: Source) -> None:
    with out.block(f"if len(_body) > {MAX_BODY}:"):
        out.line("raise _refusals.of_size(len(_body))")


class _Walk:
    """One walk over the writer's fields."""

    def __init__(self, writer: Parsed, target: Target, skipping: Skipping, out: Source) -> None:
        self._writer = writer
        self._target = target
        self._skipping = skipping
        self._out = out

    def fields(self, shape: Shape) -> None:
        """Lines for every field that is written, then for every column that is not."""
        missing = {column.name: column for column in shape.columns}
        self._out.line("_at = 0")
        for field in self._writer.at(self._writer.root)["fields"]:
            column = missing.pop(field["name"], None)
            # A name is the writer's choice: it is never put into the source but as a literal.
            self._out.about = field["name"][:100]
            self._out.line(f"# {self._out.about!a}" if column is None else f"# {column.name}: {column.kind}")
            self._field(column, field["type"])
        for column in missing.values():
            self._out.about = column.name
            self._default(column)
        self._out.about = ""

    def _field(self, column: Column | None, writes: Any) -> None:
        if column is None:
            self._skipping.emit(self._out, writes)
        else:
            self._column(column, writes)

    def _column(self, column: Column, writes: Any) -> None:
        writes = self._writer.at(writes)
        if isinstance(writes, list):
            self._union(column, writes)
        elif kind_of(writes) == "null":
            self._target.constant(self._out, column, None)
        else:
            self._target.value(self._out, column, writes)

    def _union(self, column: Column, branches: Sequence[Any]) -> None:
        """The branch that is written; each of them resolves to the column."""
        out = self._out
        small(out, "_branch", f"_read_index(_body, _at, {len(branches)})")
        for index, branch in enumerate(branches):
            with out.block(f"{'elif' if index else 'if'} _branch == {index}:"):
                self._column(column, branch)
        with out.block("else:"):
            out.line(f'raise _Malformed(f"names choice {{_branch}} of {len(branches)}")')

    def _default(self, column: Column) -> None:
        if column.default is REQUIRED:
            raise TypeError(f"field {column.name} is neither written nor has it a default")
        self._out.line(f"# {column.name}: not written")
        self._target.constant(self._out, column, column.default)


class _Refusals:
    """What is raised when a body is not a trade, naming the field: that of the generated line that failed."""

    def __init__(self, schema_id: int, shape: Shape, source: Source, sooner: Callable[[bytes], object] | None) -> None:
        self._schema_id = schema_id
        self._codes = {column.name: column.code for column in shape.columns}
        self._source = source
        self._sooner = sooner

    def of(self, error: BaseException, body: bytes) -> UndecodableRecord:
        """For what a line raised."""
        if self._sooner:
            self._sooner(body)
        assert error.__traceback__ is not None
        field = self._source.subject_of(error.__traceback__.tb_lineno)
        if isinstance(error, Malformed):
            return self._malformed(error.field or field, error)
        if isinstance(error, UnicodeDecodeError):
            return self._refused(f"the body is not a trade: {field} is not UTF-8")
        return self._refused(f"the body is not a trade: it ends before {field} does")

    def _malformed(self, field: str, error: Malformed) -> UndecodableRecord:
        if isinstance(error, OutOfRange):
            return self._refused(f"{field} {error.problem}", self._codes[field])
        return self._refused(f"the body is not a trade: {field} {error.problem}")

    def of_length(self, at: int, body: bytes) -> UndecodableRecord:
        """For a body that does not end where its last field does."""
        if self._sooner:
            self._sooner(body)
        if at > len(body):
            return self._refused("the body is not a trade: it ends before its last field does")
        return self._refused(f"{len(body) - at} bytes follow the trade")

    def of_size(self, length: int) -> UndecodableRecord:
        """For a body that is not looked at."""
        return self._refused(f"the body has {length} bytes, more than {MAX_BODY}")

    def _refused(self, detail: str, code: Code = Code.UNDECODABLE) -> UndecodableRecord:
        return UndecodableRecord(Violation(code, detail), self._schema_id)
