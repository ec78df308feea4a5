"""Messages of librdkafka as records."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import itemgetter, methodcaller
from typing import Any, Final

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from tradepipe.trade.record import HEADER_BYTES, Headers, Record

UNREADABLE: Final[Headers] = (("", None),)
"""Stands for headers with a name that is not UTF-8; compare by identity."""

# If a header's name is not UTF-8, confluent_kafka returns headers without a name and leaves its UnicodeDecodeError
# pending. Python's specialized call of `message.headers()` checks only the returned value: the error then surfaces
# elsewhere, or the process crashes on the missing name. `methodcaller` detects the error at once, as a SystemError.
_headers: Final[Any] = methodcaller("headers")

_new: Final[Any] = tuple.__new__
"""Creates a record without the NamedTuple constructor, which is Python code and runs for every record."""

_key_of: Final[Any] = itemgetter(Record._fields.index("key"))
_value_of: Final[Any] = itemgetter(Record._fields.index("value"))
_headers_of: Final[Any] = itemgetter(Record._fields.index("headers"))


def read_headers(messages: Sequence[Message]) -> list[Headers]:
    """Return the headers of each message, or `UNREADABLE` if one of them has a name that is not UTF-8."""
    given: list[Headers | None] = []
    found = map(_headers, messages)
    while len(given) < len(messages):
        try:
            given.extend(found)
        except SystemError:
            # The iterator is behind this message, which must not be asked again: it raises only once.
            given.append(UNREADABLE)
    return [tuple(headers) if headers else () for headers in given]


def to_record(message: Message, topic: str, partition: int, offset: int, *, with_headers: bool = True) -> Record:
    """Return a message as a record; without headers it has no timestamp either."""
    (record,) = to_records([message], topic, [partition], [offset], with_headers=with_headers)
    return record


def to_records(
    messages: Sequence[Message], topic: str, partitions: Sequence[int], offsets: Sequence[int], *, with_headers: bool
) -> list[Record]:
    """Return messages as records; without headers they have no timestamps either."""
    # Column by column: a loop over the messages would take twice the time, and this runs for every record.
    timestamps: Iterable[int | None] = repeat(None)
    headers: Iterable[Headers] = repeat(())
    if with_headers:
        timestamps = [
            None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds
            for kind, milliseconds in map(Message.timestamp, messages)
        ]
        headers = read_headers(messages)
    keys, values = map(Message.key, messages), map(Message.value, messages)
    columns = zip(repeat(topic), partitions, offsets, keys, values, timestamps, headers, strict=False)
    return list(map(_new, repeat(Record), columns))


def payload_bytes(records: Sequence[Record]) -> int:
    """Return the bytes of the keys and values of records."""
    keys, values = filter(None, map(_key_of, records)), filter(None, map(_value_of, records))
    return sum(map(len, keys)) + sum(map(len, values))


def header_bytes(messages: Sequence[Message], records: Sequence[Record]) -> int:
    """Return about how much memory the headers of messages take, given the records among them."""
    counted = sum(map(len, map(_headers_of, records)))
    # Headers take memory although the records are without them; the last message stands for all.
    return HEADER_BYTES * (counted or len(read_headers(messages[-1:])[0]) * len(messages))
