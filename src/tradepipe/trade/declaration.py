"""The declaration of a record: its fields and rules, read from an annotated `NamedTuple`."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from tradepipe.trade.constraints import Constraint, Digits, Key, NotBefore, PartitionKey, Pattern, Rule

REQUIRED: Final = object()
"""Default of a field that has none."""

MIN_INT: Final = -(2**31)
MAX_INT: Final = 2**31 - 1
"""Bounds of Avro's int and PostgreSQL's integer."""

_MARKS: Final = (Key, PartitionKey)
_APPLICABLE: Final[dict[type, tuple[type, ...]]] = {
    str: (Pattern,),
    int: (Ge, Gt, Le, Lt),
    Decimal: (Ge, Gt, Le, Lt, Digits),
    date: (Ge, Gt, Le, Lt),
    datetime: (Ge, Gt, Le, Lt),
    Enum: (),
}
"""Constraints that each type can have."""


class Field(NamedTuple):
    """
    One declared field.

    Attributes:
        type: class of its values other than None.

        default: value of a record without the field, or `REQUIRED`.
    """

    name: str
    type: type
    is_nullable: bool
    default: Any
    constraints: tuple[Constraint, ...]
    is_key: bool
    is_partition_key: bool

    @property
    def code(self) -> str:
        """Code of the field's violations."""
        return self.name.upper()


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
    def types(self) -> Mapping[str, type]:
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
    defaults: dict[str, Any] = record._field_defaults  # type: ignore[attr-defined]  # a NamedTuple
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
    for rule in declaration.rules:
        _check_rule(declaration, rule)
    return declaration


def _read_field(place: str, name: str, hint: Any, default: Any) -> Field:
    kind, annotations = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    branches = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    types = [branch for branch in branches if branch is not NoneType]
    base = next((each for each in _APPLICABLE if isinstance(types[0], type) and issubclass(types[0], each)), None)
    if len(types) != 1 or base is None:
        raise TypeError(f"{place} has the type {kind}, which is not supported: use one of {_names(_APPLICABLE)}")
    # StrEnum is a str too, and a datetime is a date.
    base = Enum if issubclass(types[0], Enum) else datetime if issubclass(types[0], datetime) else base
    for annotation in annotations:
        if isinstance(annotation, type):
            raise TypeError(f"{place} is annotated with the class {annotation.__name__}: write {annotation.__name__}()")
        if not isinstance(annotation, (*_MARKS, *_APPLICABLE[base])):
            raise TypeError(
                f"{place} is annotated with {annotation!r}, which does not apply to {types[0].__name__}: "
                f"use {_names((*_MARKS, *_APPLICABLE[base]))}"
            )
    is_nullable = len(branches) > 1
    if is_nullable and any(isinstance(each, _MARKS) for each in annotations):
        raise TypeError(f"{place} is part of a key, so it cannot be None: remove None from its type")
    constraints = tuple(each for each in annotations if not isinstance(each, _MARKS))
    if base is Decimal and not any(isinstance(each, Digits) for each in constraints):
        raise TypeError(f"{place} is a decimal without a size: annotate it with Digits(precision, scale)")
    return Field(
        name,
        types[0],
        is_nullable,
        default,
        constraints,
        any(isinstance(each, Key) for each in annotations),
        any(isinstance(each, PartitionKey) for each in annotations),
    )


def _check_rule(declaration: Declaration, rule: Rule) -> None:
    fields = {field.name: field for field in declaration.fields}
    for name in rule.fields:
        if name not in fields:
            raise TypeError(f"{rule} names {name}, which is not a field of {declaration.record.__name__}")
    if isinstance(rule, NotBefore):
        if wrong := [name for name in rule.fields if not issubclass(fields[name].type, date)]:
            raise TypeError(f"{rule} compares {wrong[0]}, which is not a date or datetime")
    elif required := [name for name in rule.fields if not fields[name].is_nullable]:
        raise TypeError(f"{rule} names {required[0]}, which is never missing: add None to its type")


def _names(types: Iterable[type]) -> str:
    return ", ".join(each.__name__ for each in types)
