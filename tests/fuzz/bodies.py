"""Hostile bodies and framed values."""

from collections.abc import Callable
from random import Random
from typing import Final

from tradepipe.codec.codec import MAX_BODY
from tradepipe.evolution.history import golden_records, versions
from tradepipe.registry.serde import frame

KNOWN_IDS: Final = tuple(version.number for version in versions())
UNKNOWN_IDS: Final = (0, 77, 2**31 - 1, 2**31, 2**32 - 1)

VALID: Final = {number: golden.body for number, golden in zip(KNOWN_IDS, golden_records(), strict=True)}

_NUMBERS: Final = (
    b"\x01",
    b"\x7f",
    b"\x80\x00",
    b"\xfe\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x10",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 9 + b"\x7f",
    b"\x80" * 12,
    b"\xff" * 40,
)
"""Bounds of numbers, and numbers beyond them."""

_Change = Callable[[Random, bytearray], None]


def mutated(random: Random) -> tuple[int, bytes]:
    """Return a valid body of a released version with one to four changes."""
    number = random.choice(KNOWN_IDS)
    body = bytearray(VALID[number])
    for _ in range(random.randrange(1, 5)):
        random.choice(_CHANGES)(random, body)
    return number, bytes(body)


def noise(random: Random) -> tuple[int, bytes]:
    """Return random bytes, mostly few."""
    return random.choice(KNOWN_IDS), random.randbytes(int(random.expovariate(1 / 40)))


def bomb(random: Random) -> tuple[int, bytes]:
    """Return many lengths and counts, up to a body above the size limit."""
    size = random.choice((10, 1_000, 100_000, MAX_BODY, MAX_BODY + 1)) if random.random() < 0.01 else 30
    piece = random.choice((*_NUMBERS, b"\x00", b"\x02", random.randbytes(3)))
    return random.choice(KNOWN_IDS), (piece * (size // len(piece) + 1))[:size]


def framed(random: Random) -> bytes | None:
    """Return a value with a valid or invalid frame."""
    version, body = random.choice((mutated, noise))(random)
    draw = random.random()
    if draw < 0.02:
        return random.choice((None, b"", b"\x00", b"\x01" * 4, bytes(4), bytes(5)))
    if draw < 0.1:
        return random.randbytes(5) + body if draw < 0.09 else random.randbytes(random.randrange(5))
    if draw < 0.2:
        return frame(random.choice(UNKNOWN_IDS), body)
    return frame(version, body)


def _flip(random: Random, body: bytearray) -> None:
    if body:
        body[random.randrange(len(body))] ^= 1 << random.randrange(8)


def _set(random: Random, body: bytearray) -> None:
    if body:
        body[random.randrange(len(body))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))


def _cut(random: Random, body: bytearray) -> None:
    begin = random.randrange(len(body) + 1)
    del body[begin : begin + random.randrange(1, 9)]


def _insert(random: Random, body: bytearray) -> None:
    place = random.randrange(len(body) + 1)
    body[place:place] = random.choice((*_NUMBERS, random.randbytes(random.randrange(1, 9))))


def _replace(random: Random, body: bytearray) -> None:
    place = random.randrange(len(body) + 1)
    number = random.choice(_NUMBERS)
    body[place : place + len(number)] = number


def _repeat(random: Random, body: bytearray) -> None:
    begin = random.randrange(len(body) + 1)
    body[begin:begin] = body[begin : begin + random.randrange(1, 30)]


def _end(random: Random, body: bytearray) -> None:
    del body[random.randrange(len(body) + 1) :]


_CHANGES: Final[tuple[_Change, ...]] = (_flip, _set, _cut, _insert, _replace, _repeat, _end)
