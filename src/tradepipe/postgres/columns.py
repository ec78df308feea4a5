"""Columns and CHECKs of a declaration: the type, the default and the conditions of each field in PostgreSQL."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    Numeric,
    Text,
    Time,
    Uuid,
    cast,
    text,
)
from sqlalchemy import Column as TableColumn
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from tradepipe.trade.constraints import Column, Together, to_sql
from tradepipe.trade.declaration import REQUIRED, Declaration, Field
from tradepipe.trade.json_values import from_json, to_json
from tradepipe.trade.type_checks import MAX_NANOS, MIN_NANOS
from tradepipe.trade.types import Type

ORDERED_TEXT: Final = Text(collation="C")
"""Text compared by bytes: the index of the primary key needs no locale."""

quote: Final = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]  # as of SQLAlchemy
"""Returns a name in SQL, in double quotes if it is a keyword or has capitals."""


class Single(TypeDecorator[float]):
    """Single precision, read as the double of the same number: psycopg2 would read its shortest text."""

    impl = REAL
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast(column, Double)


class Nested(TypeDecorator[Any]):
    """jsonb of a list, map or record, read as the value of its type with exact numbers."""

    impl = JSONB
    cache_ok = True

    def __init__(self, type_: Type) -> None:
        super().__init__()
        self.type_ = type_

    def bind_processor(self, dialect: Dialect) -> Any:
        return lambda value: None if value is None else to_json(self.type_, value)

    def bind_expression(self, bindparam: Any) -> ColumnElement[Any]:
        return cast(bindparam, JSONB)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        # As text: psycopg2 would read its numbers as floats.
        return cast(column, _AsText(self.type_))


class _AsText(TypeDecorator[Any]):
    """The text of jsonb on its way from the database."""

    impl = Text
    cache_ok = True

    def __init__(self, type_: Type) -> None:
        super().__init__()
        self.type_ = type_

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        return None if value is None else from_json(self.type_, value)


_COLUMN_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    "boolean": Boolean(),
    "integer": Integer(),
    "bigint": BigInteger(),
    "real": Single(),
    "double precision": Double(),
    "text": ORDERED_TEXT,
    "bytea": LargeBinary(),
    "uuid": Uuid(),
    "date": Date(),
    "time": Time(),
    "timestamp": DateTime(),
    "timestamptz": DateTime(timezone=True),
}
"""Column types by the type of a declared field; numeric has a size, and jsonb its members."""


def column_of(field: Field) -> TableColumn[Any]:
    """Return the column of a field."""
    value, default = field.default, None
    if value is not REQUIRED and value is not None:
        # A literal that PostgreSQL reads by the type of the column.
        if field.type.is_nested:
            shown = to_json(field.type, value)
        elif isinstance(value, bool):
            shown = str(value).lower()
        elif isinstance(value, bytes):
            shown = f"\\x{value.hex()}"
        else:
            shown = value.isoformat() if isinstance(value, (date, time)) else str(value)
        # A colon would begin the name of a parameter.
        default = text("'{}'".format(shown.replace("'", "''").replace(":", r"\:")))
    return TableColumn(field.name, column_type(field.type), nullable=field.is_nullable, server_default=default)


def column_type(type_: Type) -> TypeEngine[Any]:
    """Return the column type of a type."""
    if type_.is_nested:
        return Nested(type_)
    return Numeric(type_.precision, type_.scale) if type_.kind == "decimal" else _COLUMN_TYPES[type_.postgres]


def require_free_names(declaration: Declaration, taken: Iterable[str]) -> None:
    """Raise a TypeError, with what to change, if a field has the name of another column."""
    if clash := sorted(set(taken) & declaration.types.keys()):
        place = f"{declaration.record.__name__}.{clash[0]}"
        raise TypeError(f"{place} has the name of a column that tradepipe fills: choose another name")


def checks_of(declaration: Declaration) -> dict[str, str]:
    """Return the conditions of each field that has constraints or rules, by the field's code."""
    columns = {field.name: Column(quote(field.name), field.type.postgres) for field in declaration.fields}
    found = {}
    for field in declaration.fields:
        rules = list(declaration.rules_of(field.name))
        # A CHECK that evaluates to NULL passes, so a rule about NULL comes first.
        first = [rule.to_sql(columns) for rule in rules if isinstance(rule, Together)]
        last = [rule.to_sql(columns) for rule in rules if not isinstance(rule, Together)]
        name = columns[field.name].name
        own = [to_sql(constraint, name) for constraint in field.constraints]
        own += [condition.format(name) for condition in _conditions_of_type(field.type)]
        if own and first and field.is_nullable:
            own = [f"({name} IS NULL OR {' AND '.join(own)})"]
        if conditions := first + own + last:
            found[field.code] = " AND ".join(conditions)
    return found


def _conditions_of_type(type_: Type) -> Iterator[str]:
    """Yield what PostgreSQL's type allows and the declared one does not."""
    if type_.postgres in _RANGES:
        yield _RANGES[type_.postgres]
    if type_.kind == "fixed":
        yield f"octet_length({{0}}) = {type_.size}"
    if type_.is_nested:
        yield f"jsonb_typeof({{0}}) = '{'array' if type_.kind == 'array' else 'object'}'"
    if type_.kind.endswith("-millis"):
        yield "mod(extract(microseconds FROM {0})::integer, 1000) = 0"
    if type_.kind.endswith("-nanos"):
        zone = "+00" if type_.postgres == "timestamptz" else ""
        first, last = (datetime(1970, 1, 1) + timedelta(microseconds=micros) for micros in (MIN_NANOS, MAX_NANOS))
        yield f"{{0}} >= '{first}{zone}' AND {{0}} <= '{last}{zone}'"


_FINITE: Final = "{0} > '-Infinity' AND {0} < 'Infinity'"
_RANGES: Final[Mapping[str, str]] = {
    "real": _FINITE,
    "double precision": _FINITE,
    "date": "{0} <= DATE '9999-12-31' AND {0} >= DATE '0001-01-01'",
    "time": "{0} < TIME '24:00:00'",
    "timestamp": "{0} >= TIMESTAMP '0001-01-01 00:00:00' AND {0} < TIMESTAMP '10000-01-01 00:00:00'",
    "timestamptz": "{0} >= TIMESTAMPTZ '0001-01-01 00:00:00+00' AND {0} < TIMESTAMPTZ '10000-01-01 00:00:00+00'",
}
"""The values that Python has too, for types of which PostgreSQL has more."""
