"""Admission of writer schemas."""

import copy
import json
from io import BytesIO

import fastavro
import pytest

from tests.codec.test_codec import TRADE
from tradepipe.codec.admission import MAX_FIELDS, MAX_TEXT
from tradepipe.codec.codec import Decoder
from tradepipe.errors import UnsupportedSchema
from tradepipe.evolution.history import current, versions
from tradepipe.trade.model import Side

SIDE = next(field["type"] for field in current().schema["fields"] if field["name"] == "side")
MORE_SIDES = SIDE | {"symbols": [*SIDE["symbols"], "CROSS"]}
NOTE = {"name": "note", "type": ["null", "string"], "default": None}


def changed(**attributes):
    """Return the current schema with changed attributes."""
    return copy.deepcopy(current().schema) | attributes


def more(*fields):
    """Return the current schema with more fields."""
    return changed(fields=[*changed()["fields"], *fields])


def retyped(name, kind):
    """Return the current schema with another type of one field."""
    schema = changed()
    next(field for field in schema["fields"] if field["name"] == name)["type"] = kind
    return schema


def holding(kind):
    """Return the current schema with one more field of a type."""
    return more({"name": "more", "type": kind})


def nested(depth):
    kind = "int"
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return kind


def bushy(depth, width):
    """Return a record with a short text and `width` to the power of `depth` fields."""
    kind = {"type": "record", "name": "R0", "fields": [{"name": "leaf", "type": "int"}]}
    for level in range(1, depth):
        twigs = [{"name": f"f{number}", "type": f"R{level - 1}"} for number in range(1, width)]
        kind = {"type": "record", "name": f"R{level}", "fields": [{"name": "f0", "type": kind}, *twigs]}
    return kind


def text(schema):
    return schema if isinstance(schema, str) else json.dumps(schema)


def written(schema, **fields):
    """Encode a trade with another schema."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), TRADE._asdict() | fields)
    return stream.getvalue()


@pytest.mark.parametrize("version", versions(), ids=lambda version: f"v{version.number}")
def test_every_released_version_is_admitted(version):
    Decoder(version.text, 1)


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (changed(doc="Another text."), {}),
        (changed(namespace="elsewhere"), {}),
        (changed(fields=changed()["fields"][::-1]), {}),
        (retyped("book_id", "bytes"), {"book_id": b"B1"}),
        (retyped("book_id", ["string"]), {}),
        (retyped("side", SIDE | {"symbols": ["SELL", "BUY", "UNKNOWN"]}), {}),
    ],
    ids=["doc", "namespace", "order of fields", "bytes for a string", "union of one", "order of symbols"],
)
def test_a_schema_that_loses_nothing_is_decoded(schema, fields):
    assert TRADE == Decoder(text(schema), 7).decode(written(schema, **fields))


def test_a_text_may_be_as_long_as_the_limit():
    shortest = len(text(changed(doc="")))

    assert TRADE == Decoder(text(changed(doc="x" * (MAX_TEXT - shortest))), 7).decode(written(current().schema))


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "array", "items": ["null", "int"]},
        [{"type": "record", "name": each, "fields": [{"name": "n", "type": "int"}]} for each in "AB"],
    ],
    ids=["an array of a union with null", "a union of two records"],
)
def test_what_is_dropped_may_have_any_legal_type(kind):
    Decoder(text(holding(kind)), 7, unknown_fields="drop")


@pytest.mark.parametrize(
    ("schema", "lost"),
    [
        (more(NOTE), "field note (at Trade.note)"),
        (retyped("book_id", {"type": "string", "logicalType": "uuid"}), "logical type uuid (at Trade.book_id)"),
        (retyped("side", MORE_SIDES), "symbol CROSS (at Trade.side)"),
    ],
    ids=["field", "logical type", "symbol"],
)
def test_a_schema_that_would_lose_values_is_refused(schema, lost):
    with pytest.raises(UnsupportedSchema) as refused:
        Decoder(text(schema), 7)

    assert "schema id 7" in str(refused.value)
    assert lost in str(refused.value)
    assert "upgrade tradepipe here, or choose --unknown-fields drop" in str(refused.value)


def test_a_refusal_lists_at_most_five_losses():
    """Names are the writer's choice, of any length and number."""
    fields = [{"name": f"f{number}" + "x" * 1_000, "type": "int"} for number in range(200)]
    with pytest.raises(UnsupportedSchema) as refused:
        Decoder(text(more(*fields)), 7)

    assert "; 195 more; upgrade tradepipe here" in str(refused.value)
    assert len(str(refused.value)) < 1_500


