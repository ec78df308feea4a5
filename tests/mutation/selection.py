"""Which tests to ask about a mutant, and in which order."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from tests.mutation.mutants import Mutant
from tests.mutation.traces import Trace

Function = ast.FunctionDef | ast.AsyncFunctionDef
Place = tuple[str, int]
"""A file and a line."""


class Selection(NamedTuple):
    """
    The tests to ask, in order.

    Attributes:
        found: how many tests execute the changed lines; more than are asked where the time does not suffice.
    """

    tests: tuple[Trace, ...]
    found: int


class Selector:
    """
    Chooses by what the tests execute.

    Args:
        sources: the text of each traced file.
    """

    def __init__(self, sources: dict[str, str], traces: Iterable[Trace]) -> None:
        self._sources = sources
        self._tests: dict[Place, set[int]] = defaultdict(set)
        self._traces = list(traces)
        for index, trace in enumerate(self._traces):
            for path, lines in trace.lines.items():
                for line in lines:
                    self._tests[path, line].add(index)

    def select(self, mutant: Mutant, seconds: float) -> Selection:
        """The tests that execute the changed lines, cheap and narrow ones first, as many as fit into the time."""
        found = self._executing(mutant)
        # The time a test takes, times the lines it executes: a narrow test fails more often for the line in question.
        ordered = sorted(found, key=lambda trace: (trace.seconds + 0.01) * trace.size)
        chosen: list[Trace] = []
        left = seconds
        for trace in ordered:
            if not chosen or trace.seconds <= left:
                chosen.append(trace)
                left -= trace.seconds
        return Selection(tuple(chosen), len(found))

    def _executing(self, mutant: Mutant) -> list[Trace]:
        for places in self._places(mutant):
            if tests := set[int]().union(*(self._tests.get(place, ()) for place in places)):
                return [self._traces[index] for index in tests]
        return []

    def _places(self, mutant: Mutant) -> Iterator[list[Place]]:
        """Lines whose execution counts as that of the mutant: the first that any test executes decide."""
        tree = _parsed(self._sources[mutant.path])
        statement, function, owner = _around(tree, mutant.line)
        if function is not None and mutant.line >= function.body[0].lineno:
            yield [(mutant.path, line) for line in mutant.lines]
            # An interpreter may tell of a statement by its first line alone.
            yield [(mutant.path, line) for line in _lines(statement)]
            yield [(mutant.path, line) for line in _body(function)]
        elif function is not None:
            yield [(mutant.path, line) for line in _body(function)]
        else:
            # Executed by the import: every test that uses the names counts.
            yield list(self._uses(mutant.path, tree, statement, owner))
            if owner is not None:
                yield [(mutant.path, line) for line in _lines(owner)]
            yield list(_all_lines(mutant.path, self._sources[mutant.path]))
        # No test executes what runs while modules are imported, such as what generates code: the tests count that
        # execute a module that imports it.
        module = mutant.path.removeprefix("src/").removesuffix(".py").replace("/", ".")
        yield [place for each, text in self._sources.items() if module in text for place in _all_lines(each, text)]

    def _uses(self, path: str, tree: ast.Module, statement: ast.stmt, owner: ast.ClassDef | None) -> Iterator[Place]:
        names = _defined(statement)
        if owner is None:
            names = _with_dependents(tree, names)
        for each, text in self._sources.items():
            if each == path or any(not name.startswith("_") for name in names):
                yield from ((each, line) for line in _lines_in_functions(text, frozenset(names)))


def _all_lines(path: str, text: str) -> Iterator[Place]:
    return ((path, line) for line in range(1, len(text.splitlines()) + 1))


@lru_cache(maxsize=512)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _around(tree: ast.Module, line: int) -> tuple[ast.stmt, Function | None, ast.ClassDef | None]:
    """The innermost statement at a line, the outermost function around it, and the class around that."""
    statement: ast.stmt = tree.body[0]
    function: Function | None = None
    owner: ast.ClassDef | None = None
    for node in ast.walk(tree):  # from the outermost to the innermost
        if isinstance(node, ast.stmt) and line in _lines(node):
            statement = node
            if isinstance(node, Function) and function is None:
                function = node
            if isinstance(node, ast.ClassDef) and function is None:
                owner = node
    return statement, function, owner


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _body(function: Function) -> range:
    return range(function.body[0].lineno, (function.end_lineno or function.lineno) + 1)


def _defined(statement: ast.stmt) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {
        node.id for target in targets if target is not None for node in ast.walk(target) if isinstance(node, ast.Name)
    }


def _with_dependents(tree: ast.Module, names: set[str]) -> set[str]:
    """The names, and those of the module that are made of them."""
    reached = set(names)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and reached & _mentioned(statement):
            reached |= _defined(statement)
    return reached


def _mentioned(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


@lru_cache(maxsize=4096)
def _lines_in_functions(text: str, names: frozenset[str]) -> tuple[int, ...]:
    return tuple(
        node.lineno
        for function in ast.walk(_parsed(text))
        if isinstance(function, Function)
        for node in ast.walk(function)
        if (isinstance(node, ast.Name) and node.id in names) or (isinstance(node, ast.Attribute) and node.attr in names)
    )
