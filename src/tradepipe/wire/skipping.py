"""
Code that passes over values of any type, for what a writer has and this build does not keep.

The time it takes is bounded by the body's length: every item takes a byte, and
records are passed over in line, so that no byte costs more than a few steps.
Nothing is built, and what a text or a number means is not looked at.
"""

from typing import Any, Final

from tradepipe.wire import numbers
from tradepipe.wire.resolution import Parsed, kind_of
from tradepipe.wire.source import Source

_WIDTHS: Final = {"float": 4, "double": 8}

_NAMES: Final = {
    "_Malformed": numbers.Malformed,
    "_read_block": numbers.read_block,
    "_read_index": numbers.read_index,
    "_read_int": numbers.read_int,
    "_read_long": numbers.read_long,
    "_read_size": numbers.read_size,
    "_require_end": numbers.require_end,
}


class Skipping:
    """
    The writer of such code.

    Attributes:
        functions: those that the code calls; to be put before it.
    """

    def __init__(self, writer: Parsed) -> None:
        self.functions = Source()
        self.functions.names |= _NAMES
        self._writer = writer
        self._count = 0

    def emit(self, out: Source, schema: Any) -> None:
        """Lines that move `_at` behind a value."""
        schema = self._writer.at(schema)
        kind = "union" if isinstance(schema, list) else kind_of(schema)
        if kind == "record":
            for field in schema["fields"]:
                self.emit(out, field["type"])
        elif kind in ("union", "array", "map"):
            out.line(f"_at = {self._function(schema, kind)}(_body, _at)")
        else:
            for line in _lines(schema, kind):
                out.line(line)

    def _function(self, schema: Any, kind: str) -> str:
        """A function of its own for what repeats or branches: Python nests only so many loops."""
        if kind == "union":
            return self._union(schema)
        out = Source()
        name = self._name(f"_pass_{kind}")
        with out.block(f"def {name}(_body, _at):"), out.block("while True:"):
            out.line("_count, _end, _at = _read_block(_body, _at)")
            with out.block("if not _count:"):
                out.line("return _at")
            with out.block("for _ in range(_count):"):
                if kind == "map":
                    self.emit(out, "string")
                self.emit(out, schema["items" if kind == "array" else "values"])
            out.line("_require_end(_at, _end)")
        self.functions.append(out)
        return name

    def _union(self, branches: list[Any]) -> str:
        """A table of functions: the choice among any number of branches takes the same time."""
        out = Source()
        name = self._name("_pass_union")
        passes = ", ".join(self._branch(branch) for branch in branches)
        out.line(f"{name}_branches = ({passes},)")
        out.line("")
        with out.block(f"def {name}(_body, _at):"):
            out.line(f"_branch, _at = _read_index(_body, _at, {len(branches)})")
            out.line(f"return {name}_branches[_branch](_body, _at)")
        self.functions.append(out)
        return name

    def _branch(self, branch: Any) -> str:
        out = Source()
        name = self._name("_pass_branch")
        with out.block(f"def {name}(_body, _at):"):
            self.emit(out, branch)
            out.line("return _at")
        self.functions.append(out)
        return name

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def _lines(schema: Any, kind: str) -> list[str]:
    """The lines for a type that holds no other."""
    if kind == "null":
        return []
    if kind == "boolean":
        return ["if _body[_at] > 1:", '    raise _Malformed("holds a boolean that is neither 0 nor 1")', "_at += 1"]
    if kind in ("int", "long"):
        return ["if _body[_at] < 128:", "    _at += 1", "else:", f"    _, _at = _read_{kind}(_body, _at)"]
    if kind in ("bytes", "string"):
        return ["_size, _at = _read_size(_body, _at)", "_at += _size"]
    if kind == "enum":
        return [f"_, _at = _read_index(_body, _at, {len(schema['symbols'])})"]
    return [f"_at += {_WIDTHS.get(kind) or int(schema['size'])}"]
