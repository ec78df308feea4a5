"""Field codecs of a record type."""

from typing import Annotated, NamedTuple

import pytest

from tests.codec.sample_schema import CODEC, DECIMAL, SIDE, Side
from tradepipe.codec import fields
from tradepipe.errors import ConfigurationError
from tradepipe.evolution.history import current
from tradepipe.trade.constraints import Digits, Key, PartitionKey
from tradepipe.trade.declaration import declare
from tradepipe.trade.model import Trade
from tradepipe.trade.types import REQUIRED, Avro


class Leg(NamedTuple):
    rate: float
    size: int | None = None


def test_every_field_of_a_trade_has_a_codec_and_a_code():
    shape = fields.trade_codec()

    assert Trade._fields == tuple(column.name for column in shape.fields)
    assert [field["name"] for field in current().schema["fields"]] == [column.name for column in shape.in_schema]
    assert [column.name.upper() for column in shape.fields] == [column.code for column in shape.fields]


def test_a_field_codec_has_the_type_the_branches_and_the_default():
    found = {column.name: column for column in CODEC.fields}

    assert ("string", ("value",), REQUIRED) == (
        found["trade_id"].kind,
        found["trade_id"].branches,
        found["trade_id"].default,
    )
    assert ("decimal", ("null", "value"), None) == (
        found["notional"].kind,
        found["notional"].branches,
        found["notional"].default,
    )
    assert Side.UNKNOWN is found["side"].default


LEG = {"type": "record", "name": "Leg", "fields": [{"name": "rate", "type": "double"}, {"name": "size", "type": "int"}]}


@pytest.mark.parametrize(
    ("annotation", "schema", "message"),
    [
        (int, "long", "field price is long in the schema, but int by its declaration as int"),
        (Annotated[int, Avro("long")], "int", "field price is int in the schema, but long by its declaration"),
        (
            float,
            ["null", "double"],
            "in the schema, but by its declaration it may not be null",
        ),
        (float | None, "double", "field price is double in the schema, but by its declaration it may be null"),
        (int, ["int", "string"], "field price is a union of more than null and one type in the schema"),
        (int, ["null"], "field price is a union of more than null and one type"),
        (Annotated[float, Digits(9, 4)], DECIMAL, "which does not apply to float"),
        (list[int], {"type": "array", "items": "long"}, r"field price\[\] is long in the schema, but int"),
        (Leg, LEG, r"field price.size is int in the schema, but by its declaration it may be null"),
        (Leg, LEG | {"fields": LEG["fields"][:1]}, "field price has the fields rate in the schema, not those of Leg"),
        (Side, SIDE | {"symbols": ["UNKNOWN", "HOLD"]}, "field price has the symbol HOLD in the schema, which Side"),
    ],
    ids=str,
)
def test_another_type_than_the_declared_one_is_an_error(annotation, schema, message):
    record = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}]}
    record["fields"].append({"name": "price", "type": schema})
    with pytest.raises(TypeError, match=message):
        fields.record_codec(
            record, declare(NamedTuple("R", [("id", Annotated[str, Key(), PartitionKey()]), ("price", annotation)]))
        )


@pytest.mark.parametrize(("name", "where"), [("other", "schema"), ("id", "declaration")])
def test_a_field_that_only_one_of_the_two_has_is_an_error(name, where):
    schema = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}]}
    declared = [("id", Annotated[str, Key(), PartitionKey()]), ("other", int)]
    if where == "declaration":
        schema["fields"].append({"name": "more", "type": "int"})
        declared.pop()
        name = "more"
    with pytest.raises(TypeError, match=f"field {name} is missing from the {where} of R"):
        fields.record_codec(schema, declare(NamedTuple("R", declared)))


def test_a_declaration_ahead_of_the_schema_says_how_to_release_it(monkeypatch):
    """The state of a clone between the first step of docs/schema.md and the last is no bug."""
    monkeypatch.setattr(
        fields, "DECLARATION", declare(NamedTuple("Trade", [("id", Annotated[str, Key(), PartitionKey()])]))
    )

    with pytest.raises(
        ConfigurationError, match=r"^Trade differs from version \d+ of its schema: .* schema draft, or undo"
    ):
        fields.trade_codec.__wrapped__()
