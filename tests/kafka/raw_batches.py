"""Batches that no client of Kafka makes, sent as they are."""

import socket
import struct
import time
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

GZIP: Final = 1
ZSTD: Final = 4
"""Numbers of codecs in the attributes of a batch."""

_PRODUCE: Final = 0
_VERSION: Final = 7
_ZSTD_BLOCK: Final = 128 << 10
"""Bytes that a block in zstd unpacks to at most."""

_CASTAGNOLI: Final = 0x82F63B78


def encode_record(index: int, key: bytes, value: bytes) -> bytes:
    """Encode a record of a batch, without headers."""
    body = b"\0" + b"".join(map(varint, (0, index, len(key)))) + key + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def encode_malformed(index: int) -> bytes:
    """Encode a record whose value has a negative length, which brokers take for none and librdkafka does not read."""
    body = b"\0" + b"".join(map(varint, (0, index, 1))) + b"k" + varint(-5) + varint(0)
    return varint(len(body)) + body


def encode_misnumbered(index: int, key: bytes, value: bytes) -> bytes:
    """
    Encode a record whose offset librdkafka reads as 2**31 more than the brokers do.

    The number has five bytes, of which brokers take 32 bits.
    """
    assert index < 64
    number = bytes([index << 1 | 0x80, 0x80, 0x80, 0x80, 0x10])
    body = b"\0\0" + number + varint(len(key)) + key + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def encode_batch(payload: bytes, count: int, codec: int) -> bytes:
    """Encode a batch of `count` records from their compressed bytes."""
    now = int(time.time() * 1_000)
    checked = struct.pack(">hiqqqhii", codec, count - 1, now, now, -1, -1, -1, count) + payload
    rest = struct.pack(">ibI", -1, 2, _crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(rest)) + rest


def gzip_member(content: bytes) -> bytes:
    """Compress to one member of a file in gzip, which may have several."""
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(content) + compressor.flush()


class Hollow(NamedTuple):
    """
    A record that is small in a batch in zstd, because it ends in zeros.

    Attributes:
        start: its bytes before the zeros.
        zeros: how many zeros follow.
    """

    start: bytes
    zeros: int


def hollow_value(index: int, key: bytes, size: int) -> Hollow:
    """Return a record whose value is `size` zeros."""
    start = b"\0" + b"".join(map(varint, (0, index, len(key)))) + key + varint(size)
    # The last zero is the number of headers.
    return Hollow(varint(len(start) + size + 1) + start, size + 1)


def hollow_key(index: int, size: int) -> Hollow:
    """Return a record whose key is `size` zeros, and whose value is empty."""
    start = b"\0" + b"".join(map(varint, (0, index, size)))
    # The last zeros are the length of the value and the number of headers.
    return Hollow(varint(len(start) + size + 2) + start, size + 2)


def hollow_headers(index: int, key: bytes, count: int) -> Hollow:
    """Return a record without a value that has `count` headers without names and values."""
    start = b"\0" + b"".join(map(varint, (0, index, len(key)))) + key + varint(-1) + varint(count)
    return Hollow(varint(len(start) + 2 * count) + start, 2 * count)


def encode_hollow(records: Sequence[Hollow]) -> bytes:
    """
    Encode a batch in zstd.

    Its frame (RFC 8878) says what it unpacks to, and has four bytes for each 128 KiB of zeros.
    """
    blocks = []
    for start, zeros in records:
        full, rest = divmod(zeros, _ZSTD_BLOCK)
        blocks += [(0, len(start), start), *[(1, _ZSTD_BLOCK, b"\0")] * full, (1, rest, b"\0")]
    # One segment, whose size follows in four bytes. At the end an empty block, as the last one.
    frame = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", sum(len(start) + zeros for start, zeros in records))
    for kind, size, content in blocks:
        frame += (size << 3 | kind << 1).to_bytes(3, "little") + content
    return encode_batch(frame + b"\1\0\0", len(records), ZSTD)


def send_batch(bootstrap_server: str, topic: str, batch: bytes) -> None:
    """Send a batch to partition 0; its broker must accept it."""
    host, _, port = bootstrap_server.rpartition(":")
    name = struct.pack(">h", len(topic)) + topic.encode()
    body = struct.pack(">hhii", -1, -1, 20_000, 1) + name + struct.pack(">iii", 1, 0, len(batch)) + batch
    request = struct.pack(">hhih", _PRODUCE, _VERSION, 1, -1) + body
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb")
        response = answer.read(*struct.unpack(">i", answer.read(4)))
    # After the correlation id, the number of topics, the topic, and the numbers of partitions and of the partition.
    (error,) = struct.unpack_from(">h", response, 8 + len(name) + 8)
    assert 0 == error


def members(*contents: Sequence[bytes]) -> bytes:
    """Compress records to several members of gzip, one for each sequence."""
    return b"".join(gzip_member(b"".join(records)) for records in contents)


def varint(number: int) -> bytes:
    """Encode a number as in a record."""
    number = number << 1 if number >= 0 else (~number << 1) | 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _crc32c(content: bytes) -> int:
    remainder = 0xFFFFFFFF
    for byte in content:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (_CASTAGNOLI if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF
