"""What both executors make of records: the compiled one, and Python's decoder with the constraints and rules."""

from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from struct import pack
from typing import Any

from tests.codec.every_type import make_decoder
from tradepipe._native import Executor
from tradepipe.codec import native
from tradepipe.codec.admission import parse_writer_schema
from tradepipe.codec.copy_rows import NULL, packer
from tradepipe.codec.fields import RecordCodec
from tradepipe.codec.plan import make_plan
from tradepipe.errors import UndecodableRecord
from tradepipe.trade.record import Record
from tradepipe.trade.records import Run
from tradepipe.trade.rules import violation_finder

SCHEMA_ID = 7
HEADER = b"\0" + SCHEMA_ID.to_bytes(4, "big")


def record_of(body: bytes, key: bytes | None = b"T1", *, offset: int = 5) -> Record:
    return Record("trades", 3, offset, key, HEADER + body)


def make_executor(codec: RecordCodec, writer: dict[str, Any]) -> Executor:
    """A compiled executor of a writer schema; raises `Unsupported` as its `add`."""
    executor = native.make_executor(codec)
    assert executor is not None
    executor.add(HEADER, make_plan(parse_writer_schema(writer), codec))
    return executor


class Executors:
    """Both executors of a writer schema."""

    def __init__(self, codec: RecordCodec, writer: dict[str, Any]) -> None:
        self.compiled = make_executor(codec, writer)
        self._decode: Callable[[bytes], Any] = make_decoder(codec, writer)
        self._find_violations = violation_finder(codec.declaration)
        self._packers = [packer(field.type) for field in codec.declaration.fields]
        self._key = codec.record._fields.index(codec.declaration.partition_key)  # type: ignore[attr-defined]

    def row(self, body: bytes) -> bytes | None:
        """The row of a body, by both; None if neither passes it. Its key is the right one, if there is one."""
        decoded = self._read(body)
        self._compare_decoded(decoded, self.compiled.decode(HEADER + body))
        found = None if decoded is None or self._find_violations(decoded) else decoded
        key = None if found is None else found[self._key].encode()
        expected = None if found is None else self._pack(found, record_of(body, key))
        run = Run.of([record_of(body, key)])
        rows = self.compiled.rows(run, 0, key is not None)
        assert rows == ([] if expected is None else [expected]), f"compiled {rows}, Python {expected}"
        assert len(rows) == self.compiled.check(run, 0, key is not None)
        if key is not None:
            assert [] == self.compiled.rows(Run.of([record_of(body, key + b" ")]), 0, True)
        return expected

    def _read(self, body: bytes) -> Any:
        try:
            return self._decode(body)
        except UndecodableRecord:
            return None

    def _compare_decoded(self, expected: Any, found: Any) -> None:
        if found is None and expected is not None:
            assert any(map(_is_left_to_python, expected))
        else:
            # As text, which tells 1.0 from 1.00, and the classes of numbers and records apart.
            assert repr(expected) == repr(found)

    def _pack(self, found: Any, record: Record) -> bytes:
        topic = record.topic.encode()
        fields = [
            NULL if value is None else pack_value(value) for pack_value, value in zip(self._packers, found, strict=True)
        ]
        start = pack(">hi", len(fields) + 4, len(topic)) + topic
        return start + b"".join(fields) + pack(">iiiqii", 4, record.partition, 8, record.offset, 4, SCHEMA_ID)


def _is_left_to_python(value: Any) -> bool:
    if isinstance(value, Decimal):
        return len(value.as_tuple().digits) > 18
    return isinstance(value, float) and not isfinite(value)
