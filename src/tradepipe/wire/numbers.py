"""
Avro's whole numbers: zigzag, then seven bits a byte, the lowest first.

Read strictly: an int takes 5 bytes at most and 32 bits, a long 10 bytes and 64
bits. A number may take more bytes than it needs, as Java's decoder allows.
What generated code does not do itself it calls from here.
"""

from typing import Final

MAX_INT: Final = 2**31 - 1
MIN_INT: Final = -(2**31)
"""Where Avro's int ends."""

TABULATED: Final = 1_024
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


DAMAGE: Final = (Malformed, IndexError, UnicodeDecodeError)
"""What is raised over a body; an IndexError where it ends too early."""


def _unsigned(number: int) -> int:
    return number << 1 ^ number >> 63


def _signed(zigzag: int) -> int:
    return zigzag >> 1 ^ -(zigzag & 1)


SMALL: Final[tuple[int | None, ...]] = tuple(_signed(byte) if byte < 128 else None for byte in range(256))
"""By a first byte: the number, if that is all of it."""

SIZES: Final[tuple[int | None, ...]] = tuple(None if number is None or number < 0 else number for number in SMALL)
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


def written(number: int) -> bytes:
    """The bytes of an int or a long of at most 64 bits."""
    zigzag, encoded = _unsigned(number), bytearray()
    while zigzag > 127:
        encoded.append(zigzag & 127 | 128)
        zigzag >>= 7
    encoded.append(zigzag)
    return bytes(encoded)


WRITTEN: Final = tuple(written(number) for number in range(TABULATED))
"""The bytes of the numbers from 0."""
