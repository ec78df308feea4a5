"""librdkafka's messages as records of ours."""

from operator import methodcaller
from typing import Any, Final

import confluent_kafka
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from tradepipe.contract.record import Headers, Record

UNREADABLE: Final[Headers] = (("", None),)
"""Stands for headers that cannot be read, as a name of theirs is not UTF-8; told apart by identity."""

# confluent_kafka returns headers that have no name, and leaves its UnicodeDecodeError pending, for a name that is not
# UTF-8. Where `message.headers()` is called often, Python looks at what it returns alone: the error then comes out
# somewhere else, or the process ends at the name that is not there. Called so, it is seen at once, as a SystemError.
_headers: Final[Any] = methodcaller("headers")

_new: Final[Any] = tuple.__new__
"""Makes a record without the detour of its own constructor, which is Python too."""


def headers_of(message: confluent_kafka.Message) -> Headers:
    """A message's headers; `UNREADABLE` where one has a name that is not UTF-8."""
    try:
        given = _headers(message)
    except SystemError:
        return UNREADABLE
    return tuple(given) if given else ()


def record_of(message: confluent_kafka.Message, topic: str, partition: int, offset: int) -> Record:
    """The record at this place with all it has; in one piece, as it is done for each one."""
    kind, milliseconds = message.timestamp()
    try:
        given = _headers(message)
        headers = tuple(given) if given else ()
    except SystemError:
        headers = UNREADABLE
    sent_at = None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds
    made: Record = _new(Record, (topic, partition, offset, message.key(), message.value(), sent_at, headers))
    return made


def bare_record_of(message: confluent_kafka.Message, topic: str, partition: int, offset: int) -> Record:
    """The same without timestamp and headers."""
    made: Record = _new(Record, (topic, partition, offset, message.key(), message.value(), None, ()))
    return made


def timestamp(message: confluent_kafka.Message) -> int | None:
    """When a message was sent or appended, in milliseconds since 1970; None where the log does not say."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds
