"""The page of a valid trade: fields, violation codes, tables, generated from their declarations."""

from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from sqlalchemy import Column, Table  # noqa: TID251 - reads the declared tables
from sqlalchemy.dialects import postgresql  # noqa: TID251 - the same

from tradepipe.evolution.history import current
from tradepipe.postgres.tables import SINK_OFFSETS, TRADE_REFUSALS, TRADES, current_trades
from tradepipe.trade.constraints import Digits, Identifier, NotBefore, Pattern, Together, limit_of, operator_of
from tradepipe.trade.declaration import Field
from tradepipe.trade.model import DECLARATION, KAFKA_KEY, PRIMARY_KEY
from tradepipe.trade.record import Code

Row = tuple[str, ...]

INTRODUCTION = """\
# A valid trade

The fields of a trade, the reasons for which a record is refused, and the tables.
{note}

The Avro schema is version {version}: `tradepipe schema show` prints it. `{key}` is the key of the Kafka record, and
({primary_key}) identifies a version of a trade: another trade with the same values is a duplicate if its other fields
are equal, otherwise a collision. `violations(trade)` returns what is wrong with a trade; validators, sinks and the
`CHECK` constraints of the table apply the same rules.

## Fields
"""

CODES = """\
## Violation codes

A refused record has one or more codes, each with a sentence that contains the wrong value. The code of a field is its
name in capitals, such as `VERSION`: its value does not have the field's type, or breaks one of the limits above. The
table `trades` has `CHECK` constraints of the same names, one for each field with limits. Other codes concern
the record:
"""

RULES = """\
Your own rules have codes of their own: [operating.md](operating.md#what-is-refused).
"""

TABLES = """\
## Tables

The tables are in the database schema of the connection; `tradepipe_revision` holds Alembic's revision.
"""


def trade_page(note: str, table: Any) -> str:
    """Return the page; `table` formats a heading and rows."""
    schema = current().schema
    introduction = INTRODUCTION.format(
        note=note, version=current().number, key=KAFKA_KEY, primary_key=", ".join(PRIMARY_KEY)
    )
    written = {field["name"]: field for field in schema["fields"]}
    fields = [_field(field, written[field.name]) for field in DECLARATION.fields]
    return "\n".join(
        [
            introduction,
            table(("field", "in Avro", "in Python", "in PostgreSQL", "default", "limits", "meaning"), fields),
            CODES,
            table(("code", "meaning"), [(f"`{code}`", code.meaning) for code in Code]),
            RULES,
            TABLES,
            *(_table_section(each, table) for each in (TRADES, TRADE_REFUSALS, SINK_OFFSETS)),
            _view_section(),
        ]
    )


def _field(field: Field, written: Mapping[str, Any]) -> Row:
    default = f"`{written['default']}`".replace("None", "null") if "default" in written else "required"
    return (
        f"`{field.name}`",
        _avro_type(written["type"]),
        str(field.type) + (" or None" if field.is_nullable else ""),
        _sql_type(TRADES.columns[field.name]),
        default,
        "; ".join(_limits(field)),
        written.get("doc", ""),
    )


def _limits(field: Field) -> Iterator[str]:
    """Yield the limits of a field, in words."""
    for constraint in field.constraints:
        match constraint:
            case Identifier():
                yield "1 to 64 ASCII characters from `!` to `~`, without backslash"
            case Pattern(expression, description):
                yield description or f"matches `{expression}`"
            case Digits(precision, scale):
                yield f"at most {precision - scale} digits before the decimal point and {scale} after it"
            case _:
                yield f"{operator_of(constraint)} {limit_of(constraint)}"
    if field.type.kind == "int":
        yield "<= 2147483647"
    if field.type.postgres == "timestamptz":
        yield "with a time zone; in the years 1 to 9999 in UTC"
    for rule in DECLARATION.rules_of(field.name):
        match rule:
            case NotBefore(_, reference):
                yield f"not before the UTC date of {reference}"
            case Together(fields):
                yield f"{' and '.join(fields)} are given together, or not at all"


def _avro_type(kind: Any) -> str:
    if isinstance(kind, list):
        return ", ".join(map(_avro_type, kind)) if kind[0] != "null" else f"null or {_avro_type(kind[1])}"
    if isinstance(kind, str):
        return kind
    if kind["type"] == "enum":
        return f"enum of {', '.join(kind['symbols'])}"
    if kind["type"] in ("array", "map"):
        return f"{kind['type']} of {_avro_type(kind.get('items', kind.get('values')))}"
    if kind["type"] == "record":
        return f"record {kind['name']} of {', '.join(field['name'] for field in kind['fields'])}"
    size = f"({kind['precision']}, {kind['scale']})" if "precision" in kind else ""
    base = f"fixed({kind['size']})" if kind["type"] == "fixed" else kind["type"]
    return f"{base}, {kind['logicalType']}{size}" if "logicalType" in kind else base


def _sql_type(column: Column[Any]) -> str:
    return str(column.type.compile(dialect=postgresql.dialect())).replace(' COLLATE "C"', "").lower()


def _table_section(table: Table, format_table: Any) -> str:
    key = ", ".join(column.name for column in table.primary_key.columns)
    rows = [
        (
            f"`{column.name}`",
            _sql_type(column),
            "yes" if column.nullable else "",
            _default(column),
            column.doc or "the field of this name",
        )
        for column in table.columns
    ]
    heading = f"### {table.name}\n\nPrimary key: {key}.\n\n"
    return heading + format_table(("column", "type", "null", "default", "meaning"), rows)


def _view_section() -> str:
    columns = ", ".join(f"`{column.name}`" for column in current_trades().selected_columns)
    text = (
        f"A view of the newest version of each trade. Its columns are {columns}; `expired` is true if maturity_date "
        "is before today's date in UTC."
    )
    return f"### current_trades\n\n{fill(text, 120)}\n"


def _default(column: Any) -> str:
    default = getattr(column, "server_default", None)
    return f"`{str(default.arg).replace('CURRENT_TIMESTAMP', 'now()')}`" if default is not None else ""
