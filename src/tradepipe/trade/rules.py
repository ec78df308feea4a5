"""Violations of a trade, found by the constraints and rules of its declaration, and a quick check for them."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any, Final, cast

from tradepipe.trade.constraints import (
    Digits,
    Identifier,
    NotBefore,
    Pattern,
    Together,
    format_value,
    limit_of,
    operator_of,
    problem_finder,
)
from tradepipe.trade.declaration import Declaration, Field
from tradepipe.trade.model import DECLARATION, Trade
from tradepipe.trade.record import Violation
from tradepipe.trade.type_checks import MAX_INT, MIN_INT, type_problem_finder


def violation_finder(declaration: Declaration) -> Callable[[tuple[Any, ...]], tuple[Violation, ...]]:
    """Return a function that finds the violations of a record, at most one for each field, in the fields' order."""
    names = [field.name for field in declaration.fields]
    finders: list[tuple[Field, tuple[Callable[[Any], str | None], ...]]] = [
        (field, (type_problem_finder(field.type), *map(problem_finder, field.constraints)))
        for field in declaration.fields
    ]
    rules = [(rule, [names.index(name) for name in rule.fields]) for rule in declaration.rules]

    def find_violations(record: tuple[Any, ...]) -> tuple[Violation, ...]:
        found: dict[str, str] = {}
        for (field, field_finders), value in zip(finders, record, strict=True):
            if value is None and field.is_nullable:
                continue
            for find_problem in field_finders:
                if (problem := find_problem(value)) is not None:
                    found[field.name] = f"{field.name} is {format_value(value)}, which {problem}"
                    break
        for rule, places in rules:
            # An invalid value cannot be compared, and one sentence about a field is enough.
            needed = rule.fields if isinstance(rule, NotBefore) else rule.fields[:1]
            if found.keys().isdisjoint(needed):
                detail = rule.find_problem(*(record[place] for place in places))
                if detail is not None:
                    found[rule.fields[0]] = detail
        return tuple(Violation(field.code, found[field.name]) for field in declaration.fields if field.name in found)

    return find_violations


_QUICK_KINDS: Final = ("boolean", "int", "string", "enum", "decimal", "date", "timestamp-micros")
"""Kinds whose values are checked by conditions in the generated code, the others by a function."""

_may_match_nul = re.compile(r"\[\^|\.|\\[^\w]|\\[DSWB0xuUN]").search


def compile_check(declaration: Declaration) -> Callable[[Any], bool]:
    """
    Compile a check that is true for valid records only, and for nearly all of them.

    It takes half the time of a search for violations, which decides about the rest.
    """
    return _Generator(declaration).compile()


