"""Skipped values: their structure is checked, and each byte takes bounded time."""

import json
import time

import pytest

from tests.codec.sample_schema import SAMPLE, SCHEMA, encode, make_decoder
from tradepipe.codec.decoder import MAX_BODY
from tradepipe.errors import UndecodableRecord

BODY = encode(SAMPLE)
INTS = {"type": "array", "items": "int"}
FLAG = {"type": "enum", "name": "Flag", "symbols": ["A", "B"]}


def read(kind, value):
    """Decode a sample after a skipped field of a type."""
    writer = json.loads(json.dumps(SCHEMA))
    writer["fields"].insert(0, {"name": "more", "type": kind})
    return make_decoder(writer)(value + BODY)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("null", b""),
        ("boolean", b"\x01"),
        ("long", b"\xff" * 9 + b"\x01"),
        ("float", bytes(4)),
        ("double", bytes(8)),
        ("bytes", b"\x04\xff\xff"),
        ("string", b"\x04\xff\xff"),
        ({"type": "fixed", "name": "F", "size": 3}, bytes(3)),
        (FLAG, b"\x02"),
        (["null", "int"], b"\x02\x06"),
        (["null", "int"], b"\x00"),
        (INTS, b"\x04\x02\x04\x02\x06\x00"),
        (INTS, b"\x03\x04\x02\x04\x00"),
        (INTS, b"\x00"),
        ({"type": "fixed", "name": "F", "size": 0}, b""),
        ({"type": "map", "values": INTS}, b"\x02\x02k\x02\x02\x00\x00"),
    ],
    ids=str,
)
def test_a_value_of_any_type_is_skipped(kind, value):
    assert SAMPLE == read(kind, value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("boolean", b"\x02", "more holds a boolean that is neither 0 nor 1"),
        ("int", b"\x80\x80\x80\x80\x10", "more holds a number of more than 32 bits"),
        ("int", b"\x80" * 5 + b"\x00", "more holds a number of more than 5 bytes"),
        ("long", b"\xff" * 9 + b"\x02", "more holds a number of more than 64 bits"),
        ("long", b"\xff" * 10 + b"\x00", "more holds a number of more than 10 bytes"),
        ("bytes", b"\x01", "more has a length of -1 bytes"),
        (FLAG, b"\x04", "more holds enum symbol 2, outside 0 to 1"),
        (FLAG, b"\x01", "more holds enum symbol -1, outside 0 to 1"),
        (["null", "int"], b"\x04", "more holds union branch 2, outside 0 to 1"),
        (["null", "int"], b"\x01", "more holds union branch -1, outside 0 to 1"),
        (INTS, b"\x80\x80\x80\x80\x80\x01\x00", "more has a block of 17179869184 items, but"),
        (INTS, b"\xff\xff\xff\xff\xff\x01\x02\x00", "more has a block of 34359738368 items, but"),
        (INTS, b"\xff" * 9 + b"\x01\x00", "more has a block of 9223372036854775808 items, but"),
        (INTS, b"\x01\x05", "more has a length of -3 bytes"),
        (INTS, b"\x03\x06\x02\x04\x00", "more has a block that does not have the size it states"),
        (INTS, b"\x03\xfe\x7f\x02\x04\x00", "more has a block of 2 items, but"),
        ("string", b"\xfe\xff\xff\xff\xff\x01", "it ends before trade_id does"),
    ],
    ids=str,
)
def test_a_damaged_value_is_refused_though_it_is_skipped(kind, value, expected):
    with pytest.raises(UndecodableRecord) as refused:
        read(kind, value)

    assert expected in refused.value.violation.detail


def nested(depth, kind):
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return kind


@pytest.mark.parametrize(
    "kind",
    [
        INTS,
        {
            "type": "array",
            "items": {
                "type": "record",
                "name": "Z",
                "fields": [
                    *({"name": f"f{n}", "type": {"type": "fixed", "name": f"Z{n}", "size": 0}} for n in range(480)),
                    {"name": "f", "type": "int"},
                ],
            },
        },
        {"type": "array", "items": ["null", *({"type": "fixed", "name": f"F{n}", "size": 1} for n in range(400))]},
        {"type": "array", "items": nested(13, "int")},
        {"type": "map", "values": nested(13, "int")},
        {
            "type": "array",
            "items": {
                "type": "record",
                "name": "R",
                "fields": [*({"name": f"f{n}", "type": "null"} for n in range(400)), {"name": "f", "type": "int"}],
            },
        },
    ],
    ids=["numbers", "fixed of no bytes", "many branches", "arrays in arrays", "arrays in a map", "records of nulls"],
)
def test_no_byte_of_the_largest_body_costs_more_than_a_few_steps(kind):
    """Every byte is an item, or an item of an item; the body is refused within a second on a busy machine."""
    count = MAX_BODY - 100 - len(BODY)
    block = _long(count) + bytes(count)
    begin = time.process_time()
    with pytest.raises(UndecodableRecord):
        read(kind, block)

    assert time.process_time() - begin < 5


def _long(number):
    zigzag, encoded = number << 1, bytearray()
    while zigzag > 127:
        encoded.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*encoded, zigzag])
