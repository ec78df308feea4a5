"""Strategies of declarations, and of records that may break their constraints and rules."""

import string
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import count
from typing import Annotated, Any, NamedTuple, get_type_hints
from uuid import UUID

from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st

from tests.trade.all_types import member_values, values
from tradepipe.trade.constraints import Digits, Identifier, Key, NotBefore, PartitionKey, Pattern, Rule, Together
from tradepipe.trade.declaration import Declaration, Field, declare
from tradepipe.trade.types import Avro, Member, read_annotation

PATTERNS = (
    "[A-Z]{3}",
    "[^a-f]*",
    "a|bc",
    "a:b|[:z]",
    r"\:a",
    "(ab)*c?",
    "[0-9]{2}:[0-9]{2}",
    "x'y",
    r"\$[a-z ]+",
    "",
    r"[!-\[\]-~]+",
)

LEAVES: tuple[Any, ...] = (
    bool,
    int,
    Annotated[int, Avro("long")],
    float,
    Annotated[float, Avro("float")],
    str,
    bytes,
    Annotated[bytes, Avro("fixed", 4)],
    Annotated[Decimal, Digits(18, 4)],
    Annotated[Decimal, Digits(5, 0)],
    Annotated[Decimal, Digits(9, 2), Avro("fixed", 8)],
    UUID,
    Annotated[UUID, Avro("fixed")],
    date,
    time,
    Annotated[time, Avro("time-millis")],
    datetime,
    Annotated[datetime, Avro("timestamp-millis")],
    Annotated[datetime, Avro("timestamp-nanos")],
    Annotated[datetime, Avro("local-timestamp-micros")],
    Annotated[datetime, Avro("local-timestamp-millis")],
    Annotated[datetime, Avro("local-timestamp-nanos")],
)

NAMES = (*string.ascii_lowercase, "type", "len", "order", "user", "is_open", "min", "str", "offset")
_numbers = count()


@st.composite
def annotations(draw: Any, depth: int = 2) -> Any:
    """Draw the annotation of a type that is never None."""
    kind = draw(st.sampled_from(["leaf"] * 6 + ["enum"] + ["list", "dict", "record"] * (depth > 0)))
    if kind == "leaf":
        return draw(st.sampled_from(LEAVES))
    if kind == "enum":
        symbols = ["UNKNOWN", *(f"S{number}" for number in range(draw(st.integers(0, 70))))]
        return StrEnum(f"Enum{next(_numbers)}", {symbol: symbol for symbol in symbols})
    inner = draw(annotations(depth - 1))
    inner = draw(st.sampled_from([inner, inner | None]))
    if kind == "record":
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        hints = [(name, draw(annotations(depth - 1))) for name in names[1:]]
        return _with_defaults(draw, NamedTuple(f"Record{next(_numbers)}", [(names[0], inner), *hints]))
    return list[inner] if kind == "list" else dict[str, inner]  # type: ignore[valid-type]  # drawn


def _bounds(*limits: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([bound(limit) for bound in (Ge, Gt, Le, Lt) for limit in limits])


_DAY = date(2025, 6, 1)
_NOON = datetime(2025, 6, 1, 12)
_CONSTRAINTS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from([Identifier(), *map(Pattern, PATTERNS)]),
    "int": _bounds(0, -1, 5),
    "long": _bounds(0, -(2**40), 2**40),
    "float": _bounds(0, 0.5, -1.25),
    "double": _bounds(0, 0.1, -1e-300),
    "decimal": _bounds(0, 100, -5, Decimal("1.5")),
    "date": _bounds(_DAY),
    "time-micros": _bounds(time(12)),
    "time-millis": _bounds(time(12, 30, 0, 1_000)),
    **{f"timestamp-{unit}": _bounds(_NOON.replace(tzinfo=UTC)) for unit in ("millis", "micros", "nanos")},
    **{f"local-timestamp-{unit}": _bounds(_NOON) for unit in ("millis", "micros", "nanos")},
}


