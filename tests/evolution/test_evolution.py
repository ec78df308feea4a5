"""Findings of every kind of change, in both directions."""

import json

import pytest

from tests.evolution.schemas import decimal, enum, field, logical, record, text
from tradepipe.evolution.compatibility import Direction, Level
from tradepipe.evolution.compatibility_rules import (
    RULES,
    VersionedSchema,
    check_evolution,
    structural_incompatibilities,
)
from tradepipe.evolution.findings import Severity

ID = field("trade_id")
F = "f"


def of(kind, **further):
    """Return a record whose field f has the type."""
    return record(ID, field(F, kind, **further))


def renamed(**further):
    return record(ID, field("g", "string", aliases=[F], **further))


MILLIS, MICROS = logical("long", "timestamp-millis"), logical("long", "timestamp-micros")
DATE, LOCAL = logical("int", "date"), logical("long", "local-timestamp-micros")
NESTED = record(field(F, "int"), name="Leg")
V1 = record(ID)
OTHER = record(ID, name="Deal")

# What changes: the old schema, the new one, what keeps new readers from old records, and old readers from new ones.
# A rule with a ~ is a warning. None: the structural check agrees; another level where it must not.
CHANGES = {
    "a field added with a default": (V1, of("string", default=""), [], []),
    "a field added that is null by default": (V1, of(["null", "string"], default=None), [], []),
    "a field added without a default": (V1, of("string"), ["missing-default"], []),
    "a nullable field added without a default": (V1, of(["null", "string"]), ["null-is-no-default"], []),
    "a field with a default removed": (of("string", default=""), V1, [], []),
    "a field without a default removed": (of("string"), V1, [], ["missing-default"]),
    "a field renamed with an alias": (of("string"), renamed(), ["~alias"], ["renamed"]),
    "a field renamed with alias and default": (
        of("string", default="old"),
        renamed(default="new"),
        ["~alias"],
        ["renamed-reads-default"],
    ),
    "a field renamed without an alias": (
        of("string"),
        record(ID, field("g")),
        ["missing-default"],
        ["missing-default"],
    ),
    "a record renamed with its full name as alias": (
        {**OTHER, "namespace": "desk"},
        record(ID, namespace="desk", aliases=["desk.Deal"]),
        ["~name-alias"],
        ["name"],
    ),
    "a record renamed with its short name as alias": (
        {**OTHER, "namespace": "desk"},
        record(ID, namespace="desk", aliases=["Deal"]),
        ["~name-alias"],
        ["name"],
    ),
    "a record renamed without an alias": (OTHER, V1, ["name"], ["name"]),
    "another namespace": (V1, record(ID, namespace="desk"), ["~namespace"], ["~namespace"]),
    "int to long": (of("int"), of("long"), [], ["type"]),
    "long to double": (of("long"), of("double"), [], ["type"]),
    "items from int to long": (
        of({"type": "array", "items": "int"}),
        of({"type": "array", "items": "long"}),
        [],
        ["type"],
    ),
    "int to string": (of("int"), of("string"), ["type"], ["type"]),
    "enum to string": (of(enum("BUY")), of("string"), ["type"], ["type"]),
    "string to bytes": (of("string"), of("bytes"), ["~string-bytes"], ["~string-bytes"]),
    "a symbol added": (of(enum("BUY")), of(enum("BUY", "SELL")), [], ["enum-symbol"]),
    "a symbol added to an enum with a default": (
        of(enum("BUY", default="BUY")),
        of(enum("BUY", "SELL", default="BUY")),
        [],
        [],
    ),
    "a symbol removed": (of(enum("BUY", "SELL")), of(enum("BUY")), ["enum-symbol"], []),
    "a symbol removed from a field with a default": (
        of(enum("BUY", "SELL"), default="BUY"),
        of(enum("BUY"), default="BUY"),
        ["enum-symbol"],
        [],
    ),
    "a symbol removed from an enum with a default": (
        of(enum("BUY", "SELL", default="BUY")),
        of(enum("BUY", default="BUY")),
        ["~symbol-dropped"],
        [],
    ),
    "an enum added with a default, as a field without one": (
        V1,
        of(enum("BUY", default="BUY")),
        ["missing-default"],
        [],
    ),
    "a scale, in bytes": (of(decimal(18, 2)), of(decimal(20, 4)), ["decimal-scale"], ["decimal-scale"]),
    "a scale, in a fixed": (
        of(decimal(18, 2, size=8)),
        of(decimal(18, 4, size=8)),
        ["decimal-scale", "decimal-precision"],
        ["decimal-scale"],
    ),
    "a scale, in a union": (
        of(["null", decimal(20, 2)]),
        of(["null", decimal(22, 4)]),
        ["decimal-scale"],
        ["decimal-scale"],
    ),
    "a wider precision": (of(decimal(18, 2)), of(decimal(28, 2)), [], ["decimal-precision"]),
    "a narrower precision": (of(decimal(28, 2)), of(decimal(18, 2)), ["decimal-precision"], []),
    "a decimal from bytes to fixed": (of(decimal(18, 2)), of(decimal(18, 2, size=8)), ["type"], ["type"]),
    "a fixed of another size": (
        of(decimal(18, 2, size=8)),
        of(decimal(18, 2, size=9)),
        ["fixed-size"],
        ["fixed-size"],
    ),
    "a decimal to a double": (of(decimal(18, 2)), of("double"), ["type"], ["type"]),
    "a decimal to plain bytes": (of(decimal(18, 2)), of("bytes"), ["logical-type"], ["logical-type"]),
    "milliseconds to microseconds": (of(MILLIS), of(MICROS), ["logical-type"], ["logical-type"]),
    "microseconds to a plain long": (of(MICROS), of("long"), ["logical-type"], ["logical-type"]),
    "microseconds to local ones": (of(MICROS), of(LOCAL), ["logical-type"], ["logical-type"]),
    "a date to microseconds": (of(DATE), of(MICROS), ["logical-type"], ["type"]),
    "a date to a plain int": (of(DATE), of("int"), ["logical-type"], ["logical-type"]),
    "a plain int to a date": (of("int"), of(DATE), ["logical-type"], ["logical-type"]),
    "a string to a UUID": (of("string"), of(logical("string", "uuid")), ["uuid"], []),
    "a type made nullable": (of("string"), of(["null", "string"]), [], ["union-branch"]),
    "a type no longer nullable": (of(["null", "string"]), of("string"), ["union-branch"], []),
    "a wider type in a union": (of(["null", "int"]), of(["null", "long"]), [], ["union-branch"]),
    "an alias that is another field": (
        record(ID, field(F)),
        record(field("trade_id", aliases=[F])),
        ["ambiguous-alias"],
        ["renamed"],
    ),
    "an alias that is the field's own name": (
        V1,
        record(field("trade_id", aliases=["trade_id"])),
        ["ambiguous-alias"],
        [],
    ),
    "fields in another order": (of("string"), record(field(F), ID), [], []),
    "symbols in another order": (of(enum("BUY", "SELL")), of(enum("SELL", "BUY")), [], []),
    "branches in another order": (of(["null", "string"]), of(["string", "null"]), [], []),
    "another doc": (V1, record(field("trade_id", doc="Identifies it."), doc="A trade."), [], []),
    "another default": (of("string", default=""), of("string", default="x"), [], []),
    "an unknown logical type added": (
        of("long"),
        of(logical("long", "timestamp-nanos")),
        ["logical-type"],
        ["logical-type"],
    ),
    "a logical type where readers ignore it": (of("long"), of(logical("long", "date")), [], []),
    "a branch removed from a record of two": (
        of([record(ID, name="A"), record(ID, name="B")]),
        of([record(ID, name="A")]),
        ["union-branch"],
        [],
    ),
    "a map's values": (
        of({"type": "map", "values": "string"}),
        of({"type": "map", "values": "long"}),
        ["type"],
        ["type"],
    ),
}


