"""
The types of a declaration's fields: each Python annotation, its Avro type and its PostgreSQL column.

| annotation | Avro | PostgreSQL |
|---|---|---|
| `bool` | boolean | boolean |
| `int`, `Annotated[int, Avro("long")]` | int, long | integer, bigint |
| `float`, `Annotated[float, Avro("float")]` | double, float | double precision, real |
| `str` | string | text |
| `bytes`, `Annotated[bytes, Avro("fixed", 32)]` | bytes, fixed | bytea |
| a `StrEnum` | enum | text |
| `Annotated[Decimal, Digits(18, 4)]`, with `Avro("fixed", 8)` | decimal of bytes, of fixed | numeric(18, 4) |
| `UUID`, `Annotated[UUID, Avro("fixed", 16)]` | uuid of string, of fixed | uuid |
| `date` | date | date |
| `time`, with `Avro("time-millis")` | time-micros, time-millis | time |
| `datetime`, with `Avro("timestamp-millis")` or `-nanos` | timestamp-micros, -millis, -nanos | timestamptz |
| `datetime` with `Avro("local-timestamp-micros")`, `-millis`, `-nanos` | local-timestamp-… | timestamp |
| `list[T]`, `dict[str, T]`, a `NamedTuple` | array, map, record | jsonb |

`T | None` is a union with null, and a column that may be NULL.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from tradepipe.trade.constraints import Digits

REQUIRED: Final = object()
"""Default of a field that has none."""


@dataclass(frozen=True)
class Avro:
    """
    The Avro type of a field, where it is not the first one of its annotation.

    Attributes:
        size: bytes of a fixed.
    """

    name: str
    size: int = 0


class Member(NamedTuple):
    """A field of a nested record, or with an empty name the item of an array or the value of a map."""

    name: str
    type: "Type"
    is_nullable: bool
    default: Any = REQUIRED


@dataclass(frozen=True, eq=False)
class Type:
    """
    Type of a field's values other than None; two types are equal if they are the same object.

    Attributes:
        kind: the logical type, or the Avro type without one, such as `timestamp-micros` or `enum`.

        base: the Avro type that holds the bytes, such as `long`.

        python: class of the values.

        postgres: type of the column.

        size: bytes of a fixed.

        precision, scale: a decimal's.

        members: the fields of a record; one member for an array or a map.
    """

    kind: str
    base: str
    python: type
    postgres: str
    size: int = 0
    precision: int = 0
    scale: int = 0
    members: tuple[Member, ...] = ()

    @property
    def is_nested(self) -> bool:
        """Whether the values hold other values; the column is jsonb."""
        return bool(self.members)

    @property
    def item(self) -> Member:
        """The item of an array, or the value of a map."""
        (item,) = self.members
        return item

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of an enum."""
        return tuple(str(member.value) for member in self.python) if issubclass(self.python, StrEnum) else ()

    def __str__(self) -> str:
        """Name the type as in the declaration, such as `list[Leg]`."""
        match self.kind:
            case "array":
                return f"list[{show_member(self.item)}]"
            case "map":
                return f"dict[str, {show_member(self.item)}]"
            case _:
                return self.python.__name__


class _Choice(NamedTuple):
    """An Avro type that an annotation may have: its kind, the type that holds its bytes, and its column."""

    kind: str
    base: str
    postgres: str


_CHOICES: Final[Mapping[type, tuple[_Choice, ...]]] = {
    bool: (_Choice("boolean", "boolean", "boolean"),),
    int: (_Choice("int", "int", "integer"), _Choice("long", "long", "bigint")),
    float: (_Choice("double", "double", "double precision"), _Choice("float", "float", "real")),
    str: (_Choice("string", "string", "text"),),
    bytes: (_Choice("bytes", "bytes", "bytea"), _Choice("fixed", "fixed", "bytea")),
    StrEnum: (_Choice("enum", "enum", "text"),),
    Decimal: (_Choice("decimal", "bytes", "numeric"), _Choice("decimal", "fixed", "numeric")),
    UUID: (_Choice("uuid", "string", "uuid"), _Choice("uuid", "fixed", "uuid")),
    date: (_Choice("date", "int", "date"),),
    time: (_Choice("time-micros", "long", "time"), _Choice("time-millis", "int", "time")),
    datetime: (
        *(_Choice(f"timestamp-{unit}", "long", "timestamptz") for unit in ("micros", "millis", "nanos")),
        *(_Choice(f"local-timestamp-{unit}", "long", "timestamp") for unit in ("micros", "millis", "nanos")),
    ),
}
"""The Avro types of each class, the default first."""

