"""Checks of a single schema."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evolution.schemas import decimal, enum, field, logical, record, text
from tests.properties import examples
from tradepipe.evolution.findings import Severity
from tradepipe.evolution.history import versions
from tradepipe.evolution.lint import lint


def of(kind, **further):
    return record(field("trade_id"), field("f", kind, **further))


DEFECTS = {
    "an int's default that is text": (of("int", default="x"), "default-type", "Trade.f"),
    "an int's default with a point": (of("int", default=1.0), "default-type", "Trade.f"),
    "an int's default that is too large": (of("int", default=2**31), "default-type", "Trade.f"),
    "an int's default that is a truth": (of("int", default=True), "default-type", "Trade.f"),
    "bytes beyond one byte": (of("bytes", default="\u0100"), "default-type", "Trade.f"),
    "a string's default that is null": (of("string", default=None), "default-type", "Trade.f"),
    "an array's default": (of({"type": "array", "items": "int"}, default=["x"]), "default-type", "Trade.f"),
    "a map's default": (of({"type": "map", "values": "int"}, default={"a": "x"}), "default-type", "Trade.f"),
    "a record's default": (of(record(field("g"), name="Leg"), default={}), "default-type", "Trade.f"),
    "a fixed's default": (of({"type": "fixed", "name": "F", "size": 2}, default="x"), "default-type", "Trade.f"),
    "two fields of one name": (record(field("f"), field("f")), "duplicate", "Trade.f"),
    "a union in a union": (of(["null", ["string"]], default=None), "nested-union", "Trade.f"),
    "a branch twice": (of(["null", "string", "string"], default=None), "duplicate", "Trade.f"),
    "a field's name with a hyphen": (record(field("a-b")), "name", "Trade.a-b"),
    "a field's alias with a hyphen": (record(field("a", aliases=["a-b"])), "name", "Trade.a"),
    "a record's name with a hyphen": (record(field("f"), name="My-Trade"), "name", "My-Trade"),
    "a namespace with a hyphen": (record(field("f"), namespace="my-desk"), "name", "Trade"),
    "a name that begins with a digit": (record(field("1st")), "name", "Trade.1st"),
    "an enum's default that is no symbol": (of(enum("BUY", default="SELL")), "enum-default", "Trade.f"),
    "a symbol with a hyphen": (of(enum("BUY-IN", default="BUY-IN")), "name", "Trade.f"),
    "a symbol twice": (of(enum("BUY", "BUY", default="BUY")), "duplicate", "Trade.f"),
    "an unknown type": (of("strnig"), "unknown-type", "Trade.f"),
    "a type used before it is defined": (
        record(field("a", "Side"), field("b", enum("BUY", default="BUY"))),
        "unknown-type",
        "Trade.a",
    ),
    "a type defined twice": (
        record(field("a", enum("BUY", default="BUY")), field("b", enum("BUY", default="BUY"))),
        "duplicate",
        "Trade.b",
    ),
    "a field's default that is no symbol": (
        of(enum("BUY", default="BUY"), default="SELL"),
        "enum-default",
        "Trade.f",
    ),
    "a scale above the precision": (of(decimal(2, 4)), "decimal-impossible", "Trade.f"),
    "a decimal without a precision": (of(logical("bytes", "decimal")), "decimal-impossible", "Trade.f"),
    "a precision of nothing": (of(decimal(0, 0)), "decimal-impossible", "Trade.f"),
    "a scale below nothing": (of(decimal(4, -2)), "decimal-impossible", "Trade.f"),
    "a precision too big for its bytes": (of(decimal(19, 2, size=8)), "decimal-impossible", "Trade.f"),
    "a logical type on the field": (of("long", logicalType="timestamp-micros"), "logical-type-misplaced", "Trade.f"),
    "a date on a long": (of(logical("long", "date")), "logical-type-ignored", "Trade.f"),
    "a decimal on a double": (of(logical("double", "decimal")), "logical-type-ignored", "Trade.f"),
    "a logical type that Avro lacks": (of(logical("long", "nanoseconds")), "logical-type-unknown", "Trade.f"),
    "null by default, as the second branch": (
        of(["string", "null"], default=None),
        "default-of-later-branch",
        "Trade.f",
    ),
    "an error": ({**record(field("f")), "type": "error"}, "error-type", "Trade"),
    "no record": ("int", "not-a-record", ""),
    "a record without fields": ({"type": "record", "name": "Trade"}, "not-a-schema", ""),
    "a record without a name": ({"type": "record", "fields": []}, "not-a-schema", ""),
    "an array without items": (of({"type": "array"}), "not-a-schema", ""),
    "aliases that are no list": (of("int", aliases=7), "not-a-schema", ""),
    "a number for a type": (of(7), "not-a-schema", ""),
    "a default in a nested record": (
        of({"type": "array", "items": ["null", record(field("n", "int", default="x"), name="Leg")]}),
        "default-type",
        "Trade.f[].n",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_an_error_with_its_location(defect):
    schema, rule, path = DEFECTS[defect]

    assert [(rule, path, Severity.ERROR)] == [(found.rule, found.path, found.severity) for found in lint(text(schema))]


RISKS = {
    "an enum without a default symbol": (of(enum("BUY")), "enum-without-default"),
    "nanoseconds": (of(logical("long", "timestamp-nanos")), "logical-type-rare"),
    "a UUID in 16 bytes": (
        of({"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}),
        "logical-type-rare",
    ),
    "what may be null, without a default": (of(["null", "string"]), "nullable-without-default"),
    "what may be null at last, without a default": (of(["string", "null"]), "nullable-without-default"),
}


@pytest.mark.parametrize("risk", RISKS)
def test_an_obstacle_to_later_changes_is_a_warning(risk):
    schema, rule = RISKS[risk]

    assert [(rule, "Trade.f", Severity.WARNING)] == [
        (each.rule, each.path, each.severity) for each in lint(text(schema))
    ]


SOUND = {
    "a date": of(logical("int", "date")),
    "a local timestamp": of(logical("long", "local-timestamp-millis")),
    "a decimal that just fits": of(decimal(18, 18, size=8)),
    "null by default": of(["null", decimal(18, 4)], default=None),
    "a default of a float without a point": of("double", default=1),
    "a complete default of a record": of(
        record(field("g"), field("h", "int", default=0), name="Leg"), default={"g": ""}
    ),
    "a type used twice": record(field("a", enum("BUY", default="BUY")), field("b", "Side", default="BUY")),
    "a type of another namespace": record(
        field("a", enum("BUY", default="BUY", namespace="x")), field("b", "x.Side"), namespace="y"
    ),
    "a type that holds itself": record(field("below", ["null", "Trade"], default=None)),
}


@pytest.mark.parametrize("schema", SOUND)
def test_a_valid_schema_has_no_findings(schema):
    assert () == lint(text(SOUND[schema]))


@pytest.mark.parametrize("version", versions(), ids=lambda version: f"v{version.number:03}")
def test_the_released_versions_have_no_findings(version):
    assert () == lint(version.text)


def test_a_duplicate_key_is_an_error():
    """Python keeps the last one; another parser may keep the first."""
    twice = text(of("int")).replace('"name": "f"', '"name": "g", "name": "f"')

    assert [("duplicate-key", "/fields/1/name")] == [(found.rule, found.pointer) for found in lint(twice)]


@pytest.mark.parametrize("schema", ["", "{", "[]]", '{"type": NaN}', "[" * 5_000, "\ufeff{}"])
def test_invalid_json_is_reported_in_one_line(schema):
    (found,) = lint(schema)

    assert "not-a-schema" == found.rule
    assert "\n" not in found.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["record", "enum", "fixed", "array", "int", "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "name", "fields", "items", "values", "symbols", "size", "default", "logicalType"]),
            inner,
        )
    ),
    max_leaves=15,
)


@examples(500)
@given(JSON)
def test_any_json_is_checked_without_an_exception(schema):
    assert all(found.message for found in lint(text(schema)))


def test_a_finding_points_to_where_it_is():
    schema = of(enum("BUY", default="BUY"), default="SELL")
    (found,) = lint(text(schema))

    assert "/fields/1" == found.pointer
    assert "f" == json.loads(text(schema))["fields"][1]["name"]
