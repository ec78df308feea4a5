"""Field codecs of a record type."""

from typing import NamedTuple

import pytest

from tests.codec.sample_schema import CODEC, DECIMAL, Side
from tradepipe.codec import fields
from tradepipe.codec.fields import NO_DEFAULT, FieldCodec
from tradepipe.evolution.history import current
from tradepipe.trade.model import Trade


class Note(NamedTuple):
    version: str


def test_every_field_of_a_trade_has_a_codec_and_a_code():
    shape = fields.trade_codec()

    assert Trade._fields == tuple(column.name for column in shape.fields)
    assert [field["name"] for field in current().schema["fields"]] == list(shape.schema_order)
    assert [column.name.upper() for column in shape.fields] == [column.code for column in shape.fields]


def test_a_field_codec_describes_type_default_and_members():
    found = {column.name: column for column in CODEC.fields}

    assert FieldCodec("trade_id", "string") == found["trade_id"]
    assert found["trade_id"].default is NO_DEFAULT
    assert FieldCodec("notional", "decimal", ("null", "value"), None, precision=18, scale=4) == found["notional"]
    assert (Side.UNKNOWN, Side.UNKNOWN) == (found["side"].default, found["side"].fallback)
    assert {side.value: side for side in Side} == found["side"].members


@pytest.mark.parametrize(
    "kind",
    ["double", ["null", "int", "string"], {"type": "array", "items": "int"}, ["null"], DECIMAL | {"logicalType": "x"}],
    ids=str,
)
def test_an_unsupported_type_is_an_error(kind):
    schema = {"type": "record", "name": "Note", "fields": [{"name": "version", "type": kind}]}
    with pytest.raises(TypeError, match="the codec does not support field version"):
        fields.record_codec(schema, Note)
