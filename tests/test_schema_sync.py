"""Agreement of the declaration of a trade with the schema and the revisions."""

import uuid
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import pytest
from sqlalchemy import Column, Integer, MetaData, Numeric, Table

from tests.field_descriptions import checks_of, of_record, of_schema, of_table, revision_of
from tests.schema_sync import Field, Places, Revision, mismatches
from tradepipe.evolution.history import History, current
from tradepipe.postgres import migrate
from tradepipe.postgres.draft import compare
from tradepipe.postgres.packaged_revisions import required_revision
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import CHECK_NAMES, TRADES, current_trades
from tradepipe.trade.model import Trade

BESIDE = frozenset({"source_topic", "source_partition", "source_offset", "schema_id", "stored_at"})
"""Columns of trades that are not fields: the origin of a row."""


@pytest.fixture(scope="module")
def revision(session_services) -> Iterator[Revision]:
    """Database at the revision that history.json names for the current schema version."""
    entry = History.packaged().entry(current().number)
    name = entry.alembic_revision if entry is not None and entry.alembic_revision else required_revision()
    server = session_services.postgres.start()
    database = f"test_{uuid.uuid4().hex}"
    url = server.create_database(database)
    migrate.upgrade(url)
    if name != required_revision():
        migrate.downgrade(url, name)
    with create_engine_for(url, application_name="test").connect() as connection:
        yield revision_of(connection, name, BESIDE)
    server.drop_database(database)


@pytest.fixture(scope="module")
def places(revision) -> Places:
    """The descriptions of the working tree."""
    return Places(
        of_schema(current().schema),
        of_record(Trade),
        of_table(TRADES, Trade._fields),
        checks_of(TRADES),
        tuple(column.name for column in current_trades().selected_columns),
        revision,
    )


def test_all_descriptions_agree(places):
    assert [] == mismatches(places)


def test_the_revisions_make_everything_that_the_declaration_needs(services):
    """Conditions of CHECKs, the primary key and the view too, of which the descriptions have the names alone."""
    server = services.postgres.start()
    database = f"test_{uuid.uuid4().hex}"
    difference = compare(server.create_database(database))
    server.drop_database(database)

    assert difference is None, f"the revisions lack {difference.name}: write it with `tradepipe migrate draft`"


def test_no_description_is_empty(places):
    """An empty description would agree with every other one."""
    fields = len(Trade._fields)

    assert {fields} == {len(each) for each in (places.schema, places.trade, places.table, places.revision.columns)}
    assert {len(CHECK_NAMES)} == {len(each) for each in (places.checks, places.revision.checks)}


def without(description, name):
    kept = {key: value for key, value in dict.fromkeys(description).items() if key != name}
    return frozenset(kept) if isinstance(description, frozenset) else {key: description[key] for key in kept}


def changed(description, name, **attributes):
    return {**description, name: description[name]._replace(**attributes)}


VENUE = Field("string", True, "null")
COLUMN = VENUE._replace(type="text")

