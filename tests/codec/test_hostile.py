"""
What ends or misleads other decoders of Avro, row by row.

fastavro dies of the first schema, takes gigabytes for the next three, and reads
most of the others as something they are not.
"""

import json
import time
import traceback
from decimal import Decimal

import pytest

from tests.codec.sample_schema import SAMPLE, encode, make_decoder
from tests.codec.test_admission import holding, more, text
from tests.codec.test_oracle import AT, BODY, changed
from tradepipe.codec.codec import Decoder
from tradepipe.errors import UndecodableRecord, UnsupportedSchema
from tradepipe.evolution.history import current
from tradepipe.trade.record import Code

LONG_2_40 = b"\x80\x80\x80\x80\x80\x40"


def record(name, *kinds):
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds)]
    return {"type": "record", "name": name, "fields": fields}


def fixed(size):
    return {"type": "fixed", "name": "F", "size": size}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (holding(["null", "Trade"]), "its type tradepipe.Trade holds itself"),
        (holding(record("A", ["null", record("B", ["null", "A"])])), "its type tradepipe.A holds itself"),
        (holding({"type": "array", "items": "null"}), "array items that take no bytes"),
        (holding({"type": "array", "items": record("A")}), "array items that take no bytes"),
        (holding({"type": "array", "items": record("A", "null", record("B", fixed(0)))}), "array items that take no"),
        (holding({"type": "map", "values": "null"}), "map items that take no bytes"),
        (holding(fixed(-1)), "a fixed type of -1 bytes"),
        (holding(fixed("1")), "a fixed type of '1' bytes"),
        (holding(fixed(True)), "a fixed type of True bytes"),
        (holding(["null", ["int", "string"]]), "a union within a union"),
        (holding(["int", "int"]), "duplicate branches of a union"),
        (holding([record("A"), "A"]), "duplicate branches of a union"),
        (holding([]), "no branches of a union"),
        (holding({"type": "enum", "name": "E", "symbols": []}), "no symbols"),
        (holding({"type": "record", "name": "a b", "fields": []}), "a type named 'tradepipe.a b'"),
        (holding({"type": "fixed", "name": "x\n", "size": 1}), "a type named 'tradepipe.x\\n'"),
        (more({"name": "a-b", "type": "int"}), "a field named 'a-b'"),
        (more({"name": "x\n    raise SystemExit", "type": "int"}), "a field named 'x\\n    raise SystemExit'"),
        (more({"name": 5, "type": "int"}), "a field named 5"),
        (more({"name": "trade_id", "type": "int"}), "two fields of one name"),
        (current().schema | {"name": "string", "namespace": ""}, "a type named 'string'"),
    ],
    ids=lambda value: json.dumps(value)[-60:] if isinstance(value, dict) else "",
)
def test_a_malformed_schema_is_refused(schema, why):
    """fastavro's parser accepts all of these."""
    with pytest.raises(UnsupportedSchema) as refused:
        Decoder(text(schema), 7, unknown_fields="drop")

    assert why in str(refused.value)


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "int", "logicalType": "timestamp-micros"},
        {"type": "string", "logicalType": "timestamp-micros"},
        {"type": "long", "logicalType": ["timestamp-micros"]},
    ],
    ids=str,
)
def test_a_logical_type_on_a_type_it_does_not_annotate_is_ignored(kind):
    schema = json.loads(current().text)
    next(field for field in schema["fields"] if field["name"] == "created_at")["type"] = kind
    with pytest.raises(UnsupportedSchema, match=f"{kind['type']} is not long as timestamp-micros"):
        Decoder(json.dumps(schema), 7, unknown_fields="drop")


def test_a_schemas_names_occur_in_the_source_only_in_comments():
    schema = json.dumps(more({"name": "import_os", "type": "int"}))
    source = Decoder(schema, 0, unknown_fields="drop").source().text
    lines = [line.strip() for line in source.splitlines() if "import_os" in line]

    assert ["# 'import_os'"] == lines


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (LONG_2_40, "it ends before version does"),
        (b"\x01", "trade_id has a length of -1 bytes"),
        (b"\xff" * 9 + b"\x01", "trade_id has a length of -9223372036854775808 bytes"),
        (b"\x80" * 10, "trade_id holds a number of more than 10 bytes"),
        (changed(AT["side"], b"\x02", b"\x01"), "side holds enum symbol -1, outside 0 to 2"),
        (changed(AT["side"], b"\x02", b"\x06"), "side holds enum symbol 3, outside 0 to 2"),
        (changed(AT["notional"], b"\x02", b"\x01"), "notional holds union branch -1, outside 0 to 1"),
        (changed(AT["notional"], b"\x02", b"\x04"), "notional holds union branch 2, outside 0 to 1"),
        (changed(AT["notional"], b"\x02\x0a", b"\x02\x00"), "notional is a decimal without a byte"),
        (changed(AT["notional"], b"\x02\x0a", b"\x02\x12"), "notional has more digits than decimal(18,4) holds"),
        (changed(3, b"\x02", b"\x80\x80\x80\x80\x80\x80\x80\x80\x20"), "version holds a number of more than 5 bytes"),
        (BODY + bytes(7), "7 bytes follow the trade"),
        (b"\x04\xff\xfe" + BODY[3:], "trade_id is not UTF-8"),
        (b"\x06\xed\xa0\x80" + BODY[3:], "trade_id is not UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_body_is_refused_with_the_field_and_what_is_wrong_with_it(body, expected):
    with pytest.raises(UndecodableRecord) as refused:
        make_decoder()(body)

    assert (Code.UNDECODABLE, 1) == (refused.value.violation.code, refused.value.schema_id)
    assert expected in refused.value.violation.detail


def with_decimal(digits):
    """Build a body with a notional of 200,000 bytes."""
    return changed(AT["notional"], BODY[AT["notional"] :][:7], b"\x02\x80\xb5\x18" + digits * 200_000)


def test_a_decimal_of_200_kilobytes_is_refused_at_once():
    """To convert it takes more than five seconds."""
    begin = time.process_time()
    with pytest.raises(UndecodableRecord, match=r"more digits than decimal\(18,4\) holds"):
        make_decoder()(with_decimal(b"\x7f"))

    assert time.process_time() - begin < 2


@pytest.mark.parametrize(("digits", "value"), [(b"\x00", "0"), (b"\xff", "-0.0001")], ids=["zeros", "ones"])
def test_redundant_leading_bytes_of_a_decimal_are_accepted(digits, value):
    """As by Java's BigInteger."""
    assert Decimal(value) == make_decoder()(with_decimal(digits)).notional


def test_an_error_never_echoes_a_body():
    for body in (b"\x80\xea\x30" + b"x" * 400_000 + b"\xff", b"\xd0\x0f" + b"\xff" * 1_000 + BODY[3:]):
        with pytest.raises(UndecodableRecord) as refused:
            make_decoder()(body)
        assert len(str(refused.value)) < 100


def test_a_traceback_shows_the_line_of_the_decoder_that_failed():
    with pytest.raises(UndecodableRecord) as refused:
        make_decoder()(encode(SAMPLE)[:2])

    shown = "".join(traceback.format_exception(refused.value))
    assert "<tradepipe: decode a sample>" in shown
    assert "version = _ONE_BYTE_INTS[_body[_at]]" in shown
