"""Messages of librdkafka as records."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, Message

from tradepipe.trade.record import HEADER_BYTES, Headers, Record
from tradepipe.trade.records import Records, Run, sum_lengths

SLICE_RECORDS: Final = 32
"""Messages requested from librdkafka at once: it takes 10 MB for the headers that each of them can have."""

SLICE_RECORDS_WITH_HEADERS: Final = 16
"""The same where headers are read, which then take more."""

SMALL_SLICE_RECORDS: Final = 8
"""The same where little is prefetched, because keys or headers are large."""

SLICE_BYTES: Final = 1 << 20
"""Bytes of messages requested at once, if they are as large as those before; also of slices that are read together."""

GROUP_RECORDS: Final = 1_000
"""Messages of small slices that are read together, since what follows takes as long as for several records."""

UNREADABLE: Final[Headers] = (("", None),)
"""Stands for headers with a name that is not UTF-8; compare by identity."""

UNREADABLE_BYTES: Final = 1 << 20
"""Bytes of memory that such headers may take: their number is not known."""

# If a header's name is not UTF-8, confluent_kafka returns headers without a name and leaves its UnicodeDecodeError
# pending. Python's specialized call of `message.headers()` checks only the returned value: the error then surfaces
# elsewhere, or the process crashes on the missing name. `map` detects the error at once, as a SystemError.
_headers: Final[Any] = Message.headers

_error: Final[Any] = Message.error
_key: Final[Any] = Message.key
_value: Final[Any] = Message.value
_partition: Final[Any] = Message.partition
_offset: Final[Any] = Message.offset
_timestamp: Final[Any] = Message.timestamp


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
    return [tuple(headers) if headers else () for headers in given] if any(given) else [()] * len(given)


def _memory_of_headers(messages: Sequence[Message], headers: Sequence[Headers] | None) -> int:
    """
    Return about how many bytes the headers of messages take in memory.

    Headers that were not read are read one message at a time, and dropped.
    """
    if headers is not None:
        return sum(UNREADABLE_BYTES if each is UNREADABLE else _memory_of(each) for each in filter(None, headers))
    found, size = map(_headers, messages), 0
    while True:
        try:
            for each in filter(None, found):
                size += _memory_of(each)
        except SystemError:
            size += UNREADABLE_BYTES
        else:
            return size


def _memory_of(headers: Iterable[tuple[str, bytes | None]]) -> int:
    return sum(HEADER_BYTES + len(name) + len(value or b"") for name, value in headers)


def seconds_of(message: Message) -> float | None:
    """Return the timestamp of a message in Unix seconds; None if the log has none."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds / 1000


def to_record(message: Message, topic: str) -> Record:
    """Return a message that is no error as a record."""
    return read([message], topic, read_headers([message]))[0]


class Group(NamedTuple):
    """
    Messages that are read together.

    Attributes:
        records: the messages as records.

        messages: the messages instead, if they are to be handled one by one.

        headers: those of each of these messages, if they are read.

        ends: reports of the ends of partitions, which came between the messages and may be handled after them.

        first_timestamp: the timestamp of the first record, in Unix seconds; None if it has none.

        memory: about how many bytes the messages take, with their headers.

        following: a slice that was requested already; it has an error, and is a group of its own.

        next_slice: how many messages to request next; 0 if there are no more, or if this poll takes no more.
    """

    records: Records
    messages: list[Message]
    headers: list[Headers] | None
    ends: list[Message]
    first_timestamp: float | None
    memory: int
    following: list[Message]
    next_slice: int

    def uncounted_bytes(self) -> int:
        """
        Return how much of the memory is taken by keys and headers; 0 if all of it is less than a slice may take.

        librdkafka counts only values towards `queued.max.messages.kbytes`: whatever else they
        hold, it prefetches up to `queued.min.messages` messages.
        """
        if self.memory < SLICE_BYTES:
            return 0
        values = [value for run in self.records.runs for value in run.values] or list(map(_value, self.messages))
        return self.memory - sum_lengths(values)


