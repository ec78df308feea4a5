"""The declaration of a record: its fields and rules, read from an annotated `NamedTuple`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import product
from typing import Any, Final, NamedTuple, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from tradepipe.trade.constraints import (
    Constraint,
    Digits,
    Key,
    NotBefore,
    PartitionKey,
    Pattern,
    Rule,
    find_pattern_problem,
    format_value,
    limit_of,
    problem_finder,
)
from tradepipe.trade.type_checks import type_problem_finder
from tradepipe.trade.types import REQUIRED, Avro, Member, Type, check_name, read_annotation

__all__ = ["REQUIRED", "Declaration", "Field", "declare"]

_MARKS: Final = (Key, PartitionKey)
_BOUNDS: Final = (Ge, Gt, Le, Lt)
_APPLICABLE: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (Pattern,),
    "decimal": (*_BOUNDS, Digits),
    **dict.fromkeys(("boolean", "enum", "uuid", "bytes", "fixed", "array", "map", "record"), ()),
}
"""Constraints of each kind; bounds apply to all other kinds."""

_MAX_NAME: Final = 63
"""Characters of a name in PostgreSQL."""


class Field(NamedTuple):
    """
    One declared field.

    Attributes:
        type: type of its values other than None.

        default: value of a record without the field, or `REQUIRED`.
    """

    name: str
    type: Type
    is_nullable: bool
    default: Any
    constraints: tuple[Constraint, ...]
    is_key: bool
    is_partition_key: bool

    @property
    def code(self) -> str:
        """Code of the field's violations."""
        return self.name.upper()

    @property
    def member(self) -> Member:
        """The field without its constraints, as in a schema."""
        return Member(self.name, self.type, self.is_nullable, self.default)


