"""Avro's primitive encodings, and the conversions of dates, times and decimals."""

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final, Generic, TypeVar

MAX_INT: Final = 2**31 - 1
MIN_INT: Final = -(2**31)
"""Where Avro's int ends."""

TABLE_SIZE: Final = 1_024
"""Numbers from 0 whose bytes are kept: nearly all lengths and versions."""


class Malformed(Exception):
    """
    Bytes that are not Avro of their schema.

    Attributes:
        problem: goes on after the field's name.

        field: its name, where the line that raises is not about it alone.
    """

    def __init__(self, problem: str, field: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.field = field


class OutOfRange(Malformed):
    """A value that its field cannot hold; it is refused by the field's own code."""


DECODE_ERRORS: Final = (Malformed, IndexError, UnicodeDecodeError)
"""What is raised over a body; an IndexError where it ends too early."""


def _unsigned(number: int) -> int:
    return number << 1 ^ number >> 63


def _signed(zigzag: int) -> int:
    return zigzag >> 1 ^ -(zigzag & 1)


ONE_BYTE_INTS: Final[tuple[int | None, ...]] = tuple(_signed(byte) if byte < 128 else None for byte in range(256))
"""By a first byte: the number, if that is all of it."""

ONE_BYTE_LENGTHS: Final[tuple[int | None, ...]] = tuple(
    None if number is None or number < 0 else number for number in ONE_BYTE_INTS
)
"""By a first byte: the length, if that is all of it; a negative length is none."""


def read_long(body: bytes, at: int) -> tuple[int, int]:
    """The long that begins at a place, and where it ends."""
    return _read(body, at, 10, 64)


def read_int(body: bytes, at: int) -> tuple[int, int]:
    """The int that begins at a place, and where it ends."""
    return _read(body, at, 5, 32)


def read_size(body: bytes, at: int) -> tuple[int, int]:
    """A length in bytes, and where it ends; raises for a negative one."""
    size, at = _read(body, at, 10, 64)
    if size < 0:
        raise Malformed(f"has a length of {size} bytes")
    return size, at


def read_index(body: bytes, at: int, choices: int) -> tuple[int, int]:
    """The index of a symbol or a branch, and where it ends; raises for one that is not there."""
    index, at = _read(body, at, 5, 32)
    if not 0 <= index < choices:
        raise Malformed(f"names choice {index} of {choices}")
    return index, at


def read_block(body: bytes, at: int) -> tuple[int, int, int]:
    """
    The number of items in a block of an array or a map, where the block ends, and where its items begin.

    The end is -1 where the writer did not say. A block cannot have more items
    than bytes are left, since no admitted item takes less than one.
    """
    count, at = _read(body, at, 10, 64)
    end = -1
    if count < 0:
        size, at = read_size(body, at)
        count, end = -count, at + size
    if count > len(body) - at or end > len(body):
        raise Malformed(f"has a block of {count} items, but {max(0, len(body) - at)} bytes are left")
    return count, end, at


def require_end(at: int, end: int) -> None:
    """Raise if a block did not end where its writer said."""
    if end not in (-1, at):
        raise Malformed("has a block that does not end where it says")


def _read(body: bytes, at: int, most: int, bits: int) -> tuple[int, int]:
    zigzag = 0
    for shift, place in enumerate(range(at, at + most)):
        byte = body[place]
        zigzag |= (byte & 127) << 7 * shift
        if byte < 128:
            if zigzag >> bits:
                raise Malformed(f"holds a number of more than {bits} bits")
            return _signed(zigzag), place + 1
    raise Malformed(f"holds a number of more than {most} bytes")


def encode_varint(number: int) -> bytes:
    """The bytes of an int or a long of at most 64 bits."""
    zigzag, encoded = _unsigned(number), bytearray()
    while zigzag > 127:
        encoded.append(zigzag & 127 | 128)
        zigzag >>= 7
    encoded.append(zigzag)
    return bytes(encoded)


ENCODED_INTS: Final = tuple(encode_varint(number) for number in range(TABLE_SIZE))
"""The bytes of the numbers from 0."""


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL: Final = EPOCH.toordinal()

MIN_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
MAX_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""The instants of the years 1 to 9999 in UTC, in microseconds from 1970."""

EXACT_CONTEXT: Final = Context(prec=1_000, traps=[Inexact, InvalidOperation])
"""Arithmetic that is exact or raises, whatever a thread's own context is."""

CACHE_SIZE: Final = 10_000
"""Values that are kept at most; then all are let go, so that nobody can fill the memory."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class BoundedCache(dict[_Key, _Value], Generic[_Key, _Value]):
    """Values met before, so many at most. Days repeat: most trades end on one of a few thousand."""

    def remember(self, key: _Key, value: _Value) -> _Value:
        """Keep a value, and give it back."""
        if len(self) >= CACHE_SIZE:
            self.clear()
        self[key] = value
        return value


DATES: Final[BoundedCache[bytes, date]] = BoundedCache()
"""Days by their three bytes, which reach from 1992 to 4840."""


def read_date(body: bytes, at: int) -> tuple[date, int]:
    """The day that begins at a place, and where it ends."""
    days, end = read_int(body, at)
    try:
        day = date.fromordinal(days + EPOCH_ORDINAL)
    except (ValueError, OverflowError):
        raise OutOfRange(f"is {days} days after 1970-01-01, which lies outside the years 1 to 9999") from None
    if end - at == 3:
        DATES.remember(body[at:end], day)
    return day, end


def out_of_range_error(micros: int) -> OutOfRange:
    """What is raised for an instant that Python cannot hold."""
    return OutOfRange(f"is {micros} microseconds after 1970, which lies outside the years 1 to 9999 in UTC")


def decimal_error(size: int, precision: int, scale: int) -> Malformed:
    """What is raised for bytes that are no decimal of a precision and a scale."""
    if not size:
        return Malformed("is a decimal without a byte")
    return Malformed(f"has more digits than decimal({precision},{scale}) holds")


def quantum(scale: int) -> Decimal:
    """The smallest step of a decimal."""
    return Decimal((0, (1,), -scale))