def rules(old, new, direction):
    found = check_evolution(text(new), [VersionedSchema(1, text(old))], Level[direction.name])
    assert {direction} >= {finding.direction for finding in found}
    return sorted(("~" if finding.severity is Severity.WARNING else "") + finding.rule for finding in found)


@pytest.mark.parametrize("change", CHANGES)
def test_new_readers_of_old_records_have_the_expected_findings(change):
    old, new, backward, _ = CHANGES[change]

    assert sorted(backward) == rules(old, new, Direction.BACKWARD)


@pytest.mark.parametrize("change", CHANGES)
def test_old_readers_of_new_records_have_the_expected_findings(change):
    old, new, _, forward = CHANGES[change]

    assert sorted(forward) == rules(old, new, Direction.FORWARD)


NOT_SEEN = {"decimal-scale", "decimal-precision", "logical-type", "uuid", "renamed-reads-default"}
"""Rules that no registry has."""


@pytest.mark.parametrize("direction", Direction, ids=lambda direction: direction.name)
@pytest.mark.parametrize("change", CHANGES)
def test_the_structural_check_agrees_with_java(change, direction):
    """It fails exactly if there is an error that does not concern logical types."""
    old, new, *found = CHANGES[change]
    seen = {rule for rule in found[list(Direction).index(direction)] if rule[0] != "~"} - NOT_SEEN

    history = [VersionedSchema(1, text(old))]
    assert bool(seen) == bool(structural_incompatibilities(text(new), history, Level[direction.name]))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_change_that_breaks_it(rule):
    broken = {found.lstrip("~") for _, _, *both in CHANGES.values() for rules in both for found in rules}

    assert rule in broken


