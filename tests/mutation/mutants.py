"""The mutants of a module: each the module's text with one change."""

import difflib
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper
from mutmut.mutation import mutators

TUNED_NUMBER: Final = 1_000
"""From this number on, one more is a matter of tuning and not of a promise."""

TEXT_WORDS: Final = 3
"""A string of this many words is a text for people."""

CHAINED: Final = frozenset({"distinct", "limit", "order_by", "returning", "where", "with_for_update"})
"""Methods of a query whose call can be left out of a chain."""

_NEVER_MUTATED: Final = (cst.Annotation, cst.Assert, cst.Decorator, cst.Import, cst.ImportFrom)
_TEXTS: Final = frozenset({"__repr__", "__str__"})
_LOG: Final = m.Call(func=m.Attribute(value=m.Name("logger") | m.Name("warnings")))
# A logger, a list of names, or (in capitals and small letters) an alias of a type.
_DECLARATION: Final = m.Assign(
    targets=[m.AssignTarget(m.Name(value=m.MatchRegex("logger|__all__|__slots__|_?[A-Z][A-Za-z]*[a-z][A-Za-z]*")))]
)
_THREAD_NAME: Final = m.Arg(value=m.SimpleString(value=m.MatchRegex(r'"tradepipe-[a-z-]+"')))
_TYPE_CALL: Final = m.Call(func=m.Name("TypeVar") | m.Name("NewType"))
_TYPE_BLOCK: Final = m.If(test=m.Name("TYPE_CHECKING"))


class Mutant(NamedTuple):
    """
    One change of one module.

    Attributes:
        key: names the change; the same as long as neither the changed code nor the function around it changes.

        line: the first changed line, as the unchanged module numbers them.

        lines: all changed lines.
    """

    path: str
    key: str
    line: int
    lines: tuple[int, ...]
    text: str
    diff: str


class Change(NamedTuple):
    """A node and its replacement."""

    key: str
    module: cst.Module
    node: cst.CSTNode
    replacement: cst.CSTNode

    def mutant(self, path: str) -> Mutant:
        """The change, made."""
        text = self.module.code
        changed = self.module.deep_replace(self.node, self.replacement).code  # type: ignore[union-attr]
        before, after = text.splitlines(), changed.splitlines()
        blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        lines = tuple(
            line + 1
            for kind, begin, end, _, _ in blocks
            if kind != "equal"
            for line in range(begin, max(end, begin + 1))
        )
        diff = "\n".join(list(difflib.unified_diff(before, after, lineterm="", n=0))[3:])
        return Mutant(path, self.key, lines[0], lines, changed, diff)


def changes(text: str) -> list[Change]:
    """Every change of a module that is worth a try, in the order of the text."""
    module = MetadataWrapper(cst.parse_module(text)).module
    finder = _Finder(module)
    module.visit(finder)
    return finder.changes


class _Finder(cst.CSTVisitor):
    def __init__(self, module: cst.Module) -> None:
        super().__init__()
        self.changes: list[Change] = []
        self._module = module
        self._scope: list[str] = []
        self._seen: Counter[str] = Counter()

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_pointless(node):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._scope.append(node.name.value)
        for kind, operator in OPERATORS:
            if isinstance(node, kind):
                for replacement in operator(node):
                    self._note(node, replacement)
        # The arguments of an error are its message.
        return not isinstance(node, cst.Raise)

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef) and not _is_pointless(original_node):
            self._scope.pop()

    def _note(self, node: cst.CSTNode, replacement: cst.CSTNode) -> None:
        before, after = (_shortened(self._module.code_for_node(each)) for each in (node, replacement))
        if before == after:
            return
        name = f"{'.'.join(self._scope)}: {before} -> {after}"
        self._seen[name] += 1
        self.changes.append(Change(f"{name} #{self._seen[name]}", self._module, node, replacement))


def _is_pointless(node: cst.CSTNode) -> bool:
    """Return whether no test should notice a change in here: types, texts, log lines, declarations."""
    if isinstance(node, _NEVER_MUTATED):
        return True
    if isinstance(node, cst.FunctionDef):
        return node.name.value in _TEXTS
    if isinstance(node, cst.Expr):
        return isinstance(node.value, cst.BaseString) or m.matches(node.value, _LOG)
    return any(m.matches(node, each) for each in (_LOG, _DECLARATION, _THREAD_NAME, _TYPE_CALL, _TYPE_BLOCK))


def _shortened(code: str) -> str:
    return textwrap.shorten(code, 160)


