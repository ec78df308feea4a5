"""
Comparison of the declaration of a trade with what is history: the schema and the revisions.

The table and its CHECKs are derived from the declaration. `field_descriptions`
converts each description to the same form, so that they can be compared, and so
that a test can change one and expect a message.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple


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
    """
    Table trades after the revision that the current schema version requires.

    `view` has the columns of the view current_trades.
    """

    name: str
    columns: Mapping[str, Field]
    checks: frozenset[str]
    view: tuple[str, ...]


class Places(NamedTuple):
    """
    The descriptions of a trade.

    `view` has the columns that the view current_trades should have.
    """

    schema: Mapping[str, Field]
    trade: Mapping[str, Field]
    table: Mapping[str, Field]
    checks: frozenset[str]
    view: tuple[str, ...]
    revision: Revision


def mismatches(places: Places) -> list[str]:
    """Return a message, with the fix, for each difference between two descriptions."""
    return [
        *_of_schema_and_trade(places.schema, places.trade),
        *_of_table_and_revision(places.table, places.revision),
        *_of_checks_and_revision(places.checks, places.revision),
        *_of_view_and_revision(places.view, places.revision),
    ]


def _of_schema_and_trade(schema: Mapping[str, Field], trade: Mapping[str, Field]) -> Iterator[str]:
    for name in sorted(schema.keys() - trade.keys()):
        yield (
            f"the current schema has a field {name}, Trade has not: add `{name}` with the schema's default to Trade in "
            "trade/model.py; a build that reads the field without keeping it loses it"
        )
    for name in sorted(trade.keys() - schema.keys()):
        yield (
            f"Trade has a field {name}, the current schema has not: release it with `tradepipe migrate draft`, then "
            "`tradepipe schema freeze`; no producer can send it otherwise"
        )
    for name in sorted(schema.keys() & trade.keys()):
        if schema[name] != trade[name]:
            yield (
                f"field {name} is {_show(schema[name])} in the current schema, but {_show(trade[name])} in Trade: "
                "correct trade/model.py, or release a next version with `tradepipe schema freeze`"
            )
    if list(schema) != list(trade) and schema.keys() == trade.keys():
        yield f"Trade orders its fields {', '.join(trade)}, the schema {', '.join(schema)}: reorder Trade"


def _of_table_and_revision(table: Mapping[str, Field], revision: Revision) -> Iterator[str]:
    for name in sorted(table.keys() - revision.columns.keys()):
        yield (
            f"no revision up to {revision.name} makes the column {name}: write it with `tradepipe migrate draft`, "
            "before `tradepipe schema freeze`"
        )
    for name in sorted(revision.columns.keys() - table.keys()):
        yield (
            f"the revisions up to {revision.name} make a column {name} that Trade lacks: "
            "declare it in trade/model.py, or drop it with `tradepipe migrate draft`"
        )
    for name in sorted(table.keys() & revision.columns.keys()):
        if table[name] != revision.columns[name]:
            yield (
                f"the column {name} is {_show(revision.columns[name])} after {revision.name}, but {_show(table[name])} "
                "by trade/model.py: write a revision that alters it with `tradepipe migrate draft`"
            )


def _of_checks_and_revision(checks: frozenset[str], revision: Revision) -> Iterator[str]:
    for code in sorted(checks - revision.checks):
        yield (f"no revision up to {revision.name} adds the CHECK {code}: write it with `tradepipe migrate draft`")
    for code in sorted(revision.checks - checks):
        yield (
            f"the revisions up to {revision.name} add a CHECK {code}, which no constraint in trade/model.py needs: "
            "restore the constraint, or drop the CHECK with `tradepipe migrate draft`"
        )


def _of_view_and_revision(view: tuple[str, ...], revision: Revision) -> Iterator[str]:
    for name in view:
        if name not in revision.view:
            yield (
                f"the view current_trades lacks the column {name} after {revision.name}: write a revision with "
                "`tradepipe migrate draft`"
            )
    for name in revision.view:
        if name not in view:
            yield f"the view current_trades has a column {name} after {revision.name} that postgres/tables.py lacks"
    if set(view) == set(revision.view) and view != revision.view:
        yield (
            f"the view current_trades has the columns {', '.join(revision.view)} after {revision.name}, but "
            f"{', '.join(view)} in postgres/tables.py: use one order"
        )


def _show(field: Field) -> str:
    null = "may be null" if field.nullable else "never null"
    return f"{field.type} ({null}, {'no default' if field.default is None else f'default {field.default}'})"
