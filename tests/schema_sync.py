"""
Comparison of the six descriptions of a trade.

They are the schema, `Trade`, the table, its CHECKs, the rules, and the table that
the revisions create. `field_descriptions` converts each to the same form, so that
they can be compared, and so that a test can change one and expect a message.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

WITHOUT_RULE: Final = {"side": "an enum: its type leaves nothing to check"}
"""Fields that need neither a rule nor a CHECK, with the reason."""


class Field(NamedTuple):
    """
    A field of a trade, or its column.

    `type` is in the terms of the description; `default` is None if a value is
    required, and "null" if a missing value is null.
    """

    type: str
    nullable: bool = False
    default: str | None = None


class Revision(NamedTuple):
    """Table trades after the revision that the current schema version requires."""

    name: str
    columns: Mapping[str, Field]
    checks: frozenset[str]


class Places(NamedTuple):
    """The six descriptions of a trade."""

    schema: Mapping[str, Field]
    trade: Mapping[str, Field]
    table: Mapping[str, Field]
    checks: frozenset[str]
    rules: frozenset[str]
    revision: Revision


def mismatches(places: Places) -> list[str]:
    """Return a message, with the fix, for each difference between two descriptions."""
    return [
        *_of_schema_and_trade(places.schema, places.trade),
        *_of_trade_and_table(places.trade, places.table),
        *_of_table_and_revision(places.table, places.revision),
        *_of_rules_and_checks(places),
        *_of_checks_and_revision(places.checks, places.revision),
    ]


def _of_schema_and_trade(schema: Mapping[str, Field], trade: Mapping[str, Field]) -> Iterator[str]:
    for name in sorted(schema.keys() - trade.keys()):
        yield (
            f"the current schema has a field {name}, Trade has not: add `{name}` with the schema's default to Trade in "
            "trade/model.py; a build that reads the field without keeping it loses it"
        )
    for name in sorted(trade.keys() - schema.keys()):
        yield (
            f"Trade has a field {name}, the current schema has not: put it into a new version under schemas/trade, as "
            "`tradepipe schema freeze` does; no producer can send it otherwise"
        )
    for name in sorted(schema.keys() & trade.keys()):
        if schema[name] != trade[name]:
            yield (
                f"field {name} is {_show(schema[name])} in the current schema, but {_show(trade[name])} in Trade: "
                "correct trade/model.py; a released version is never edited"
            )
    if list(schema) != list(trade) and schema.keys() == trade.keys():
        yield f"Trade orders its fields {', '.join(trade)}, the schema {', '.join(schema)}: reorder Trade"


def _of_trade_and_table(trade: Mapping[str, Field], table: Mapping[str, Field]) -> Iterator[str]:
    for name, field in trade.items():
        wanted = field._replace(type=_column_type(field.type))
        if name not in table:
            yield f"the table trades has no column for the field {name}: give its type one in postgres/tables.py"
        elif table[name] != wanted:
            yield (
                f"the column {name} is {_show(table[name])} in postgres/tables.py, where Trade needs {_show(wanted)}: "
                "correct _COLUMN_TYPES there"
            )


def _of_table_and_revision(table: Mapping[str, Field], revision: Revision) -> Iterator[str]:
    for name in sorted(table.keys() - revision.columns.keys()):
        yield (
            f"no revision up to {revision.name} makes the column {name}: write "
            f"migrations/versions/NNNN_pre_add_{name}.py, and name it as the alembic_revision of the current version "
            "in schemas/trade/history.json"
        )
    for name in sorted(revision.columns.keys() - table.keys()):
        yield (
            f"the revisions up to {revision.name} make a column {name} that postgres/tables.py lacks: "
            "add it there, or drop it by a `post_` revision"
        )
    for name in sorted(table.keys() & revision.columns.keys()):
        if table[name] != revision.columns[name]:
            yield (
                f"the column {name} is {_show(revision.columns[name])} after {revision.name}, but {_show(table[name])} "
                "in postgres/tables.py: write a revision that alters it; a released one is never edited"
            )


def _of_rules_and_checks(places: Places) -> Iterator[str]:
    for code in sorted(places.rules - places.checks):
        yield (
            f"the rule {code} has no CHECK: add it to _RULES in postgres/tables.py and to a revision, or what others "
            "write into the table may break it"
        )
    for code in sorted(places.checks - places.rules):
        yield (
            f"the CHECK {code} has no rule: add it to trade/rules.py, or every record that breaks it costs the sink "
            "a search through its batch"
        )
    for name in places.trade.keys() - WITHOUT_RULE.keys():
        if name.upper() not in places.rules | places.checks:
            yield (
                f"the field {name} has neither a rule nor a CHECK: write {name.upper()} in trade/rules.py and "
                "postgres/tables.py, or say in WITHOUT_RULE why it needs none"
            )


def _of_checks_and_revision(checks: frozenset[str], revision: Revision) -> Iterator[str]:
    for code in sorted(checks - revision.checks):
        yield (
            f"no revision up to {revision.name} adds the CHECK {code}: add it in a revision, NOT VALID first and "
            "validated afterwards"
        )
    for code in sorted(revision.checks - checks):
        yield f"the revisions up to {revision.name} add a CHECK {code}, postgres/tables.py does not: add it to _RULES"


def _show(field: Field) -> str:
    null = "may be null" if field.nullable else "never null"
    return f"{field.type} ({null}, {'no default' if field.default is None else f'default {field.default}'})"


_COLUMN_TYPES: Final = {
    "string": "text",
    "int": "integer",
    "date": "date",
    "timestamp-micros": "timestamp with time zone",
    "enum": "text",
    "decimal": "numeric",
}


def _column_type(kind: str) -> str:
    """Return the column type of a schema type."""
    return re.sub(r"^[a-z-]+", lambda found: _COLUMN_TYPES[found[0]], kind.partition(" of ")[0])