def test_an_unknown_field_is_dropped_on_request():
    decoder = Decoder(text(more(NOTE)), 7, unknown_fields="drop")

    assert TRADE == decoder.decode(written(more(NOTE), note="kept elsewhere"))


def test_an_unknown_field_may_be_nested():
    schema = holding(nested(3))

    assert TRADE == Decoder(text(schema), 7, unknown_fields="drop").decode(written(schema, more=[[[1], []]]))


def test_an_unknown_symbol_is_read_as_unknown_on_request():
    schema = retyped("side", MORE_SIDES)
    decoder = Decoder(text(schema), 7, unknown_fields="drop")

    assert (Side.UNKNOWN, Side.BUY) == tuple(decoder.decode(written(schema, side=it)).side for it in ("CROSS", "BUY"))


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (changed(name="Sample"), "record tradepipe.Sample is not record tradepipe.Trade"),
        (changed(fields=changed()["fields"][1:]), "the field is missing (at Trade.trade_id)"),
        (retyped("version", "long"), "long is not int"),
        (retyped("book_id", ["null", "string"]), "null is not string"),
        (retyped("created_at", "long"), "long is not long as timestamp-micros (at Trade.created_at)"),
        (
            retyped("created_at", {"type": "long", "logicalType": "timestamp-millis"}),
            "long as timestamp-millis is not long as timestamp-micros",
        ),
        (
            retyped("notional", ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}]),
            "decimal(18,2) is not decimal(18,4)",
        ),
    ],
    ids=[
        "other record",
        "missing field",
        "wider number",
        "null",
        "no logical type",
        "other logical type",
        "other scale",
    ],
)
def test_a_schema_that_does_not_resolve_is_refused_with_any_option(schema, why):
    with pytest.raises(UnsupportedSchema) as refused:
        Decoder(text(schema), 7, unknown_fields="drop")

    assert why in str(refused.value)
    assert "--unknown-fields" not in str(refused.value)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (holding(["null", "Trade"]), "holds itself"),
        (holding(["null", {"type": "array", "items": "tradepipe.Trade"}]), "holds itself"),
        (holding(["null", "Trade"]) | {"__fastavro_parsed__": True, "__named_schemas": {}}, "holds itself"),
        (holding({"type": "array", "items": "null"}), "array items that take no bytes"),
        (holding({"type": "array", "items": bushy(1, 1) | {"fields": []}}), "array items that take no bytes"),
        (holding({"type": "map", "values": {"type": "fixed", "name": "F", "size": 0}}), "map items that take no"),
        (holding(nested(17)), "nested more than 16 deep"),
        (holding(nested(300)), "nested more than 16 deep"),
        (more(*({"name": f"f{number}", "type": "int"} for number in range(MAX_FIELDS))), "more than 500 fields"),
        (holding(bushy(12, 30)), "more than 500 fields"),
        (
            holding([{"type": "fixed", "name": f"F{number}", "size": 1} for number in range(MAX_FIELDS)]),
            "more than 500 fields",
        ),
        (changed(doc="x" * MAX_TEXT), "characters, more than 256000"),
        ("[" * 100_000, "recursion"),
        ("trade", "Expecting value"),
        ("5", "not a record"),
        ([changed()], "not a record"),
        ({"type": "enum", "name": "Trade", "symbols": ["A"]}, "not a record"),
        (holding("Nothing"), "Nothing"),
        (changed(fields=None), "is refused"),
    ],
    ids=[
        "recursion",
        "recursion in an array",
        "recursion that calls itself parsed",
        "items of null",
        "items of empty records",
        "values of fixed 0",
        "too deep",
        "much too deep",
        "too many fields",
        "fields to the power of depth",
        "too many branches",
        "too long",
        "brackets",
        "no JSON",
        "a number",
        "a union",
        "an enum",
        "an unknown type",
        "no fields",
    ],
)
def test_a_hostile_schema_is_refused(schema, why):
    with pytest.raises(UnsupportedSchema, match="schema id 7") as refused:
        Decoder(text(schema), 7, unknown_fields="drop")

    assert why in str(refused.value)
