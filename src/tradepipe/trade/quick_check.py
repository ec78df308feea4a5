"""
Generated checks that are true for valid records only, and for nearly all of them.

They take half the time of a search for violations, which decides about the rest.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, cast

from tradepipe.trade.avro_types import EXACT, to_number
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
from tradepipe.trade.types import Type

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = datetime.resolution
_MICROS_PER_DAY: Final = 86_400_000_000
_QUICK_KINDS: Final = ("boolean", "int", "string", "enum", "decimal", "date", "timestamp-micros")
"""Kinds whose values are checked by conditions in the generated code, the others by a function."""

ENCODED_KINDS: Final = ("int", "string", "enum", "decimal", "date", "timestamp-micros")
"""Kinds whose values are checked in Avro's encoding, without building them."""

_may_match_nul = re.compile(r"\[\^|\.|\\[^\w]|\\[DSWB0xuUN]").search


def compile_check(declaration: Declaration) -> Callable[[Any], bool]:
    """Compile a check of a record's values."""
    return _Generator(declaration).compile()


def compile_encoded_check(declaration: Declaration) -> Callable[[Any], bool]:
    """Compile a check of a record's values in Avro's encoding: UTF-8, days, microseconds, unscaled integers."""
    return _EncodedGenerator(declaration).compile()


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
            self._names["_are_identifiers"] = self._matcher("\n".join(Identifier().expression for _ in fields))
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
        if kind == "decimal":
            yield f"{field.name}.is_finite()"
        yield from self._constraints(field)

    def _constraints(self, field: Field) -> Iterator[str]:
        for index, constraint in enumerate(field.constraints):
            name = f"_{field.name}_{index}"
            if isinstance(constraint, Pattern):
                self._names[name] = self._matcher(constraint.expression)
                yield f"{name}({field.name}) is not None"
            elif isinstance(constraint, Digits):
                yield from self._digits(field.name, name, constraint)
            else:
                self._names[name] = self._constant(field, limit_of(constraint))
                yield f"{field.name} {operator_of(constraint)} {name}"

    def _digits(self, field: str, name: str, constraint: Digits) -> Iterator[str]:
        self._names[name] = constraint.allows
        yield f"{name}({field})"

    def _matcher(self, expression: str) -> Callable[[Any], object]:
        return re.compile(expression).fullmatch

    def _constant(self, _field: Field, value: Any) -> Any:
        return value

    def _not_before(self, field: Field, reference: Field) -> str:
        # The tzinfo of a timestamp is UTC, as checked before.
        is_time = field.type.kind == "date" and reference.type.kind != "date"
        expression = f"{reference.name}.date()" if is_time else reference.name
        return self._compare(field, reference, expression, field.name)

    def _compare(self, field: Field, reference: Field, expression: str, value: str) -> str:
        missing = [f"{each.name} is None or " for each in (field, reference) if each.is_nullable]
        return f"({''.join(missing)}{value} >= {expression})"


class _EncodedGenerator(_Generator):
    """
    Generator of a check of encoded values.

    Only what the Avro types allow is checked: an int has its bounds, and a decimal its digits.
    """

    def _identifiers(self, fields: list[Field]) -> Iterator[str]:
        if fields:
            self._names["_are_identifiers"] = self._matcher("\n".join(Identifier().expression for _ in fields))
            lines = "\\n".join("%b" for _ in fields)
            yield f'_are_identifiers(b"{lines}" % ({", ".join(field.name for field in fields)},)) is not None'

    def _value(self, field: Field) -> Iterator[str]:
        if field.type.kind not in ENCODED_KINDS:
            yield from super()._value(field)
            return
        if field.type.kind == "string" and not any(map(_excludes_nul, field.constraints)):
            yield f"{field.name}.isascii() and 0 not in {field.name}"
        yield from self._constraints(field)

    def _digits(self, field: str, name: str, constraint: Digits) -> Iterator[str]:
        return iter(())

    def _matcher(self, expression: str) -> Callable[[Any], object]:
        return re.compile(expression.encode()).fullmatch

    def _constant(self, field: Field, value: Any) -> Any:
        if field.type.kind != "decimal":
            return encode_value(field.type, value)
        # A limit may have more decimals than the values that are compared with it.
        unscaled = Decimal(value).scaleb(field.type.scale)
        return int(unscaled) if unscaled == int(unscaled) else unscaled

    def _not_before(self, field: Field, reference: Field) -> str:
        is_date = field.type.kind == "date"
        expression = self._moment(reference, is_date=is_date)
        return self._compare(field, reference, expression, self._moment(field, is_date=is_date))

    def _moment(self, field: Field, *, is_date: bool) -> str:
        """Return the expression of a field's days or microseconds since 1970."""
        match field.type.kind:
            case "date":
                return field.name
            case "timestamp-micros":
                return f"{field.name} // {_MICROS_PER_DAY}" if is_date else field.name
            case _:
                self._names["_micros"] = _micros
                return f"_micros({field.name})" + (f" // {_MICROS_PER_DAY}" if is_date else "")


def encode_value(type_: Type, value: Any) -> Any:
    """Return a value in Avro's encoding, as a check of encoded values takes it; of another kind unchanged."""
    match type_.kind:
        case "string":
            return value.encode()
        case "decimal":
            return int(EXACT.scaleb(value, type_.scale))
        case "date" | "timestamp-micros":
            return to_number(type_, value)
        case _:
            return value


def _micros(value: datetime) -> int:
    return (value - (_EPOCH if value.tzinfo else _LOCAL_EPOCH)) // _MICROSECOND


def _excludes_nul(constraint: object) -> bool:
    """Return whether a text of a pattern has no character that PostgreSQL cannot store; False is inconclusive."""
    return isinstance(constraint, Pattern) and (
        isinstance(constraint, Identifier) or not _may_match_nul(constraint.expression)
    )
