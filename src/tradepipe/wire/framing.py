"""
The frame around every value: a magic byte, the schema id, the body.

The format is Confluent's: one zero byte, the id as a big-endian unsigned
32-bit number, then Avro's binary encoding without a header of its own.
"""

from struct import Struct
from typing import Final

from tradepipe.contract.refusal import Code, Violation
from tradepipe.errors import UndecodableRecord

HEAD: Final = 5
"""Bytes before the body."""

_head = Struct(">BI")


def frame(schema_id: int, body: bytes) -> bytes:
    """A body with its schema id before it."""
    return _head.pack(0, schema_id) + body


def unframe(value: bytes | None) -> tuple[int, bytes]:
    """
    The schema id and the body of a value.

    Raises:
        UndecodableRecord: with `EMPTY` for no value at all, with `FRAMING` for
            one that does not begin with a magic byte and an id.
    """
    if not value:
        raise UndecodableRecord(Violation(Code.EMPTY, "the record has no value"))
    if len(value) < HEAD or value[0] != 0:
        raise UndecodableRecord(Violation(Code.FRAMING, _problem(value)))
    return int.from_bytes(value[1:HEAD], "big"), value[HEAD:]


def _problem(value: bytes) -> str:
    begins = value[:HEAD].hex(" ")
    if value[0] != 0:
        return f"the value begins with {begins}, but a framed value begins with the magic byte 00"
    return f"the value is {begins}, {len(value)} bytes, but the magic byte and a schema id take {HEAD}"