_UUID_BYTES: Final = 16
_MAX_PRECISION: Final = 1_000
"""Digits of PostgreSQL's numeric at most."""

_is_avro_name = re.compile(r"[A-Za-z][A-Za-z0-9_]*").fullmatch


class Annotation(NamedTuple):
    """What an annotation says: the type, whether None is allowed, and the marks and constraints beside it."""

    type: Type
    is_nullable: bool
    others: tuple[Any, ...]


def read_annotation(place: str, hint: Any, within: tuple[type, ...] = ()) -> Annotation:
    """
    Read the annotation of a field.

    Args:
        within: records that hold the field.

    Raises:
        TypeError: the type is not supported, or an annotation does not apply to it.
    """
    kind, is_nullable, annotations = _unwrap(place, hint)
    for annotation in annotations:
        if isinstance(annotation, type):
            raise TypeError(f"{place} is annotated with the class {annotation.__name__}: write {annotation.__name__}()")
    chosen = [each for each in annotations if isinstance(each, Avro)]
    digits = [each for each in annotations if isinstance(each, Digits)]
    if len(chosen) > 1 or len(digits) > 1:
        raise TypeError(f"{place} is annotated with {(chosen if len(chosen) > 1 else digits)[1]!r} besides another one")
    others = tuple(each for each in annotations if not isinstance(each, Avro))
    return Annotation(_type_of(place, kind, chosen[0] if chosen else None, digits, within), is_nullable, others)


def _unwrap(place: str, hint: Any) -> tuple[Any, bool, tuple[Any, ...]]:
    """Split an annotation into a type, whether it may be None, and what stands beside it."""
    if get_origin(hint) is Annotated:
        inner, *beside = get_args(hint)
        kind, is_nullable, annotations = _unwrap(place, inner)
        return kind, is_nullable, (*annotations, *beside)
    if get_origin(hint) in (Union, UnionType):
        branches = [branch for branch in get_args(hint) if branch is not NoneType]
        if len(branches) != 1:
            raise _unsupported(place, hint)
        kind, _, annotations = _unwrap(place, branches[0])
        return kind, True, annotations
    return hint, False, ()


def _type_of(place: str, kind: Any, avro: Avro | None, digits: list[Digits], within: tuple[type, ...]) -> Type:
    if get_origin(kind) in (list, dict) or is_record(kind):
        if avro:
            raise TypeError(f"{place} is annotated with {avro!r}, which does not apply to {_show(kind)}")
        return _nested_type(place, kind, within)
    # bool is a subclass of int, and datetime of date: only enums may be subclasses.
    python = StrEnum if isinstance(kind, type) and issubclass(kind, StrEnum) else kind
    if python not in _CHOICES:
        raise _unsupported(place, kind)
    choice = _choose(place, _CHOICES[python], avro, kind)
    size = avro.size if avro else 0
    # The size of a UUID need not be written.
    if choice.base == "fixed" and choice.kind == "uuid" and size in (0, _UUID_BYTES):
        size = _UUID_BYTES
    elif choice.base == "fixed" and (choice.kind == "uuid" or size < 1):
        raise TypeError(f'{place} is a fixed of {size} bytes: write Avro("fixed", {_UUID_BYTES}), with its size')
    elif choice.base != "fixed" and size:
        raise TypeError(f"{place} is annotated with {avro!r}, but only a fixed has a size")
    if python is StrEnum:
        symbols = [str(member.value) for member in kind]
        if not symbols:
            raise TypeError(f"{place} has the type {kind.__name__}, which has no members")
        if wrong := [symbol for symbol in symbols if not _is_avro_name(symbol)]:
            raise TypeError(f"{place} has the symbol {wrong[0]!r}, which Avro does not allow: use letters and digits")
    if python is not Decimal:
        return Type(choice.kind, choice.base, kind, choice.postgres, size)
    if not digits:
        raise TypeError(f"{place} is a decimal without a size: annotate it with Digits(precision, scale)")
    return _decimal_type(place, digits[0], choice, size)