class _Generator:
    """Generator of a check of Python's values."""

    def __init__(self, declaration: Declaration) -> None:
        self._fields = {field.name: field for field in declaration.fields}
        self._rules = declaration.rules
        # A field may have the name of a built-in function.
        self._names: dict[str, Any] = {"_UTC": UTC, "_type": type, "_str": str}

    def compile(self) -> Callable[[Any], bool]:
        """Return the generated function."""
        conditions = "\n        and ".join(self._conditions())
        names = ", ".join(self._fields)
        source = f"def passes(_record):\n    {names}, = _record\n    return (\n        {conditions}\n    )\n"
        exec(compile(source, "<tradepipe: quick check>", "exec"), self._names)
        return cast("Callable[[Any], bool]", self._names["passes"])

    def _conditions(self) -> Iterator[str]:
        groups = [rule.fields for rule in self._rules if isinstance(rule, Together)]
        grouped = {name for names in groups for name in names}
        groups += [(field.name,) for field in self._fields.values() if field.is_nullable and field.name not in grouped]
        identifiers = [
            field for field in self._fields.values() if field.constraints == (Identifier(),) and not field.is_nullable
        ]
        if identifiers:
            # One expression for all identifiers, one a line: an identifier has no line break, so the match is exact.
            self._names["_are_identifiers"] = re.compile(
                "\n".join(Identifier().expression for _ in identifiers)
            ).fullmatch
            yield f"{' is '.join(f'_type({field.name})' for field in identifiers)} is _str"
            lines = "\\n".join(f"{{{field.name}}}" for field in identifiers)
            yield f'_are_identifiers(f"{lines}") is not None'
        for field in self._fields.values():
            if not field.is_nullable and field not in identifiers:
                yield from self._value(field)
        for names in groups:
            # One condition for the group: two that are both missing pass it, one alone does not.
            missing = " and ".join(f"{name} is None" for name in names)
            given = [f"{name} is not None" for name in names]
            given += [condition for name in names for condition in self._value(self._fields[name])]
            yield f"(({missing}) or ({' and '.join(given)}))"
        for rule in self._rules:
            if isinstance(rule, NotBefore):
                field, reference = self._fields[rule.field], self._fields[rule.reference]
                missing = "".join(f"{each.name} is None or " for each in (field, reference) if each.is_nullable)
                # The tzinfo of a timestamp is UTC, as checked before.
                is_time = field.type.kind == "date" and reference.type.kind != "date"
                yield f"({missing}{field.name} >= {reference.name}{'.date()' if is_time else ''})"

    def _value(self, field: Field) -> Iterator[str]:
        """Conditions on a value that is not None."""
        kind, python = field.type.kind, field.type.python
        self._names[f"_{field.name}_type"] = python
        if kind in _QUICK_KINDS:
            yield f"_type({field.name}) is _{field.name}_type"
        else:
            self._names[f"_{field.name}_problem"] = type_problem_finder(field.type)
            yield f"_{field.name}_problem({field.name}) is None"
        if kind == "int":
            yield f"{MIN_INT} <= {field.name} <= {MAX_INT}"
        patterns = [each for each in field.constraints if isinstance(each, Pattern)]
        if kind == "string" and all(
            _may_match_nul(each.expression) and not isinstance(each, Identifier) for each in patterns
        ):
            # Other texts are valid too, but for lone surrogates.
            yield f'{field.name}.isascii() and "\\0" not in {field.name}'
        if kind == "timestamp-micros":
            # Identity, not equality: decoded timestamps have this object, and other zones need a conversion.
            yield f"{field.name}.tzinfo is _UTC"
        # Before the bounds: a comparison with NaN raises.
        if kind == "decimal":
            yield f"{field.name}.is_finite()"
        for index, constraint in enumerate(field.constraints):
            name = f"_{field.name}_{index}"
            if isinstance(constraint, Pattern):
                self._names[name] = re.compile(constraint.expression).fullmatch
                yield f"{name}({field.name}) is not None"
            elif isinstance(constraint, Digits):
                self._names[name] = constraint.allows
                yield f"{name}({field.name})"
            else:
                self._names[name] = limit_of(constraint)
                yield f"{field.name} {operator_of(constraint)} {name}"


find_violations: Final[Callable[[Trade], tuple[Violation, ...]]] = violation_finder(DECLARATION)
"""Return the violations of a trade, at most one for each field, in the order of the fields."""

passes_quick_check: Final[Callable[[Trade], bool]] = compile_check(DECLARATION)
"""
Return whether a quick check shows that a trade is valid; False is inconclusive.

Nearly all trades of a stream pass, in half the time of `find_violations`.
"""


def violations(trade: Trade) -> tuple[Violation, ...]:
    """
    Return the violations of a trade; an empty tuple if it is valid. TypeError if it is not a `Trade`.

    The result depends on the trade alone, without a clock or a look-up, so a
    record that is read again gets the same result.

    >>> from datetime import UTC, date, datetime
    >>> now = datetime(2025, 6, 1, tzinfo=UTC)
    >>> trade = Trade("T1", 0, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=now)
    >>> [violation.detail for violation in violations(trade)]
    ['version is 0, which is less than 1']
    """
    if not isinstance(trade, Trade):
        raise TypeError(f"expected a Trade, not {type(trade).__name__}")
    return () if passes_quick_check(trade) else find_violations(trade)
