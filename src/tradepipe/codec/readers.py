"""Readers of values of any type, built from the steps of a plan: the executor for values without generated code."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from struct import Struct
from typing import Any, Final
from uuid import UUID

from tradepipe.codec import primitives
from tradepipe.codec.primitives import Malformed, read_block, read_index, read_int, read_long, read_size
from tradepipe.codec.steps import SKIPPED, Array, Map, Mismatch, Null, Record, Scalar, Step, Symbol, Union
from tradepipe.trade.avro_types import from_member_default
from tradepipe.trade.types import Type

Reader = Callable[[bytes, int], tuple[Any, int]]
"""Reads the value at an offset; returns it and the offset after it."""

_EPOCH: Final = datetime(1970, 1, 1)
_FLOAT: Final = Struct("<f")
_DOUBLE: Final = Struct("<d")


def reader_of(step: Step, type_: Type) -> Reader:  # noqa: PLR0911 - one case for each kind of step
    """Return the reader of a step's values as values of a declared type."""
    match step:
        case Null():
            return _read_null
        case Mismatch(problem):

            def refuse(_body: bytes, _at: int) -> tuple[Any, int]:
                raise Malformed(problem)

            return refuse
        case Union(branches):
            return partial(_read_union, tuple(reader_of(branch, type_) for branch in branches))
        case Array(item):
            return partial(_read_array, reader_of(item, type_.item.type))
        case Map(value):
            read_value = reader_of(value, type_.item.type)

            def read_pair(body: bytes, at: int) -> tuple[tuple[str, Any], int]:
                key, at = _read_bytes(body, at)
                found, at = read_value(body, at)
                return (key.decode(), found), at

            return partial(_read_converted, partial(_read_array, read_pair), dict)
        case Symbol(symbols):
            members = tuple(None if symbol is None else type_.python(symbol) for symbol in symbols)

            def read_symbol(body: bytes, at: int) -> tuple[Any, int]:
                index, at = read_index(body, at, len(members), "enum symbol")
                if members[index] is None:
                    raise Malformed(f"holds enum symbol {index}, which the reader's enum lacks")
                return members[index], at

            return read_symbol
        case Record():
            return _record_reader(step, type_)
        case Scalar(written, size):
            read = _BASE_READERS.get(written) or partial(_take, size)
            convert = _converter(step)
            return read if convert is None else partial(_read_converted, read, convert)


def _read_null(_body: bytes, at: int) -> tuple[None, int]:
    return None, at


def _read_union(readers: tuple[Reader, ...], body: bytes, at: int) -> tuple[Any, int]:
    branch, at = read_index(body, at, len(readers), "union branch")
    return readers[branch](body, at)


