"""Messages of librdkafka as records."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import itemgetter, methodcaller
from typing import Any, Final, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from tradepipe.trade.record import Headers, Record

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


def seconds_of(message: Message) -> float | None:
    """Return the timestamp of a message in Unix seconds; None if the log has none."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds / 1000


def to_record(message: Message, topic: str) -> Record:
    """Return a message that is no error as a record."""
    found = read([message], topic, with_headers=True)
    assert found is not None
    return found.records[0]


class Read(NamedTuple):
    """Messages as records, in their order, with what a consumer notes of them."""

    records: list[Record]
    partitions: list[int]
    offsets: list[int]
    payload_bytes: int
    """The bytes of the keys and values."""
    headers: int
    """The number of the headers that were read."""


def read(messages: Sequence[Message], topic: str, *, with_headers: bool) -> Read | None:
    """
    Read messages as records; None if one of them is an error.

    Without headers, the records have no timestamps either.
    """
    if any(map(Message.error, messages)):
        return None
    # Column by column: a loop over the messages would take twice the time, and this runs for every record. A message
    # without an error has a partition and an offset.
    partitions: Any = list(map(Message.partition, messages))
    offsets: Any = list(map(Message.offset, messages))
    keys, values = list(map(Message.key, messages)), list(map(Message.value, messages))
    timestamps: Iterable[int | None] = repeat(None)
    headers: Iterable[Headers] = repeat(())
    header_count = 0
    if with_headers:
        timestamps = [
            None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds
            for kind, milliseconds in map(Message.timestamp, messages)
        ]
        headers = read_headers(messages)
        header_count = sum(map(len, headers))
    columns = zip(repeat(topic), partitions, offsets, keys, values, timestamps, headers, strict=False)
    records = list(map(_new, repeat(Record), columns))
    return Read(records, partitions, offsets, _length(keys) + _length(values), header_count)


def payload_bytes(records: Sequence[Record]) -> int:
    """Return the bytes of the keys and values of records."""
    return _length(map(_key_of, records)) + _length(map(_value_of, records))


def _length(column: Iterable[bytes | str | None]) -> int:
    return sum(map(len, filter(None, column)))
