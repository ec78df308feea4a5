"""librdkafka's messages as records of ours."""

from typing import Final

import confluent_kafka
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from tradepipe.contract.record import Headers, Record

UNREADABLE: Final[Headers] = (("", None),)
"""Stands for headers that cannot be read, as a name of theirs is not UTF-8; told apart by identity."""


def record_of(message: confluent_kafka.Message, topic: str) -> Record:
    """A message without an error as a record, with all it has."""
    offset: int = message.offset()  # type: ignore[assignment]  # a message without an error has one
    return Record(topic, message.partition() or 0, offset, message.key(), message.value(), *remainder(message))


def remainder(message: confluent_kafka.Message) -> tuple[int | None, Headers]:
    """A message's timestamp and its headers."""
    try:
        headers = message.headers()
    except SystemError:  # wraps a UnicodeDecodeError
        return timestamp(message), UNREADABLE
    return timestamp(message), tuple(headers) if headers else ()  # type: ignore[arg-type]  # a list of pairs


def timestamp(message: confluent_kafka.Message) -> int | None:
    """When a message was sent or appended, in milliseconds since 1970; None where the log does not say."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE or milliseconds < 0 else milliseconds