ONE_FORGOTTEN = {
    "a field of the schema alone": (
        lambda it: it._replace(schema=it.schema | {"venue": VENUE}),
        "the current schema has a field venue, Trade has not: add `venue` with the schema's default to Trade",
    ),
    "a field of Trade alone": (
        lambda it: it._replace(schema=without(it.schema, "side")),
        "Trade has a field side, the current schema has not: release it with `tradepipe migrate draft`, then",
    ),
    "another scale": (
        lambda it: it._replace(schema=changed(it.schema, "notional", type="decimal(18,2)")),
        "field notional is decimal(18,2) (may be null, default null) in the current schema, but decimal(18,4)",
    ),
    "other symbols": (
        lambda it: it._replace(schema=changed(it.schema, "side", type="enum of UNKNOWN, BUY, SELL, CROSS")),
        "field side is enum of UNKNOWN, BUY, SELL, CROSS (never null, default UNKNOWN) in the current schema, but enum "
        "of UNKNOWN, BUY, SELL (",
    ),
    "another default": (
        lambda it: it._replace(trade=changed(it.trade, "side", default="BUY")),
        "default UNKNOWN) in the current schema, but enum of UNKNOWN, BUY, SELL (never null, default BUY) in Trade",
    ),
    "null in the schema alone": (
        lambda it: it._replace(schema=changed(it.schema, "book_id", nullable=True)),
        "field book_id is string (may be null, no default) in the current schema, but string (never null, no default)",
    ),
    "another order": (
        lambda it: it._replace(trade=dict(reversed(it.trade.items()))),
        "Trade orders its fields currency, notional, side,",
    ),
    "a column without a revision": (
        lambda it: it._replace(table=it.table | {"venue": COLUMN}),
        "no revision up to REVISION makes the column venue: write it with `tradepipe migrate draft`",
    ),
    "a column of the revisions alone": (
        lambda it: it._replace(revision=it.revision._replace(columns=it.revision.columns | {"venue": COLUMN})),
        "the revisions up to REVISION make a column venue that Trade lacks",
    ),
    "a column altered without a revision": (
        lambda it: it._replace(
            revision=it.revision._replace(columns=changed(it.revision.columns, "notional", type="numeric(18,2)"))
        ),
        "the column notional is numeric(18,2) (may be null, default null) after REVISION, but numeric(18,4)",
    ),
    "a CHECK without a revision": (
        lambda it: it._replace(revision=it.revision._replace(checks=without(it.revision.checks, "NOTIONAL"))),
        "no revision up to REVISION adds the CHECK NOTIONAL: write it with `tradepipe migrate draft`",
    ),
    "a CHECK of the revisions alone": (
        lambda it: it._replace(revision=it.revision._replace(checks=it.revision.checks | {"VENUE"})),
        "the revisions up to REVISION add a CHECK VENUE, which no constraint in trade/model.py needs",
    ),
    "a view without a new column": (
        lambda it: it._replace(revision=it.revision._replace(view=it.revision.view[:-1])),
        "the view current_trades lacks the column LAST after REVISION: write a revision with `tradepipe migrate draft`",
    ),
    "a column of the view alone": (
        lambda it: it._replace(view=it.view[:-1]),
        "the view current_trades has a column LAST after REVISION that postgres/tables.py lacks",
    ),
    "a view in another order": (
        lambda it: it._replace(view=it.view[::-1]),
        "use one order",
    ),
}


@pytest.mark.parametrize(("forget", "expected"), ONE_FORGOTTEN.values(), ids=ONE_FORGOTTEN)
def test_an_omission_in_one_description_is_reported(places, forget, expected):
    found = mismatches(forget(places))

    expected = expected.replace("REVISION", places.revision.name).replace("LAST", places.view[-1])
    assert any(expected in sentence for sentence in found), found


def test_a_new_field_missing_from_one_description_is_one_message(places):
    """The message is the next step, not one of a dozen."""
    everywhere = Places(
        places.schema | {"venue": VENUE},
        places.trade | {"venue": VENUE},
        places.table | {"venue": COLUMN},
        places.checks | {"VENUE"},
        (*places.view, "venue"),
        places.revision._replace(
            columns=places.revision.columns | {"venue": COLUMN}, view=(*places.revision.view, "venue")
        ),
    )

    assert [f"no revision up to {places.revision.name} adds the CHECK VENUE"] == [
        sentence.partition(":")[0] for sentence in mismatches(everywhere)
    ]


class Way(StrEnum):
    UP = "UP"
    DOWN = "DOWN"


class Other(NamedTuple):
    name: str
    price: Decimal
    way: Way = Way.UP
    note: str | None = None


def test_a_description_has_types_nulls_and_defaults():
    way = {"type": "enum", "name": "Way", "symbols": ["UP", "DOWN"]}
    price = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}
    schema = {
        "fields": [
            {"name": "name", "type": "string"},
            {"name": "price", "type": price},
            {"name": "way", "type": way, "default": "UP"},
            {"name": "note", "type": ["null", "string"], "default": None},
        ]
    }

    assert of_schema(schema) == of_record(Other)
    assert Field("enum of UP, DOWN", False, "UP") == of_record(Other)["way"]


def test_a_column_has_its_type_null_and_default():
    table = Table(
        "t",
        MetaData(),
        Column("a", Numeric(9, 2)),
        Column("b", Integer, nullable=False, server_default="7"),
        Column("c", Integer),
    )

    described = of_table(table, ("a", "b"))

    assert {"a": Field("numeric(9,2)", True, "null"), "b": Field("integer", False, "7")} == described