def read_group(
    client: Consumer,
    messages: list[Message],
    topic: str,
    *,
    limit: int,
    budget: int,
    small_slices: bool,
    with_headers: bool,
    one_by_one: bool = False,
) -> Group:
    """
    Read messages, and request further ones as long as they are small.

    Each message holds a copy of its bytes, and its headers take a multiple of theirs: with
    all messages at once, a hostile writer chooses how much memory that is. So they are
    requested in slices, large ones one by one, and only small slices are read together.

    Args:
        limit: how many messages to read at most.

        budget: bytes of memory behind which nothing more is requested.

        small_slices: request few messages at once.

        with_headers: read headers and timestamps too.

        one_by_one: leave the messages as they are, which is also done if there is an error among them.
    """
    slice_records = SLICE_RECORDS_WITH_HEADERS if with_headers else SLICE_RECORDS
    if small_slices:
        slice_records = SMALL_SLICE_RECORDS
    columns, ends = _Columns(), list[Message]()
    memory, next_slice = 0, 1
    left, left_headers, following = list[Message](), None, list[Message]()
    while messages:
        is_left = one_by_one
        if any(map(_error, messages)):
            messages, has_error = _set_ends_aside(messages, ends)
            is_left = one_by_one or has_error
        if is_left and columns.messages:
            following, next_slice = messages, 0
            break
        if messages:
            headers = read_headers(messages) if with_headers else None
            size = columns.add(messages, headers) + _memory_of_headers(messages, headers)
            memory += size
            missing = limit - len(columns.messages)
            fitting = 1 + SLICE_BYTES * len(messages) // max(size, 1)
            next_slice = min(missing, slice_records, fitting) if memory < budget else 0
            if is_left:
                left, left_headers, columns = messages, headers, _Columns()
                break
        if next_slice == 0 or memory >= SLICE_BYTES or len(columns.messages) >= GROUP_RECORDS:
            break
        if not (messages := client.consume(next_slice, 0)):
            next_slice = 0
    first_timestamp = seconds_of(columns.messages[0]) if columns.messages else None
    return Group(columns.records(topic), left, left_headers, ends, first_timestamp, memory, following, next_slice)


def _set_ends_aside(messages: list[Message], ends: list[Message]) -> tuple[list[Message], bool]:
    """
    Move the reports of ends of partitions from messages to `ends`, unless there are other errors among them.

    Where little is sent, nearly every message is the last of its partition.

    Returns:
        The messages that are left, and whether there are other errors among them.
    """
    if any(error.code() != KafkaError._PARTITION_EOF for error in filter(None, map(_error, messages))):
        return messages, True
    ends += (message for message in messages if message.error())
    return [message for message in messages if not message.error()], False


def read(messages: Sequence[Message], topic: str, headers: list[Headers] | None) -> Records:
    """Read messages without errors as records, with these headers; without any, they have no timestamps either."""
    columns = _Columns()
    columns.add(messages, headers)
    return columns.records(topic)


class _Columns:
    """Messages without errors, with what was read of them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._headers: list[Headers] | None = None
        self._payload_bytes = 0

    def add(self, messages: Sequence[Message], headers: list[Headers] | None) -> int:
        """Read the keys and values of a slice, and return their bytes."""
        # Column by column: a loop over the messages would take several times as long, and this runs for every record.
        keys, values = list(map(_key, messages)), list(map(_value, messages))
        size = sum_lengths(keys) + sum_lengths(values)
        self.messages += messages
        self._keys += keys
        self._values += values
        if headers is not None:
            if self._headers is None:
                self._headers = []
            self._headers += headers
        self._payload_bytes += size
        return size

    def records(self, topic: str) -> Records:
        """Return the records; without headers, if these were not given, and then without timestamps."""
        # A message without an error has a partition and an offset.
        partitions, offsets = list[Any](map(_partition, self.messages)), list[Any](map(_offset, self.messages))
        timestamps: list[int | None] | None = None
        if self._headers is not None:
            timestamps = [
                None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds
                for kind, milliseconds in map(_timestamp, self.messages)
            ]
        whole = Run(topic, 0, offsets, self._keys, self._values, timestamps, self._headers, self._payload_bytes)
        records, end = Records(), 0
        for partition, run in groupby(partitions):
            start, end = end, end + len(list(run))
            made = whole.cut(start, end)
            made.partition = partition
            records.add(made)
        return records
