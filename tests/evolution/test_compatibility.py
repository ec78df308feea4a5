"""Structural compatibility of schemas."""

import json

import pytest

from tradepipe.evolution.compatibility import Direction, Level, check_schema
from tradepipe.evolution.compatibility_rules import VersionedSchema, structural_incompatibilities


def record(*fields, **further):
    return json.dumps({"type": "record", "name": "Trade", "fields": list(fields), **further})


def field(name, kind="string", **further):
    return {"name": name, "type": kind, **further}


def enum(*symbols, **further):
    return {"type": "enum", "name": "Side", "symbols": list(symbols), **further}


def incompatibilities(new, history, level):
    return structural_incompatibilities(new, [VersionedSchema(n, old) for n, old in enumerate(history)], level)


ID = field("trade_id")
V1 = record(ID)


@pytest.mark.parametrize(
    ("old", "new", "backward", "forward"),
    [
        pytest.param(V1, record(ID, field("side", default="BUY")), True, True, id="a field with a default"),
        pytest.param(V1, record(ID, field("side")), False, True, id="a field without a default"),
        pytest.param(record(ID, field("side")), V1, True, False, id="a field without a default removed"),
        pytest.param(V1, record(field("id", aliases=["trade_id"])), True, False, id="a field renamed with an alias"),
        pytest.param(V1, record(field("trade_id", "long")), False, False, id="a string made a long"),
        pytest.param(record(field("n", "int")), record(field("n", "long")), True, False, id="an int made a long"),
        pytest.param(V1, record(field("trade_id", ["null", "string"])), True, False, id="a field made nullable"),
        pytest.param(V1, record(field("trade_id", "bytes")), True, True, id="a string made bytes"),
        pytest.param(
            record(field("side", enum("BUY"))),
            record(field("side", enum("BUY", "SELL"))),
            True,
            False,
            id="a symbol added",
        ),
        pytest.param(
            record(field("side", enum("BUY", default="BUY"))),
            record(field("side", enum("BUY", "SELL", default="BUY"))),
            True,
            True,
            id="a symbol added to an enum with a default",
        ),
        pytest.param(V1, record(field("trade_id", doc="Identifies it."), doc="A trade."), True, True, id="docs"),
        pytest.param(V1, record(ID, namespace="tradepipe"), True, True, id="a namespace"),
        pytest.param(V1, V1.replace("Trade", "Deal"), False, False, id="another name"),
        pytest.param('"int"', '"string"', False, False, id="schemas without fields"),
    ],
)
def test_each_change_is_checked_in_each_direction(old, new, backward, forward):
    assert (backward, forward) == (
        not incompatibilities(new, [old], Level.BACKWARD),
        not incompatibilities(new, [old], Level.FORWARD),
    )


@pytest.mark.parametrize(
    ("level", "against"),
    [
        ("NONE", []),
        ("BACKWARD", []),
        ("BACKWARD_TRANSITIVE", [(0, Direction.BACKWARD)]),
        ("FORWARD", []),
        ("FORWARD_TRANSITIVE", []),
        ("FULL", []),
        ("FULL_TRANSITIVE", [(0, Direction.BACKWARD)]),
    ],
)
def test_only_transitive_levels_check_versions_before_the_last(level, against):
    """The field is absent, then has a default, then has none."""
    history = [V1, record(ID, field("side", default="BUY"))]

    findings = incompatibilities(record(ID, field("side")), history, Level(level))

    assert against == [(finding.against, finding.direction) for finding in findings]


def test_an_incompatibility_states_version_direction_and_reason():
    (found,) = incompatibilities(record(ID, field("side")), [V1], Level.FULL)

    assert (0, Direction.BACKWARD, "missing-default", "Trade.side") == (
        found.against,
        found.direction,
        found.rule,
        found.path,
    )


def test_incompatibilities_are_deterministic_and_newest_version_first():
    history = [record(field("a", "int"), field("b", "int"))] * 3
    new = record(field("a"), field("b"))

    findings = incompatibilities(new, history, Level.FULL_TRANSITIVE)

    assert [2] * 4 + [1] * 4 + [0] * 4 == [finding.against for finding in findings]
    assert 4 == len({(finding.path, finding.direction) for finding in findings})


def test_a_first_version_is_compatible():
    assert () == incompatibilities(V1, [], Level.FULL_TRANSITIVE)


def test_the_structural_check_ignores_logical_types():
    """Registries ignore them too; the evolution rules check them."""
    cents = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}

    assert () == incompatibilities(record(field("n", "bytes")), [record(field("n", cents))], Level.FULL)


def test_an_unknown_logical_type_is_compatible():
    later = {"type": "long", "logicalType": "timestamp-picos"}

    assert () == incompatibilities(record(field("at", later)), [record(field("at", later))], Level.FULL)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "7", "[]]", '"nothing"', "{}", '{"type": "record", "name": "T", "fields": [7]}', "[" * 100_000],
    ids=["empty", "cut off", "null", "number", "extra", "unknown name", "no type", "numeric field", "too deep"],
)
def test_an_invalid_schema_is_a_value_error(text):
    with pytest.raises(ValueError, match="not an Avro schema"):
        check_schema(text)