@pytest.mark.parametrize("change", CHANGES)
def test_every_finding_is_complete(change):
    old, new, *_ = CHANGES[change]

    for found in check_evolution(text(new), [VersionedSchema(7, text(old))], Level.FULL):
        assert 7 == found.against
        assert found.message.endswith(".")
        assert found.fix.endswith(".")
        assert "{" not in found.message
        assert found.path.startswith("Trade")
        assert pointed(new, found.pointer) is not None


def pointed(schema, pointer):
    """Resolve a JSON pointer without escapes."""
    for piece in pointer.split("/")[1:]:
        schema = schema[int(piece)] if isinstance(schema, list) else schema[piece]
    return schema


ABSENT, DEFAULT, NO_DEFAULT = V1, of("string", default=""), of("string")
A, B_OF_A = record(field("a", "int")), record(field("b", "int", aliases=["a"]))
HISTORIES = {
    "a field that loses its default": ([ABSENT, DEFAULT], NO_DEFAULT, [1, 0, 1, 1, 1, 0]),
    "two renamings, the first forgotten": ([A, B_OF_A], record(field("c", "int", aliases=["b"])), [1, 0, 0, 0, 0, 0]),
    "two renamings, both message": ([A, B_OF_A], record(field("c", "int", aliases=["b", "a"])), [1, 1, 0, 0, 0, 0]),
    "a field that comes back with another type": (
        [of("int", default=0), V1],
        of("string", default=""),
        [1, 0, 1, 0, 1, 0],
    ),
    "ever wider numbers": ([of("int"), of("long")], of("double"), [1, 1, 0, 0, 0, 0]),
    "fields that may be null": (
        [V1, of(["null", "string"], default=None)],
        record(
            ID,
            field(F, ["null", "string"], default=None),
            field("g", ["null", "int"], default=None),
        ),
        [1, 1, 1, 1, 1, 1],
    ),
}
LEVELS = (
    Level.BACKWARD,
    Level.BACKWARD_TRANSITIVE,
    Level.FORWARD,
    Level.FORWARD_TRANSITIVE,
    Level.FULL,
    Level.FULL_TRANSITIVE,
)


@pytest.mark.parametrize("history", HISTORIES)
def test_each_level_checks_its_versions_and_directions(history):
    versions, new, allowed = HISTORIES[history]
    numbered = [VersionedSchema(number, text(schema)) for number, schema in enumerate(versions, 1)]

    found = [check_evolution(text(new), numbered, level) for level in LEVELS]

    assert allowed == [int(not any(each.severity is Severity.ERROR for each in one)) for one in found]
    assert allowed == [int(not structural_incompatibilities(text(new), numbered, each)) for each in LEVELS]


def test_the_level_none_checks_nothing():
    assert () == check_evolution(text(of("int")), [VersionedSchema(1, text(of("string")))], Level.NONE)