def _decimal_type(place: str, digits: Digits, choice: _Choice, size: int) -> Type:
    precision, scale = digits.precision, digits.scale
    if not 0 < precision <= _MAX_PRECISION or not 0 <= scale <= precision:
        raise TypeError(
            f"{place} has {digits!r}: a precision is from 1 to {_MAX_PRECISION}, a scale from 0 to the precision"
        )
    # One bit is for the sign.
    if choice.base == "fixed" and 10**precision > 1 << 8 * size - 1:
        raise TypeError(f"{place} has {digits!r}, of which a fixed of {size} bytes does not hold all numbers")
    return Type("decimal", choice.base, Decimal, f"numeric({precision}, {scale})", size, precision, scale)


def _nested_type(place: str, kind: Any, within: tuple[type, ...]) -> Type:
    if is_record(kind):
        # The types are built at once, and would never end.
        if kind in within:
            raise TypeError(f"{place} has the type {kind.__name__}, which holds itself")
        hints = get_type_hints(kind, include_extras=True)
        defaults = kind._field_defaults
        members = tuple(
            _read_member(f"{place}.{name}", name, hint, (*within, kind), defaults.get(name, REQUIRED))
            for name, hint in hints.items()
        )
        if not members:
            raise TypeError(f"{place} has the type {kind.__name__}, which has no fields")
        return Type("record", "record", kind, "jsonb", members=members)
    *keys, item = get_args(kind)
    if get_origin(kind) is dict and keys != [str]:
        raise TypeError(f"{place} has the type {kind}, but the keys of a map are strings: use dict[str, ...]")
    member = _read_member(f"{place}[]", "", item, within, REQUIRED)
    name, python = ("array", list) if get_origin(kind) is list else ("map", dict)
    return Type(name, name, python, "jsonb", members=(member,))


def _read_member(place: str, name: str, hint: Any, within: tuple[type, ...], default: Any) -> Member:
    found = read_annotation(place, hint, within)
    for annotation in found.others:
        if not isinstance(annotation, Digits) or found.type.kind != "decimal":
            raise TypeError(
                f"{place} is annotated with {annotation!r}, but a value within a list, dict or record has only a type: "
                "PostgreSQL does not check it; use a rule in Python instead"
            )
    if name:
        check_name(place, name)
    return Member(name, found.type, found.is_nullable, default)


def is_record(kind: Any) -> bool:
    """Return whether a type is a `NamedTuple`."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_field_defaults")


def check_name(place: str, name: str) -> None:
    """Raise a `TypeError` for a name that Avro does not allow."""
    if not _is_avro_name(name):
        raise TypeError(f"{place} is not a name in Avro: use ASCII letters, digits and underscores")


def show_member(member: Member) -> str:
    """Return a member's type as in the declaration, such as `Leg | None`."""
    return f"{member.type} | None" if member.is_nullable else str(member.type)


def _choose(place: str, choices: tuple[_Choice, ...], avro: Avro | None, kind: type) -> _Choice:
    if avro is None:
        return choices[0]
    for choice in choices:
        # "fixed" names a choice by its base. "long" does not: it holds all times and timestamps.
        if avro.name in (choice.kind, choice.base) and (choice.base != "long" or avro.name == choice.kind):
            return choice
    names = dict.fromkeys(each.base if each.kind in ("decimal", "uuid") else each.kind for each in choices)
    raise TypeError(
        f"{place} is annotated with {avro!r}, which is not an Avro type of {kind.__name__}: use {', '.join(names)}"
    )


def _unsupported(place: str, kind: Any) -> TypeError:
    names = _names((*_CHOICES, list, dict))
    return TypeError(f"{place} has the type {_show(kind)}, which is not supported: use one of {names}, NamedTuple")


def _show(kind: Any) -> str:
    return kind.__name__ if is_record(kind) else str(kind)


def _names(types: Iterable[type]) -> str:
    return ", ".join(each.__name__ for each in types)
