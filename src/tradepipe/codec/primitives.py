"""Avro's primitive encodings, and conversions of dates, times and decimals."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from struct import Struct
from struct import error as StructError
from typing import Final, Generic, Literal, TypeVar
from uuid import UUID

from tradepipe.trade.avro_types import EXACT

TABLE_SIZE: Final = 1_024
"""Number of encoded integers in the table, from 0: it covers nearly all lengths and versions."""


Indexed = Literal["union branch", "enum symbol"]
"""What a schema lists, and a body gives by its index."""


class Malformed(Exception):
    """
    Bytes that are not a valid encoding of their schema.

    Attributes:
        problem: predicate of a sentence whose subject is the field.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class OutOfRange(Malformed):
    """A value outside the range of its field; it is refused with the field's violation code."""


DECODE_ERRORS: Final = (Malformed, IndexError, UnicodeDecodeError, StructError)
"""Exceptions that an invalid body raises; an IndexError or a StructError means that it ends too early."""


ONE_BYTE_INTS: Final[tuple[int | None, ...]] = tuple(
    byte >> 1 ^ -(byte & 1) if byte < 128 else None for byte in range(256)
)
"""Numbers by their first byte; None if more bytes follow."""

ONE_BYTE_LENGTHS: Final[tuple[int | None, ...]] = tuple(
    None if number is None or number < 0 else number for number in ONE_BYTE_INTS
)
"""Lengths by their first byte; None if more bytes follow or the number is negative."""


def read_long(body: bytes, at: int) -> tuple[int, int]:
    """Read the long at an offset; return it and the offset after it."""
    return _read(body, at, 10, 64)


def read_int(body: bytes, at: int) -> tuple[int, int]:
    """Read the int at an offset; return it and the offset after it."""
    return _read(body, at, 5, 32)


def read_size(body: bytes, at: int) -> tuple[int, int]:
    """Read a length in bytes, which must not be negative; return it and the offset after it."""
    size, at = _read(body, at, 10, 64)
    if size < 0:
        raise Malformed(f"has a length of {size} bytes")
    return size, at


def read_index(body: bytes, at: int, count: int, kind: Indexed) -> tuple[int, int]:
    """Read the index of a branch or a symbol, of which there are `count`; return it and the offset after it."""
    index, at = _read(body, at, 5, 32)
    if not 0 <= index < count:
        raise index_error(index, count, kind)
    return index, at


def index_error(index: int, count: int, kind: Indexed) -> Malformed:
    """Return the error for an index that no branch or symbol has."""
    return Malformed(f"holds {kind} {index}, outside 0 to {count - 1}")


def read_block(body: bytes, at: int) -> tuple[int, int, int]:
    """
    Read the header of an array's or a map's block.

    Returns the number of items, the offset after the block (-1 if the writer
    did not give its size), and the offset of the first item. A block with more
    items than bytes are left is refused: an admitted item takes at least one.
    """
    count, at = _read(body, at, 10, 64)
    end = -1
    # A negative count means that the block's size in bytes follows.
    if count < 0:
        size, at = read_size(body, at)
        count, end = -count, at + size
    if count > len(body) - at or end > len(body):
        raise Malformed(f"has a block of {count} items, but {max(0, len(body) - at)} bytes are left")
    return count, end, at


def require_end(at: int, end: int) -> None:
    """Raise an error if a block does not have the size that its header gives."""
    if end not in (-1, at):
        raise Malformed("has a block that does not have the size it states")


def _read(body: bytes, at: int, max_bytes: int, bits: int) -> tuple[int, int]:
    byte, end = body[at], at + max_bytes
    zigzag, shift = byte & 127, 7
    at += 1
    while byte > 127:
        # Redundant bytes are accepted as by Java, but only up to the longest valid encoding.
        if at == end:
            raise Malformed(f"holds a number of more than {max_bytes} bytes")
        byte = body[at]
        at += 1
        zigzag |= (byte & 127) << shift
        shift += 7
    if zigzag >> bits:
        raise Malformed(f"holds a number of more than {bits} bits")
    return zigzag >> 1 ^ -(zigzag & 1), at


def encode_varint(number: int) -> bytes:
    """Encode an int or a long of at most 64 bits."""
    zigzag, encoded = number << 1 ^ number >> 63, bytearray()
    while zigzag > 127:
        encoded.append(zigzag & 127 | 128)
        zigzag >>= 7
    encoded.append(zigzag)
    return bytes(encoded)


