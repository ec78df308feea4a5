"""
An executor of plans that knows nothing but the plan: the description of what a compiled one does.

It reads with avro's primitives, and keeps each value as Avro's bytes have it:
numbers in their unit, decimals unscaled, texts and bytes as bytes.
"""

import io
import operator
import re
import struct
from collections.abc import Iterator
from math import isfinite
from typing import Any

import avro.io

from tradepipe.codec.plan import Output, Plan
from tradepipe.codec.steps import Array, Map, Null, Record, Scalar, Step, Symbol, Union

MICROS_PER_DAY = 86_400_000_000
DAYS_TO_2000 = 10_957
OPERATORS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
FACTORS = {"millis": 1_000, "micros": 1}


class Refused(Exception):
    """The body is not a record of the plan, or breaks one of its checks."""


def execute(plan: Plan, body: bytes) -> tuple[list[Any], bytes]:
    """Return the values of a body in declared order, and its row, if it satisfies all checks."""
    stream = io.BytesIO(body)
    slots = _record(plan.record, avro.io.BinaryDecoder(stream))
    if stream.tell() != len(body):
        raise Refused("the body has another length")
    missing = {missing.slot for missing in plan.record.missing}
    values = [
        _default(output.kind, slots[output.slot]) if output.slot in missing else slots[output.slot]
        for output in plan.outputs
    ]
    for output, value in zip(plan.outputs, values, strict=True):
        _check(output, value)
    for relation in plan.relations:
        related = [(plan.outputs[place].kind, values[place]) for place in relation.outputs]
        if not (_are_together(related) if relation.name == "together" else _is_not_before(*related)):
            raise Refused(relation.name)
    return values, b"".join(_field(output, value) for output, value in zip(plan.outputs, values, strict=True))


def _record(record: Record, decoder: avro.io.BinaryDecoder) -> dict[int, Any]:
    slots = {read.slot: _read(read.step, decoder) for read in record.reads}
    return slots | {missing.slot: missing.default for missing in record.missing}


def _default(kind: str, default: Any) -> Any:
    if default is None or kind in ("array", "map", "record"):
        return default
    if kind == "decimal":
        return int.from_bytes(default.encode("latin-1"), "big", signed=True)
    if kind in ("float", "double"):
        return float(default)
    if kind in ("bytes", "fixed", "uuid"):
        return default.encode("latin-1")
    return default.encode() if kind == "string" else default


def _read(step: Step, decoder: avro.io.BinaryDecoder) -> Any:  # noqa: PLR0911 - one case for each kind of step
    match step:
        case Null():
            return None
        case Union(branches):
            return _read(branches[decoder.read_long()], decoder)
        case Symbol(symbols):
            return symbols[decoder.read_long()]
        case Array(item):
            return [_read(item, decoder) for _ in _blocks(decoder)]
        case Map(value):
            return {decoder.read_utf8(): _read(value, decoder) for _ in _blocks(decoder)}
        case Record():
            return _record(step, decoder)
        case Scalar(written, size, kind, precision):
            value = _scalar(written, size, decoder)
            if kind == "decimal":
                value = int.from_bytes(value, "big", signed=True)
                if abs(value) >= 10**precision:
                    raise Refused("digits")
            return float(value) if kind in ("float", "double") else value
    raise Refused("no branch")


def _blocks(decoder: avro.io.BinaryDecoder) -> Iterator[int]:
    while count := decoder.read_long():
        if count < 0:
            decoder.read_long()
        yield from range(abs(count))


def _scalar(written: str, size: int, decoder: avro.io.BinaryDecoder) -> Any:
    if written == "fixed":
        return decoder.read(size)
    return decoder.read_bytes() if written == "string" else getattr(decoder, f"read_{written}")()


def _check(output: Output, value: Any) -> None:
    if value is None:
        return
    if (output.kind == "string" and 0 in value) or (output.kind in ("float", "double") and not isfinite(value)):
        raise Refused(output.name)
    for check in output.checks:
        if check.operator == "matches":
            if not re.fullmatch(check.operand, value.decode()):
                raise Refused(output.name)
        elif not OPERATORS[check.operator](value, check.operand):
            raise Refused(output.name)


def _are_together(related: list[tuple[str, Any]]) -> bool:
    return len({value is None for _, value in related}) == 1


def _is_not_before(value: tuple[str, Any], reference: tuple[str, Any]) -> bool:
    if value[1] is None or reference[1] is None:
        return True
    if value[0] == "date":
        return value[1] >= (reference[1] if reference[0] == "date" else _micros(*reference) // MICROS_PER_DAY)
    return _micros(*value) >= _micros(*reference)


def _micros(kind: str, number: int) -> int:
    unit = kind.rpartition("-")[2]
    if unit == "nanos":
        if number % 1_000:
            raise Refused("nanoseconds")
        return number // 1_000
    return number * FACTORS[unit]


def _field(output: Output, value: Any) -> bytes:
    """A field of a row, but for numeric and jsonb, which the tests compare by value."""
    if value is None or output.column == "jsonb" or output.column.startswith("numeric"):
        return b""
    packed = _packed(output, value)
    return len(packed).to_bytes(4, "big") + packed


def _packed(output: Output, value: Any) -> bytes:  # noqa: PLR0911 - one case for each column
    match output.column:
        case "boolean":
            return bytes([value])
        case "integer":
            return struct.pack(">i", value)
        case "bigint":
            return struct.pack(">q", value)
        case "real":
            return struct.pack(">f", value)
        case "double precision":
            return struct.pack(">d", value)
        case "date":
            return struct.pack(">i", value - DAYS_TO_2000)
        case "time":
            return struct.pack(">q", _micros(output.kind, value))
        case "timestamp" | "timestamptz":
            return struct.pack(">q", _micros(output.kind, value) - DAYS_TO_2000 * MICROS_PER_DAY)
        case "uuid" if len(value) != 16:
            return bytes.fromhex(value.decode().replace("-", ""))
        case _:
            return value.encode() if isinstance(value, str) else bytes(value)
