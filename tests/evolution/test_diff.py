"""Changes between two schemas."""

import pytest

from tests.evolution.schemas import decimal, enum, field, record, text
from tests.evolution.test_evolution import CHANGES
from tradepipe.evolution.compatibility import Direction
from tradepipe.evolution.diff import Kind, diff_schemas
from tradepipe.evolution.findings import Severity

ID = field("trade_id")


def of(kind, **further):
    return record(ID, field("f", kind, **further))


MESSAGES = {
    "a field": (
        record(ID),
        of("string", default=""),
        [("Trade.f", 'The field was added: string, by default "".')],
    ),
    "no field": (of("string"), record(ID), [("Trade.f", "The field was removed: string.")]),
    "a renamed field": (
        of("string"),
        record(ID, field("g", aliases=["f"])),
        [("Trade.g", "The field was called f.")],
    ),
    "a type": (of("int"), of("long"), [("Trade.f", "The type changed from int to long.")]),
    "null": (of("int"), of(["null", "int"]), [("Trade.f", "The type changed from int to [null, int].")]),
    "a scale in a union": (
        of(["null", decimal(18, 2)]),
        of(["null", decimal(18, 4)]),
        [("Trade.f", "The type changed from decimal(18,2) to decimal(18,4).")],
    ),
    "symbols": (
        of(enum("A", "B", default="A")),
        of(enum("A", "C", "D", default="A")),
        [("Trade.f", "The enum gained the symbols C, D."), ("Trade.f", "The enum lost the symbols B.")],
    ),
    "an enum's default": (
        of(enum("A")),
        of(enum("A", default="A")),
        [("Trade.f", "The enum's default symbol changed from none to A.")],
    ),
    "the order of symbols": (
        of(enum("A", "B")),
        of(enum("B", "A")),
        [("Trade.f", "The symbols are in another order.")],
    ),
    "the order of fields": (
        record(ID, field("f")),
        record(field("f"), ID),
        [("Trade", "The fields are in another order.")],
    ),
    "a default": (
        of("string", default="a"),
        of("string", default="b"),
        [("Trade.f", 'The default changed from "a" to "b".')],
    ),
    "a size": (
        of({"type": "fixed", "name": "F", "size": 2}),
        of({"type": "fixed", "name": "F", "size": 3}),
        [("Trade.f", "The size changed from 2 to 3 bytes.")],
    ),
    "docs": (
        record(ID),
        record(field("trade_id", doc="It."), doc="A trade."),
        [("Trade", "The doc changed."), ("Trade.trade_id", "The doc changed.")],
    ),
    "aliases": (
        of("string"),
        of("string", aliases=["g"]),
        [("Trade.f", "The aliases changed from none to g.")],
    ),
    "a namespace": (
        record(ID),
        record(ID, namespace="desk"),
        [("Trade", "The name changed from Trade to desk.Trade.")],
    ),
    "an order": (
        of("string"),
        of("string", order="ignore"),
        [("Trade.f", "The sort order changed from ascending to ignore.")],
    ),
    "items": (
        of({"type": "array", "items": ["null", "string", record(field("n", "int"), name="Leg")]}),
        of({"type": "array", "items": ["null", "string", record(field("n", "long"), name="Leg")]}),
        [("Trade.f[](Leg).n", "The type changed from int to long.")],
    ),
    "the order of branches": (
        of(["null", "int"], default=None),
        of(["int", "null"], default=0),
        [("Trade.f", "The default changed from null to 0.")],
    ),
    "nothing": (record(ID), record(ID), []),
}


@pytest.mark.parametrize("change", MESSAGES)
def test_each_change_is_described(change):
    old, new, message = MESSAGES[change]

    assert message == [(each.path, each.message) for each in diff_schemas(text(old), text(new))]


def test_every_kind_of_change_has_a_name():
    message = [each.kind for old, new, _ in MESSAGES.values() for each in diff_schemas(text(old), text(new))]

    assert set(Kind) == set(message)


def test_a_change_points_into_the_newer_schema():
    old = record(ID, field("gone"), field("f", "int"), name="Trade")
    new = record(ID, field("f", "long"), field("added", default=""), name="Trade")

    assert [
        (Kind.TYPE, "/fields/1/type"),
        (Kind.FIELD_ADDED, "/fields/2"),
        (Kind.FIELD_REMOVED, ""),
    ] == [(each.kind, each.pointer) for each in diff_schemas(text(old), text(new))]


def test_a_breaking_change_has_findings():
    (change,) = diff_schemas(text(of("long")), text(of("int")))

    assert [(Direction.BACKWARD, "type")] == [(each.direction, each.rule) for each in change.findings]
    assert [Severity.ERROR, None] == [each.severity for each in change.effects]


def test_a_harmless_change_states_its_effect_on_readers():
    (change,) = diff_schemas(text(record(ID)), text(of("string", default="x")))

    assert [
        (Direction.BACKWARD, None, 'Readers fill it with "x".'),
        (Direction.FORWARD, None, "Readers ignore it."),
    ] == list(change.effects)


def test_old_readers_read_the_default_for_an_added_symbol():
    (change,) = diff_schemas(text(of(enum("A", default="A"))), text(of(enum("A", "B", default="A"))))

    assert "Readers read A for these symbols." == change.effects[1].message


@pytest.mark.parametrize("change", CHANGES)
def test_every_error_belongs_to_a_change(change):
    old, new, *expected = CHANGES[change]
    message = [effect for each in diff_schemas(text(old), text(new)) for effect in each.effects]

    for direction, rules in zip(Direction, expected, strict=True):
        errors = [each for each in message if each.direction is direction and each.severity is Severity.ERROR]
        assert len([rule for rule in rules if rule[0] != "~"]) == len(errors)
