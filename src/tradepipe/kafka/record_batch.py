"""Sizes in Kafka's record batch format, version 2: https://kafka.apache.org/documentation/#recordbatch."""

from typing import Final

from tradepipe.trade.record import Record

_HEADER_BYTES: Final = 61
"""Bytes of a batch before its records."""


def batch_size(record: Record) -> int:
    """Return the bytes of a batch that holds a record alone, uncompressed: a topic's limit applies to batches."""
    parts = [record.key, record.value, *(part for name, value in record.headers for part in (name.encode(), value))]
    # The attributes, and the differences to the batch's time and first offset, which are 0.
    body = 3 + _varint_size(len(record.headers))
    body += sum(_varint_size(-1) if part is None else _varint_size(len(part)) + len(part) for part in parts)
    return _HEADER_BYTES + _varint_size(body) + body


def _varint_size(number: int) -> int:
    """Return the bytes of a number as a zigzag varint, in which the format writes lengths."""
    return max(1, -(-(number << 1 ^ number >> 31).bit_length() // 7))