@st.composite
def declarations(draw: Any, depth: int = 2) -> Declaration:
    """Draw a declaration: fields of any types, constraints that fit them, and rules between them."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True))
    hints = [("id", Annotated[str, Key(), PartitionKey()])]
    for name in names:
        hint = draw(annotations(depth))
        kind = declare(_record([*hints[:1], (name, hint)])).fields[1].type.kind
        if kind in _CONSTRAINTS and draw(st.booleans()):
            hint = Annotated[hint, draw(_CONSTRAINTS[kind])]
        hints.append((name, hint | None if draw(st.booleans()) else hint))
    plain = declare(_with_defaults(draw, _record(hints)))
    return declare(plain.record, draw(_rules(plain)))


def _with_defaults(draw: Any, record: Any) -> Any:
    """Give some fields a default; each is valid for its type, and for no more: constraints are not known here."""
    for name, hint in get_type_hints(record, include_extras=True).items():
        found = read_annotation(name, hint)
        if not all(isinstance(each, Digits) for each in found.others) or not draw(st.booleans()):
            continue
        member = Member(name, found.type, found.is_nullable)
        record._field_defaults[name] = None if found.is_nullable else draw(member_values(member))
    return record


def _record(hints: list[tuple[str, Any]]) -> Any:
    return NamedTuple("Drawn", hints)  # type: ignore[misc]  # drawn


@st.composite
def _rules(draw: Any, plain: Declaration) -> list[Rule]:
    rules: list[Rule] = []
    nullable = [field.name for field in plain.fields if field.is_nullable]
    if len(nullable) > 1 and draw(st.booleans()):
        rules.append(Together(*draw(st.lists(st.sampled_from(nullable), min_size=2, max_size=3, unique=True))))
    moments = {field.name: _moment(field) for field in plain.fields if _moment(field)}
    pairs = [
        (one, other)
        for one in moments
        for other in moments
        if one != other and (moments[one] == moments[other] or moments[one] == "date")
    ]
    if pairs and draw(st.booleans()):
        rules.append(NotBefore(*draw(st.sampled_from(pairs))))
    return rules


def _moment(field: Field) -> str:
    name = field.type.kind.rpartition("-")[0] or field.type.kind
    return name if name in ("date", "timestamp", "local-timestamp") else ""


def records(declaration: Declaration, wrong: Callable[[Field], st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Strategy of records with values of the declared types, or wrong ones, often near the limits."""
    fields = [near(field) | member_values(field.member) | wrong(field) for field in declaration.fields]
    return st.tuples(*fields).map(lambda found: declaration.record(*found))


def near(field: Field) -> st.SearchStrategy[Any]:
    """Strategy of values near the limits of the drawn constraints."""
    kind = field.type.kind
    if kind.startswith("timestamp"):
        return st.sampled_from([moment.replace(tzinfo=UTC) for moment in _MOMENTS])
    if kind.startswith("local-timestamp"):
        return st.sampled_from(_MOMENTS)
    return st.sampled_from(_NEAR[kind]) if kind in _NEAR else values(field.type)


_MOMENTS = [_NOON + timedelta(hours=hours) for hours in (-12, -13, 0, 1, 12)]
_INTS = [0, -1, 1, 5, 6, 2**31 - 1]
_FLOATS = [0.0, -0.0, 0.5, -1.25, 0.25]
_TIMES = [time(12), time(11, 59, 59), time(12, 30, 0, 1_000), time.min]
_NEAR: dict[str, list[Any]] = {
    "string": ["", "a", "bc", "abc", "ababc", "EUR", "12:30", "x'y", "$a b", "é", "x" * 65, "a\n", " "],
    "int": _INTS,
    "long": [*_INTS, -(2**40), 2**40 + 1],
    "float": _FLOATS,
    "double": [*_FLOATS, 0.1, -1e-300, 5e-324],
    "decimal": [Decimal(text) for text in ("0", "100", "-5", "-6", "99")],
    "date": [_DAY, _DAY + timedelta(1), _DAY - timedelta(1), date.min, date.max],
    "time-micros": _TIMES,
    "time-millis": _TIMES,
}