def _number(node: cst.BaseNumber) -> Iterable[cst.CSTNode]:
    """One more, unless it is a duration, a size or another thing to tune."""
    if isinstance(node, cst.Integer) and node.evaluated_value < TUNED_NUMBER:
        yield from mutators.operator_number(node)


def _string(node: cst.SimpleString) -> Iterable[cst.CSTNode]:
    """Another name; not other letters' case, and no text for people."""
    if len(node.raw_value.split()) < TEXT_WORDS:
        yield from list(mutators.operator_string(node))[:1]


def _assignment(node: cst.Assign | cst.AnnAssign) -> Iterable[cst.CSTNode]:
    """None for a value; not for False, which is as false."""
    if not m.matches(node, m.Assign(value=m.Name("False")) | m.AnnAssign(value=m.Name("False"))):
        yield from mutators.operator_assignment(node)


def _statement(node: cst.SimpleStatementLine) -> Iterator[cst.CSTNode]:
    """Leave out a call, an assignment to an attribute, a deletion, a bare return, an error."""
    if len(node.body) == 1 and m.matches(node.body[0], _DROPPED) and not _is_pointless(node.body[0]):
        yield node.with_changes(body=[cst.Pass()])


_DROPPED: Final = (
    m.Expr(value=m.Call())
    | m.Assign(targets=[m.AssignTarget(m.Attribute() | m.Subscript())])
    | m.AugAssign()
    | m.Del()
    | m.Raise()
    | m.Return(value=None)
)


def _condition(node: cst.If) -> Iterator[cst.CSTNode]:
    """Always, and never."""
    for constant in ("True", "False"):
        yield node.with_changes(test=cst.Name(constant), whitespace_before_test=cst.SimpleWhitespace(" "))


def _filter(node: cst.CompIf) -> Iterator[cst.CSTNode]:
    """Take all."""
    yield node.with_changes(test=cst.Name("True"), whitespace_before_test=cst.SimpleWhitespace(" "))


def _operand(node: cst.BooleanOperation) -> Iterator[cst.CSTNode]:
    """Leave out one side."""
    for side in (node.left, node.right):
        yield side.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def _entry(node: cst.Dict) -> Iterator[cst.CSTNode]:
    """Leave out an entry."""
    for index in range(len(node.elements)):
        yield node.with_changes(elements=[*node.elements[:index], *node.elements[index + 1 :]])


def _keyword(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Leave out an argument that has a name, and so perhaps a default."""
    for index, argument in enumerate(node.args):
        if argument.keyword is not None and not _is_pointless(argument):
            yield node.with_changes(args=[*node.args[:index], *node.args[index + 1 :]])


def _order(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Let things come in the order they have; the least for the greatest."""
    function = node.func.value if isinstance(node.func, cst.Name) else ""
    if function in ("sorted", "reversed") and node.args:
        yield node.with_changes(func=cst.Name("list"), args=[cst.Arg(node.args[0].value)])
    if function in ("min", "max"):
        yield node.with_changes(func=cst.Name("max" if function == "min" else "min"))


def _link(node: cst.Call) -> Iterator[cst.CSTNode]:
    """Leave one call out of a query's chain."""
    if isinstance(node.func, cst.Attribute) and node.func.attr.value in CHAINED:
        yield node.func.value


Operator = Callable[[Any], Iterable[cst.CSTNode]]

OPERATORS: Final[tuple[tuple[type[cst.CSTNode], Operator], ...]] = (
    # mutmut's own.
    (cst.Name, mutators.operator_name),
    (cst.AugAssign, mutators.operator_augmented_assignment),
    (cst.UnaryOperation, mutators.operator_remove_unary_ops),
    (cst.Call, mutators.operator_symmetric_string_methods_swap),
    (cst.Lambda, mutators.operator_lambda),
    (cst.CSTNode, mutators.operator_keywords),
    (cst.CSTNode, mutators.operator_swap_op),
    (cst.Match, mutators.operator_match),
    (cst.IfExp, mutators.operator_if_exp),
    # mutmut's, of which some are left out.
    (cst.Assign, _assignment),
    (cst.AnnAssign, _assignment),
    (cst.BaseNumber, _number),
    (cst.SimpleString, _string),
    # What mutmut lacks: things left out.
    (cst.SimpleStatementLine, _statement),
    (cst.If, _condition),
    (cst.CompIf, _filter),
    (cst.BooleanOperation, _operand),
    (cst.Dict, _entry),
    (cst.Call, _keyword),
    (cst.Call, _order),
    (cst.Call, _link),
)
"""Which changes are made, by the kind of node."""
