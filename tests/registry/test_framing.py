"""Confluent's frame of a value."""

import pytest

from tradepipe.errors import UndecodableRecord
from tradepipe.registry.serde import frame, unframe
from tradepipe.trade.record import Code


@pytest.mark.parametrize(
    ("schema_id", "head"),
    [(1, "0000000001"), (0x01020304, "0001020304"), (2**32 - 1, "00ffffffff")],
    ids=["1", "big-endian", "unsigned"],
)
def test_a_framed_value_is_magic_byte_schema_id_and_body(schema_id, head):
    assert bytes.fromhex(head) + b"body" == frame(schema_id, b"body")
    assert (schema_id, b"body") == unframe(frame(schema_id, b"body"))


@pytest.mark.parametrize("value", [None, b""], ids=["None", "no bytes"])
def test_a_record_without_a_value_is_empty(value):
    with pytest.raises(UndecodableRecord) as refused:
        unframe(value)

    assert Code.EMPTY == refused.value.violation.code


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x00", "the value is 00, 1 bytes"),
        (b"\x00\x00\x00\x01", "the value is 00 00 00 01, 4 bytes"),
        (b"\x01\x00\x00\x00\x07body", "begins with 01 00 00 00 07,"),
        (b'{"trade_id": "T1"}', "begins with 7b 22 74 72 61, which looks like JSON, but"),
        (b"Obj\x01\x02", "begins with 4f 62 6a 01 02, which looks like an Avro file, but"),
        (b"\xc3\x01" + bytes(8), "begins with c3 01 00 00 00, which looks like Avro's single-object encoding, but"),
        (b"\x01" + bytes(16), "begins with 01 00 00 00 00, which looks like a frame with a schema GUID, but"),
    ],
    ids=["1 byte", "4 bytes", "magic byte 1", "JSON", "Avro file", "single object", "GUID"],
)
def test_a_value_without_a_frame_is_refused_with_its_first_bytes(value, shown):
    with pytest.raises(UndecodableRecord) as refused:
        unframe(value)

    assert Code.FRAMING == refused.value.violation.code
    assert shown in refused.value.violation.detail
