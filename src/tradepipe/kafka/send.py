"""Outgoing records and what transactional and at-least-once delivery share."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final, NamedTuple

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.failures import unwrap
from tradepipe.trade.record import Headers, Record
from tradepipe.trade.records import Records

PARTITION_BY_KEY: Final = -1
"""Let the partitioner choose the partition by the record's key."""


class Destination(NamedTuple):
    """The topic and partition that records are written to."""

    topic: str
    partition: int = PARTITION_BY_KEY


OutgoingRecords = Mapping[Destination, Sequence[Record]]
"""Records by destination; their keys, values, timestamps and headers are written."""

NO_TIMESTAMP: Final = -1
"""Kafka's value for a record without a timestamp; librdkafka replaces 0 by the current time."""

POLL_SECONDS: Final = 0.1
"""Seconds of one poll while waiting for the queue or for delivery reports."""


class Interrupted(Exception):
    """
    A write was interrupted; the group's committed offsets show whether it took effect. Resume from them.

    Attributes:
        rolled_back: the write certainly had no effect, so committed offsets after it are another member's.
    """

    def __init__(self, message: str, *, rolled_back: bool = False) -> None:
        self.rolled_back = rolled_back
        super().__init__(message)


Meanwhile = Callable[[Callable[[], bool], Callable[[], bool]], None]
"""
Work beside that of the brokers, called once while a write waits for them.

It gets two functions: whether the wait is over, and whether the consumer may be polled: as long as the offsets of its
partitions are to be written, a poll could let the group take one away unnoticed. It must not raise, and returns soon
after the wait is over, as the write does not wait for it.
"""


def do_nothing(is_over: Callable[[], bool], may_poll: Callable[[], bool]) -> None:
    """Leave the wait for the brokers unused."""


class DeliveryReports:
    """The first failure among the delivery reports of one client, which are sent for failures only."""

    def __init__(self) -> None:
        self.undelivered: tuple[KafkaError, str | None] | None = None
        """Error and topic of the first record that was not delivered."""

    def __call__(self, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        """Receive a delivery report."""
        if error is not None:
            self.record_failure(error, message.topic())

    def record_failure(self, error: KafkaError, topic: str | None) -> None:
        """Record that a record was not delivered."""
        # The first one is the cause: after it, a transaction aborts or a purge fails the others.
        if self.undelivered is None:
            self.undelivered = (error, topic)


def enqueue(client: confluent_kafka.Producer, outgoing: OutgoingRecords, reports: DeliveryReports) -> None:
    """Enqueue records, waiting while the queue is full; raises KafkaException if the client rejects one at once."""
    produce = client.produce
    for (topic, partition), records in outgoing.items():
        for key, value, timestamp, headers in _contents(records):
            sent_at = timestamp or NO_TIMESTAMP
            while True:
                try:
                    # Positional arguments (None for both names of the callback): keywords take 40 % longer.
                    if headers:
                        produce(topic, value, key, partition, None, None, sent_at, list(headers))
                    else:
                        produce(topic, value, key, partition, None, None, sent_at)
                    break
                except BufferError:
                    # The queue is full, and only a poll removes acknowledged records from it.
                    client.poll(POLL_SECONDS)
                except KafkaException as error:
                    # In this state the transaction has failed before, for another reason.
                    if (cause := unwrap(error)).code() != KafkaError._STATE:
                        reports.record_failure(cause, topic)
                    raise


def _contents(records: Sequence[Record]) -> Iterable[tuple[bytes | None, bytes | None, int | None, Headers]]:
    """Return the key, the value, the timestamp and the headers of each record."""
    if isinstance(records, Records):
        return chain.from_iterable(run.contents() for run in records.runs)
    return map(itemgetter(slice(3, None)), records)


def flush(client: confluent_kafka.Producer, reports: DeliveryReports, *, seconds: float) -> None:
    """Wait until all records are acknowledged, or one has failed; KafkaException after `seconds`."""
    deadline = time.monotonic() + seconds
    # In short steps: one flush until the deadline would not notice that a record has failed meanwhile.
    while (left := client.flush(POLL_SECONDS)) and reports.undelivered is None:
        if time.monotonic() > deadline:
            reason = f"{left} records were not acknowledged within {seconds:g} s"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, reason))


def record_rejected(error: KafkaError, topic: str | None) -> ConfigurationError:
    """Return the error for a record that a topic will never accept unchanged."""
    return ConfigurationError(
        f"topic {topic} rejected a record that its source topic accepted: {error.str()} ({error.name()}); give it the "
        f"source's max.message.bytes and message.timestamp settings. The record remains in its source topic"
    )