def _read_array(read_item: Reader, body: bytes, at: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while True:
        count, end, at = read_block(body, at)
        if not count:
            return items, at
        for _ in range(count):
            item, at = read_item(body, at)
            items.append(item)
        primitives.require_end(at, end)


def _record_reader(record: Record, type_: Type) -> Reader:
    members = type_.members
    steps = tuple(
        (read.slot, skipper_of(read.step) if read.slot == SKIPPED else reader_of(read.step, members[read.slot].type))
        for read in record.reads
        if read.slot != SKIPPED or _takes_bytes(read.step)
    )
    defaults = tuple(
        (missing.slot, partial(from_member_default, members[missing.slot], missing.default))
        for missing in record.missing
    )
    make_record: Any = type_.python

    def read_record(body: bytes, at: int) -> tuple[Any, int]:
        # The last place takes what is skipped.
        values: list[Any] = [None] * (len(members) + 1)
        for slot, read in steps:
            values[slot], at = read(body, at)
        for slot, make in defaults:
            # Made for each record: a list that two records share could be changed in one of them.
            values[slot] = make()
        return make_record._make(values[:-1]), at

    return read_record


def skipper_of(step: Step) -> Reader:  # noqa: PLR0911 - one case for each kind of step
    """Return a reader that passes over a value; its result means nothing."""
    match step:
        case Array(item):
            return partial(_skip_blocks, skipper_of(item))
        case Map(value):
            return partial(_skip_blocks, partial(_skip_all, (_skip_bytes, skipper_of(value))))
        case Union(branches):
            return partial(_read_union, tuple(map(skipper_of, branches)))
        case Record(reads):
            return partial(_skip_all, tuple(skipper_of(read.step) for read in reads if _takes_bytes(read.step)))
        case Symbol(symbols):
            count = len(symbols)
            return lambda body, at: read_index(body, at, count, "enum symbol")
        case Scalar(written, size):
            width = WIDTHS.get(written, size)
            return _SKIPPERS.get(written) or (lambda _body, at: (None, at + width))
        case _:
            return _read_null


def _takes_bytes(step: Step) -> bool:
    """Return whether a skipped value takes any bytes; without any, thousands of them would make one byte expensive."""
    match step:
        case Record(reads):
            return any(_takes_bytes(read.step) for read in reads)
        case Scalar("fixed", size):
            return size > 0
        case _:
            return not isinstance(step, Null)


def _skip_blocks(skip_item: Reader, body: bytes, at: int) -> tuple[None, int]:
    while True:
        count, end, at = read_block(body, at)
        if not count:
            return None, at
        for _ in range(count):
            _, at = skip_item(body, at)
        primitives.require_end(at, end)


def _skip_all(readers: tuple[Reader, ...], body: bytes, at: int) -> tuple[None, int]:
    for read in readers:
        _, at = read(body, at)
    return None, at


def _skip_bytes(body: bytes, at: int) -> tuple[None, int]:
    size, at = read_size(body, at)
    return None, at + size


WIDTHS: Final = {"float": 4, "double": 8}
"""Bytes of the types that have a fixed number of them."""


def _read_converted(read: Reader, convert: Callable[[Any], Any], body: bytes, at: int) -> tuple[Any, int]:
    value, at = read(body, at)
    return convert(value), at


def _read_boolean(body: bytes, at: int) -> tuple[bool, int]:
    if body[at] > 1:
        raise Malformed("holds a boolean that is neither 0 nor 1")
    return body[at] == 1, at + 1


def _read_bytes(body: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_size(body, at)
    return _take(size, body, at)


def _take(size: int, body: bytes, at: int) -> tuple[bytes, int]:
    found = body[at : at + size]
    if len(found) < size:
        raise IndexError
    return found, at + size


_BASE_READERS: Final[Mapping[str, Reader]] = {
    "boolean": _read_boolean,
    "int": read_int,
    "long": read_long,
    "float": lambda body, at: (_FLOAT.unpack_from(body, at)[0], at + 4),
    "double": lambda body, at: (_DOUBLE.unpack_from(body, at)[0], at + 8),
    "bytes": _read_bytes,
    "string": _read_bytes,
}

_SKIPPERS: Final[Mapping[str, Reader]] = {
    "boolean": _read_boolean,
    "int": lambda body, at: (None, at + 1) if body[at] < 128 else read_int(body, at),
    "long": lambda body, at: (None, at + 1) if body[at] < 128 else read_long(body, at),
    "bytes": _skip_bytes,
    "string": _skip_bytes,
}


def _converter(step: Scalar) -> Callable[[Any], Any] | None:  # noqa: PLR0911 - one case for each kind
    """Return the function from what is written to the declared kind; None if there is nothing to convert."""
    match step.kind:
        case "string":
            return bytes.decode
        case "float":
            return primitives.to_single if step.written in ("int", "long") else None
        case "double":
            return float if step.written in ("int", "long") else None
        case "decimal":
            return partial(
                primitives.to_decimal, step.precision, step.scale, 10**step.precision, primitives.quantum(step.scale)
            )
        case "uuid":
            return (lambda found: UUID(bytes=found)) if step.written == "fixed" else primitives.parse_uuid
        case "date":
            return primitives.to_date
    name, _, unit = step.kind.rpartition("-")
    return partial(_MOMENTS[name], unit) if name else None


_MOMENTS: Final[Mapping[str, Callable[[str, int], Any]]] = {
    "time": primitives.to_time,
    "timestamp": lambda unit, number: primitives.EPOCH + timedelta(0, 0, primitives.to_micros(unit, number)),
    "local-timestamp": lambda unit, number: _EPOCH + timedelta(0, 0, primitives.to_micros(unit, number)),
}
