"""
Generated checks that are true for valid records only, and for nearly all of them.

They take half the time of a search for violations, which decides about the rest.
"""

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
    limit_of,
    operator_of,
)
from tradepipe.trade.declaration import Declaration, Field
from tradepipe.trade.type_checks import MAX_INT, MIN_INT, type_problem_finder

_QUICK_KINDS: Final = ("boolean", "int", "string", "enum", "decimal", "date", "timestamp-micros")
"""Kinds whose values are checked by conditions in the generated code, the others by a function."""

_may_match_nul = re.compile(r"\[\^|\.|\\[^\w]|\\[DSWB0xuUN]").search


def compile_check(declaration: Declaration) -> Callable[[Any], bool]:
    """Compile a check of a record's values."""
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
        yield from self._identifiers(identifiers)
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
                yield self._not_before(self._fields[rule.field], self._fields[rule.reference])

    def _identifiers(self, fields: list[Field]) -> Iterator[str]:
        """One expression for all identifiers, one a line: an identifier has no line break, so the match is exact."""
        if fields:
            self._names["_are_identifiers"] = re.compile("\n".join(Identifier().expression for _ in fields)).fullmatch
            yield f"{' is '.join(f'_type({field.name})' for field in fields)} is _str"
            lines = "\\n".join(f"{{{field.name}}}" for field in fields)
            yield f'_are_identifiers(f"{lines}") is not None'

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
        if kind == "string" and not any(map(_excludes_nul, field.constraints)):
            # Other texts are valid too, but for lone surrogates.
            yield f'{field.name}.isascii() and "\\0" not in {field.name}'
        if kind == "timestamp-micros":
            # Identity, not equality: decoded timestamps have this object, and other zones need a conversion.
            yield f"{field.name}.tzinfo is _UTC"
        # Before the bounds: a comparison with NaN raises.
        if kind == "decimal":
            yield f"{field.name}.is_finite()"
        yield from self._constraints(field)

    def _constraints(self, field: Field) -> Iterator[str]:
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

    def _not_before(self, field: Field, reference: Field) -> str:
        missing = [f"{each.name} is None or " for each in (field, reference) if each.is_nullable]
        # The tzinfo of a timestamp is UTC, as checked before.
        is_time = field.type.kind == "date" and reference.type.kind != "date"
        return f"({''.join(missing)}{field.name} >= {reference.name}{'.date()' if is_time else ''})"


def _excludes_nul(constraint: object) -> bool:
    """Return whether a text of a pattern has no character that PostgreSQL cannot store; False is inconclusive."""
    return isinstance(constraint, Pattern) and (
        isinstance(constraint, Identifier) or not _may_match_nul(constraint.expression)
    )