class Declaration(NamedTuple):
    """Fields in their order, and the rules between them."""

    record: type[tuple[Any, ...]]
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...]

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Names of the fields of the primary key, in their order."""
        return tuple(field.name for field in self.fields if field.is_key)

    @property
    def partition_key(self) -> str:
        """Name of the field that is the Kafka key."""
        return next(field.name for field in self.fields if field.is_partition_key)

    @property
    def types(self) -> Mapping[str, Type]:
        """Types of the fields by name."""
        return {field.name: field.type for field in self.fields}

    def rules_of(self, field: str) -> Iterator[Rule]:
        """Return the rules whose violations have the code of a field."""
        return (rule for rule in self.rules if rule.fields[0] == field)


def declare(record: type[tuple[Any, ...]], rules: Iterable[Rule] = ()) -> Declaration:
    """
    Read a declaration.

    Raises:
        TypeError: the declaration is wrong; the message names the field or rule and what to change.
    """
    if not hasattr(record, "_field_defaults"):
        raise TypeError(f"{record!r} is not a NamedTuple: declare the record as one")
    defaults: dict[str, Any] = record._field_defaults
    hints = get_type_hints(record, include_extras=True)
    fields = tuple(
        _read_field(f"{record.__name__}.{name}", name, hint, defaults.get(name, REQUIRED))
        for name, hint in hints.items()
    )
    declaration = Declaration(record, fields, tuple(rules))
    if not declaration.primary_key:
        raise TypeError(f"{record.__name__} has no primary key: annotate at least one field with Key()")
    marked = [field.name for field in fields if field.is_partition_key]
    if len(marked) != 1 or marked[0] not in declaration.primary_key:
        raise TypeError(
            f"{record.__name__} needs one Kafka key: annotate exactly one field of the primary key with "
            f"PartitionKey(), not {' and '.join(marked) or 'none'}"
        )
    names: dict[str, str] = {}
    for field in fields:
        if (other := names.setdefault(field.code, field.name)) != field.name:
            raise TypeError(f"{record.__name__}.{field.name} has the violation code of {other}: choose another name")
    for number, rule in enumerate(declaration.rules):
        _check_rule(declaration, rule)
        if rule in declaration.rules[:number]:
            raise TypeError(f"{rule} is declared twice: remove one")
    return declaration


def _read_field(place: str, name: str, hint: Any, default: Any) -> Field:
    check_name(place, name)
    if len(name) > _MAX_NAME:
        raise TypeError(f"{place} is longer than PostgreSQL's names, of {_MAX_NAME} characters: choose a shorter name")
    type_, is_nullable, annotations = read_annotation(place, hint)
    applicable = _APPLICABLE.get(type_.kind, _BOUNDS)
    for annotation in annotations:
        if not isinstance(annotation, (*_MARKS, *applicable)):
            raise TypeError(
                f"{place} is annotated with {annotation!r}, which does not apply to {type_}: "
                f"use {_names((*_MARKS, *applicable, Avro))}"
            )
        if isinstance(annotation, Pattern) and (problem := find_pattern_problem(annotation.expression)):
            raise TypeError(f"{place} is annotated with {annotation!r}, whose expression {problem}")
    if is_nullable and any(isinstance(each, _MARKS) for each in annotations):
        raise TypeError(f"{place} is part of a key, which does not allow None: remove None from its type")
    if type_.is_nested and any(isinstance(each, _MARKS) for each in annotations):
        raise TypeError(f"{place} is part of a key, which does not allow {type_}: use fields of its values instead")
    if type_.kind != "string" and any(isinstance(each, PartitionKey) for each in annotations):
        raise TypeError(f"{place} is the Kafka key, so it must be a str, not {type_}")
    field = Field(
        name,
        type_,
        is_nullable,
        default,
        tuple(each for each in annotations if not isinstance(each, _MARKS)),
        any(isinstance(each, Key) for each in annotations),
        any(isinstance(each, PartitionKey) for each in annotations),
    )
    _check_values(place, field)
    return field


def _check_values(place: str, field: Field) -> None:
    """Require limits of the field's type, which some value satisfies, and a valid default."""
    bounds = [each for each in field.constraints if isinstance(each, _BOUNDS)]
    for bound in bounds:
        limit = limit_of(bound)
        if field.type.python in (Decimal, float) and type(limit) is int:
            limit = field.type.python(limit)
        # A limit of another type would be compared differently in Python and in PostgreSQL.
        if problem := type_problem_finder(field.type)(limit):
            raise TypeError(f"{place} is annotated with {bound!r}, whose limit {problem}")
    for one, other in product(bounds, bounds):
        if isinstance(one, (Ge, Gt)) and isinstance(other, (Le, Lt)):
            is_open = isinstance(one, Gt) or isinstance(other, Lt)
            if limit_of(one) > limit_of(other) or (is_open and limit_of(one) == limit_of(other)):
                raise TypeError(
                    f"{place} is annotated with {one!r} and {other!r}, which no value satisfies: change one"
                )
    if field.default is REQUIRED or (field.default is None and field.is_nullable):
        return
    if field.default is None:
        raise TypeError(f"{place} has the default None: add None to its type")
    finders = (type_problem_finder(field.type), *map(problem_finder, field.constraints))
    if problem := next(filter(None, (find_problem(field.default) for find_problem in finders)), None):
        raise TypeError(f"{place} has the default {format_value(field.default)}, which {problem}")


def _check_rule(declaration: Declaration, rule: Rule) -> None:
    if not isinstance(rule, Rule):
        raise TypeError(f"{rule!r} is not a rule: use NotBefore or Together")
    if len(set(rule.fields)) < 2:
        raise TypeError(f"{rule} relates a field to itself: name another one")
    fields = {field.name: field for field in declaration.fields}
    for name in rule.fields:
        if name not in fields:
            raise TypeError(f"{rule} names {name}, which is not a field of {declaration.record.__name__}")
    if isinstance(rule, NotBefore):
        kinds = {name: re.sub("-(milli|micro|nano)s$", "", fields[name].type.kind) for name in rule.fields}
        for name, kind in kinds.items():
            if kind not in ("date", "timestamp", "local-timestamp"):
                raise TypeError(f"{rule} compares {name}, which is not a date or datetime")
        value, reference = kinds.values()
        if value not in ("date", reference):
            raise TypeError(f"{rule} compares {rule.field}, a {value}, with a {reference}: give both the same type")
    elif required := [name for name in rule.fields if not fields[name].is_nullable]:
        raise TypeError(f"{rule} names {required[0]}, which is never missing: add None to its type")


def _names(types: Iterable[type]) -> str:
    return ", ".join(each.__name__ for each in types)