LEGS = record(field("price", decimal(18, 2)), field("side", enum("BUY")), name="Leg")
PLACES = {
    "Trade.f.price": (lambda leg: leg, "/fields/1/type/fields/0/type"),
    "Trade.f[].price": (lambda leg: {"type": "array", "items": leg}, "/fields/1/type/items/fields/0/type"),
    "Trade.f{}.price": (lambda leg: {"type": "map", "values": leg}, "/fields/1/type/values/fields/0/type"),
    "Trade.f.price ": (lambda leg: ["null", leg], "/fields/1/type/1/fields/0/type"),
    "Trade.f(Leg).price": (lambda leg: ["null", "string", leg], "/fields/1/type/2/fields/0/type"),
    "Trade.f[](Leg).price": (
        lambda leg: {"type": "array", "items": ["int", leg]},
        "/fields/1/type/items/1/fields/0/type",
    ),
    "Trade.f.g.price": (
        lambda leg: record(field("g", leg), name="Outer"),
        "/fields/1/type/fields/0/type/fields/0/type",
    ),
}


@pytest.mark.parametrize("path", PLACES)
def test_a_path_names_every_kind_of_location(path):
    wrapped, pointer = PLACES[path]
    old, new = (of(wrapped(json.loads(text(LEGS).replace('"scale": 2', f'"scale": {scale}')))) for scale in (2, 4))

    found = check_evolution(text(new), [VersionedSchema(1, text(old))], Level.BACKWARD)

    assert {(path.strip(), pointer)} == {(each.path, each.pointer) for each in found if each.rule == "decimal-scale"}


def test_a_missing_branch_is_reported_at_the_union():
    old, new = (of({"type": "array", "items": ["null", "string", kind]}) for kind in ("int", "boolean"))

    found = check_evolution(text(new), [VersionedSchema(1, text(old))], Level.FULL)

    assert [("Trade.f[]", "int", "[null, string, boolean]"), ("Trade.f[]", "[null, string, int]", "boolean")] == [
        (each.path, each.old, each.new) for each in found
    ]


def test_a_recursive_type_is_walked_once():
    def tree(kind):
        below = {"type": "array", "items": "Trade"}
        return record(field("below", below), field("n", kind))

    found = check_evolution(text(tree("string")), [VersionedSchema(1, text(tree("int")))], Level.BACKWARD)

    assert ["Trade.n"] == [each.path for each in found]


def test_a_named_type_used_twice_is_reported_at_both_locations():
    def twice(kind):
        return record(field("first", record(field("n", kind), name="Leg")), field("second", "Leg"))

    found = check_evolution(text(twice("string")), [VersionedSchema(1, text(twice("int")))], Level.BACKWARD)

    assert ["Trade.first.n", "Trade.second.n"] == [each.path for each in found]


def test_findings_come_newest_version_first():
    history = [VersionedSchema(number, text(of("int"))) for number in (1, 2, 3)]

    assert [3, 3, 2, 2, 1, 1] == [
        each.against for each in check_evolution(text(of("string")), history, Level.FULL_TRANSITIVE)
    ]


def test_a_change_of_scale_is_explained_with_an_example():
    (found,) = check_evolution(text(of(decimal(18, 4))), [VersionedSchema(1, text(of(decimal(16, 2))))], Level.BACKWARD)

    assert (
        "Readers on the new schema misread amounts of records written with the old one: Java's read 123.45 as 1.2345, "
        "Python's are not affected. Registries do not detect this."
    ) == found.message
    assert ("decimal(16,2)", "decimal(18,4)") == (found.old, found.new)


@pytest.mark.parametrize("schema", ["", "{", '"nothing"'])
def test_an_invalid_schema_is_a_value_error(schema):
    with pytest.raises(ValueError, match=r"."):
        check_evolution(schema, [VersionedSchema(1, text(V1))], Level.BACKWARD)


@pytest.mark.parametrize(
    ("written", "read", "example"),
    [
        ("timestamp-millis", "timestamp-micros", "a day of 2024 for one of January 1970"),
        ("timestamp-micros", "timestamp-nanos", "a day of 2024 for one of January 1970"),
        ("timestamp-millis", "local-timestamp-nanos", "a day of 2024 for the first hour of 1970"),
        ("local-timestamp-nanos", "timestamp-micros", "a day of 2024 for one of the year 56000"),
        ("timestamp-nanos", "timestamp-millis", "a day of 2024 for one of the year 54,000,000"),
    ],
)
def test_a_misread_timestamp_has_an_example(written, read, example):
    old, new = (text(of(logical("long", name))) for name in (written, read))
    found = check_evolution(new, [VersionedSchema(1, old)], Level.BACKWARD)

    assert [f"the same bytes, but another value, such as {example}. "] == [
        each.message[each.message.index("the same bytes") : each.message.index("Registries")] for each in found
    ]
