"""Conversions to the descriptions that `schema_sync` compares."""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import EnumMeta
from typing import Any, Final, get_args, get_type_hints

from sqlalchemy import CheckConstraint, Connection, Table, text
from sqlalchemy.dialects import postgresql

from tests.amounts import DIGITS, SCALE
from tests.schema_sync import Field, Revision


def of_schema(schema: Mapping[str, Any]) -> dict[str, Field]:
    """Describe the fields of an Avro schema."""
    return {field["name"]: _of_avro(field) for field in schema["fields"]}


def _of_avro(field: Mapping[str, Any]) -> Field:
    branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
    (kind,) = (branch for branch in branches if branch != "null")
    default = None if "default" not in field else "null" if field["default"] is None else str(field["default"])
    return Field(_avro_type(kind), "null" in branches, default)


def _avro_type(kind: str | Mapping[str, Any]) -> str:
    if isinstance(kind, str):
        return kind
    if kind["type"] == "enum":
        return f"enum of {', '.join(kind['symbols'])}"
    if kind["logicalType"] == "decimal":
        return f"decimal({kind['precision']},{kind['scale']})"
    return str(kind["logicalType"])


_PYTHON_TYPES: Final = {
    str: "string",
    int: "int",
    date: "date",
    datetime: "timestamp-micros",
    Decimal: f"decimal({DIGITS},{SCALE})",
}


def of_record(record: Any) -> dict[str, Field]:
    """Describe the fields of a `NamedTuple`."""
    defaults = record._field_defaults
    return {
        name: Field(
            _python_type(kind),
            isinstance(None, kind),
            None if name not in defaults else "null" if defaults[name] is None else str(defaults[name]),
        )
        for name, kind in get_type_hints(record).items()
    }


def _python_type(kind: Any) -> str:
    (kind,) = [each for each in get_args(kind) or (kind,) if each is not type(None)]
    return f"enum of {', '.join(kind)}" if isinstance(kind, EnumMeta) else _PYTHON_TYPES[kind]


def of_table(table: Table, fields: Iterable[str]) -> dict[str, Field]:
    """Describe the columns of a table that hold fields."""
    return {
        name: Field(
            _sql_type(column.type.compile(dialect=postgresql.dialect())),
            bool(column.nullable),
            _sql_default(getattr(column.server_default, "arg", None), column.nullable),
        )
        for name in fields
        if (column := table.columns.get(name)) is not None
    }


def _sql_type(kind: str) -> str:
    return re.sub(r" COLLATE .*", "", kind).lower().replace(", ", ",")


def _sql_default(default: object, nullable: bool | None) -> str | None:
    if default is None:
        return "null" if nullable else None
    return re.sub(r"^'(.*)'(::text)?$", r"\1", str(default))


def checks_of(table: Table) -> frozenset[str]:
    """Return the names of a table's CHECKs."""
    return frozenset(str(each.name) for each in table.constraints if isinstance(each, CheckConstraint))


def revision_of(connection: Connection, name: str, other_columns: frozenset[str]) -> Revision:
    """Describe the table trades at a revision, without the columns in `other_columns`."""
    columns = {
        row.name: Field(row.type, not row.attnotnull, _sql_default(row.default, not row.attnotnull))
        for row in connection.execute(_COLUMNS)
        if row.name not in other_columns
    }
    return Revision(name, columns, frozenset(connection.scalars(_CHECKS)), tuple(connection.scalars(_VIEW)))


_COLUMNS: Final = text(
    """
    SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull,
           pg_get_expr(adbin, adrelid) AS default
      FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
     WHERE attrelid = 'trades'::regclass AND attnum > 0 AND NOT attisdropped
    """
)
_CHECKS: Final = text("SELECT conname FROM pg_constraint WHERE conrelid = 'trades'::regclass AND contype = 'c'")
_VIEW: Final = text(
    "SELECT attname FROM pg_attribute WHERE attrelid = 'current_trades'::regclass AND attnum > 0 ORDER BY attnum"
)