ENCODED_INTS: Final = tuple(encode_varint(number) for number in range(TABLE_SIZE))
"""Encoded integers from 0."""


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL: Final = EPOCH.toordinal()

MIN_MICROS: Final = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
MAX_MICROS: Final = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""Bounds of a datetime, the years 1 to 9999 in UTC, in microseconds since 1970."""

CACHE_SIZE: Final = 10_000
"""Entries of a cache at most; a full cache is cleared, so hostile input does not exhaust the memory."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class BoundedCache(dict[_Key, _Value], Generic[_Key, _Value]):
    """Cache of at most `CACHE_SIZE` values. Dates repeat: most trades mature on one of a few thousand."""

    def remember(self, key: _Key, value: _Value) -> _Value:
        """Store a value and return it."""
        if len(self) >= CACHE_SIZE:
            self.clear()
        self[key] = value
        return value


DATES: Final[BoundedCache[bytes, date]] = BoundedCache()
"""Dates by their three bytes, which cover the years 1992 to 4840."""


def read_date(body: bytes, at: int) -> tuple[date, int]:
    """Read the date at an offset; return it and the offset after it."""
    days, end = read_int(body, at)
    day = to_date(days)
    if end - at == 3:
        DATES.remember(body[at:end], day)
    return day, end


def to_date(days: int) -> date:
    """Return the date of a number of days since 1970."""
    try:
        return date.fromordinal(days + EPOCH_ORDINAL)
    except (ValueError, OverflowError):
        raise OutOfRange(f"is {days} days after 1970-01-01, which is outside the years 1 to 9999") from None


def out_of_range_error(micros: int) -> OutOfRange:
    """Return the error for a timestamp outside the range of a datetime."""
    return OutOfRange(f"is {micros} microseconds after 1970, which is outside the years 1 to 9999 in UTC")


def decimal_error(size: int, precision: int, scale: int) -> Malformed:
    """Return the error for bytes that are not a decimal of a precision and a scale."""
    if not size:
        return Malformed("is a decimal without a byte")
    return Malformed(f"has more digits than decimal({precision},{scale}) holds")


def quantum(scale: int) -> Decimal:
    """Return the smallest step of a decimal."""
    return Decimal((0, (1,), -scale))


_DOUBLE_BITS: Final = 53
_MICROS_PER_DAY: Final = 86_400_000_000
_SINGLE: Final = Struct("<f")
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch


def to_single(number: int) -> float:
    """Return the float of single precision that is nearest to a number."""
    # The nearest float, as Java's cast. A double holds 53 bits: a last bit for what is lost prevents rounding twice.
    size = abs(number)
    lost = max(0, size.bit_length() - _DOUBLE_BITS)
    kept = size >> lost | bool(size & (1 << lost) - 1)
    found: float = _SINGLE.unpack(_SINGLE.pack(float(kept << lost)))[0]
    return -found if number < 0 else found


def to_decimal(precision: int, scale: int, limit: int, step: Decimal, found: bytes) -> Decimal:
    """Return the decimal of its bytes, whose unscaled number is below a limit, by its smallest step."""
    unscaled = int.from_bytes(found, "big", signed=True)
    if not found or abs(unscaled) >= limit:
        raise decimal_error(len(found), precision, scale)
    return EXACT.multiply(Decimal(unscaled), step)


def parse_uuid(found: bytes) -> UUID:
    """Return the UUID of a text."""
    text = found.decode()
    if not _is_uuid(text):
        raise Malformed("is not a UUID")
    return UUID(text)


def to_time(unit: str, number: int) -> time:
    """Return a time of day, by the unit of its number."""
    micros = number * 1_000 if unit == "millis" else number
    if not 0 <= micros < _MICROS_PER_DAY:
        raise OutOfRange(f"is {micros} microseconds after midnight, which is not within a day")
    return (EPOCH + timedelta(0, 0, micros)).time()


def to_micros(unit: str, number: int) -> int:
    """Return the microseconds of a timestamp, by the unit of its number."""
    if unit == "nanos":
        if number % 1_000:
            raise OutOfRange(f"is {number} nanoseconds after 1970, of which a datetime holds whole microseconds only")
        number //= 1_000
    elif unit == "millis":
        number *= 1_000
    if not MIN_MICROS <= number <= MAX_MICROS:
        raise out_of_range_error(number)
    return number
