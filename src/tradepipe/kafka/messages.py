"""Messages of librdkafka as records."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message

from tradepipe.trade.record import HEADER_BYTES, Headers, Record

SLICE_RECORDS: Final = 32
"""Messages requested from librdkafka at once."""

SLICE_RECORDS_WITH_HEADERS: Final = 16
"""The same where headers are read, which take a multiple of their bytes."""

SLICE_BYTES: Final = 1 << 20
"""Bytes of messages requested at once, if they are as large as those before; also of slices that are read together."""

GROUP_RECORDS: Final = 512
"""Messages of small slices that are read together, since each reading takes as long as that of several records."""

UNREADABLE: Final[Headers] = (("", None),)
"""Stands for headers with a name that is not UTF-8; compare by identity."""

UNREADABLE_BYTES: Final = 1 << 20
"""Bytes of memory that such headers may take: their number is not known."""

# If a header's name is not UTF-8, confluent_kafka returns headers without a name and leaves its UnicodeDecodeError
# pending. Python's specialized call of `message.headers()` checks only the returned value: the error then surfaces
# elsewhere, or the process crashes on the missing name. `map` detects the error at once, as a SystemError.
_headers: Final[Any] = Message.headers

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


def _memory_of(messages: Sequence[Message], headers: Sequence[Headers] | None) -> int:
    """
    Return about how many bytes messages take in memory: their keys and values, and their headers.

    Headers that were not read are read one message at a time, and dropped.
    """
    payload = sum(map(len, messages)) + _length(map(Message.key, messages))
    if headers is not None:
        sizes = (UNREADABLE_BYTES if each is UNREADABLE else HEADER_BYTES * len(each) for each in headers)
        return payload + sum(sizes) if any(headers) else payload
    found = map(_headers, messages)
    while True:
        try:
            return payload + HEADER_BYTES * sum(map(len, filter(None, found)))
        except SystemError:
            payload += UNREADABLE_BYTES


def seconds_of(message: Message) -> float | None:
    """Return the timestamp of a message in Unix seconds; None if the log has none."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds / 1000


def to_record(message: Message, topic: str) -> Record:
    """Return a message that is no error as a record."""
    return read([message], topic, read_headers([message])).records[0]


class Read(NamedTuple):
    """Messages as records, in their order, with what a consumer notes of them."""

    records: list[Record]
    partitions: list[int]
    offsets: list[int]
    first_timestamp: float | None
    """The timestamp of the first message, in Unix seconds; None if it has none."""


class Group(NamedTuple):
    """
    Messages that are read together.

    Attributes:
        headers: those of each message, if they are read.

        ends: reports of the ends of partitions, which came between the messages and may be handled after them.

        read: the messages as records; None if one of them is an error, or if there are none.

        memory: about how many bytes the messages take, with their headers.

        following: a slice that was requested already; it has an error, and is a group of its own.

        next_slice: how many messages to request next; 0 if there are no more, or if this poll takes no more.
    """

    messages: list[Message]
    headers: list[Headers] | None
    ends: list[Message]
    read: Read | None
    memory: int
    following: list[Message]
    next_slice: int


def read_group(
    client: Consumer, messages: list[Message], topic: str, *, limit: int, budget: int, with_headers: bool
) -> Group:
    """
    Read messages, and request further ones as long as they are small.

    Each message holds a copy of its bytes, and its headers take a multiple of theirs: with
    all messages at once, a hostile writer chooses how much memory that is. So they are
    requested in slices, large ones one by one, and only small slices are read together.

    Args:
        limit: how many messages to read at most.

        budget: bytes of memory behind which nothing more is requested.
    """
    group: list[Message] = []
    group_headers: list[Headers] = []
    ends: list[Message] = []
    memory, next_slice = 0, 1
    has_error = False
    while messages and not has_error:
        messages, has_error = _set_ends_aside(messages, ends)
        if group and has_error:
            has_error = False  # of the following group
            break
        if messages:
            headers = read_headers(messages) if with_headers else None
            size = _memory_of(messages, headers)
            group += messages
            group_headers += headers or ()
            memory += size
            slice_records = SLICE_RECORDS_WITH_HEADERS if with_headers else SLICE_RECORDS
            next_slice = min(limit - len(group), slice_records, 1 + SLICE_BYTES * len(messages) // max(size, 1))
        if memory >= budget:
            next_slice = 0
        messages = []
        if next_slice == 0 or memory >= SLICE_BYTES or len(group) >= GROUP_RECORDS:
            break
        messages = client.consume(next_slice, 0)
        if not messages:
            next_slice = 0
    given = group_headers if with_headers else None
    found = read(group, topic, given) if group and not has_error else None
    return Group(group, given, ends, found, memory, messages, 0 if messages else next_slice)


def _set_ends_aside(messages: list[Message], ends: list[Message]) -> tuple[list[Message], bool]:
    """
    Move the reports of ends of partitions from messages to `ends`, unless there are other errors among them.

    Where little is sent, nearly every message is the last of its partition.

    Returns:
        The messages that are left, and whether there are other errors among them.
    """
    errors = list(filter(None, map(Message.error, messages)))
    if not errors:
        return messages, False
    if any(error.code() != KafkaError._PARTITION_EOF for error in errors):
        return messages, True
    ends += (message for message in messages if message.error())
    return [message for message in messages if not message.error()], False


def read(messages: Sequence[Message], topic: str, headers: Sequence[Headers] | None) -> Read:
    """Read messages without errors as records, with these headers; without any, they have no timestamps either."""
    # Column by column: a loop over the messages would take twice the time, and this runs for every record. A message
    # without an error has a partition and an offset.
    partitions: Any = list(map(Message.partition, messages))
    offsets: Any = list(map(Message.offset, messages))
    keys, values = list(map(Message.key, messages)), list(map(Message.value, messages))
    timestamps: Iterable[int | None] = repeat(None)
    if headers is not None:
        timestamps = [
            None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds
            for kind, milliseconds in map(Message.timestamp, messages)
        ]
    headers_column = repeat(()) if headers is None else headers
    columns = zip(repeat(topic), partitions, offsets, keys, values, timestamps, headers_column, strict=False)
    records = list(map(_new, repeat(Record), columns))
    return Read(records, partitions, offsets, seconds_of(messages[0]))


def payload_bytes(records: Sequence[Record]) -> int:
    """Return the bytes of the keys and values of records."""
    return _length(map(_key_of, records)) + _length(map(_value_of, records))


def _length(column: Iterable[bytes | str | None]) -> int:
    return sum(map(len, filter(None, column)))
