"""Records put into topics together with the offsets they came from: what all ways of delivery share."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.failures import unwrap
from tradepipe.trade.record import Record

PARTITION_BY_KEY: Final = -1
"""The partition to which a record's key leads."""


class Destination(NamedTuple):
    """Where records are written to."""

    topic: str
    partition: int = PARTITION_BY_KEY


OutgoingRecords = Mapping[Destination, Sequence[Record]]
"""What to write, by where to; of each record its key, value, timestamp and headers."""

NO_TIMESTAMP: Final = -1
"""What Kafka writes for none; librdkafka would take 0 for now."""

POLL_SECONDS: Final = 0.1


class Interrupted(Exception):
    """
    Whether a piece of work is done is told by the group's committed offsets: go on from there.

    Attributes:
        rolled_back: whether it is known to be rolled_back, so that offsets beyond it are another member's.
    """

    def __init__(self, message: str, *, rolled_back: bool = False) -> None:
        self.rolled_back = rolled_back
        super().__init__(message)


class Delivery(Protocol):
    """A way to write records and to commit the offsets they came from."""

    @property
    def is_open(self) -> bool:
        """Whether `write` may be called; if not, `open` comes first."""

    @property
    def producers_created(self) -> int:
        """How many clients it took so far."""

    def open(self) -> None:
        """
        Connect.

        Raises:
            BrokerUnavailable: call it again later.

            ConfigurationError: nothing heals by waiting.
        """

    def write(
        self, outgoing: OutgoingRecords, offsets: Mapping[int, int], while_in_flight: Callable[[], object]
    ) -> None:
        """
        Write records, and commit these offsets of the consumer's topic.

        Args:
            while_in_flight: called once, while the records are on their way; raises nothing.

        Raises:
            Interrupted: go on from the committed offsets.

            ConfigurationError: nothing heals by waiting.
        """

    def close(self) -> None:
        """Let go of the connections."""


class DeliveryReports:
    """The delivery reports of one client, which tell of failures alone: the first one counts."""

    def __init__(self) -> None:
        self.undelivered: tuple[KafkaError, str | None] | None = None
        """Why a record did not get into the log, and of which topic it is."""

    def __call__(self, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        """Take a report."""
        if error is not None:
            self.record_failure(error, message.topic())

    def record_failure(self, error: KafkaError, topic: str | None) -> None:
        """A record does not get into the log."""
        if self.undelivered is None:
            self.undelivered = (error, topic)


def enqueue(client: confluent_kafka.Producer, outgoing: OutgoingRecords, reports: DeliveryReports) -> None:
    """Hand records to the client, which may refuse one on the spot; where its queue is full, wait for room."""
    for place, records in outgoing.items():
        try:
            _enqueue_one(client, place, records)
        except KafkaException as error:
            reports.record_failure(unwrap(error), place.topic)
            raise


def _enqueue_one(client: confluent_kafka.Producer, place: Destination, records: Sequence[Record]) -> None:
    produce, (topic, partition) = client.produce, place
    for _topic, _partition, _offset, key, value, timestamp, headers in records:
        sent_at = timestamp or NO_TIMESTAMP
        while True:
            try:
                # By place, with none for both names of the callback: names take two fifths longer.
                if headers:
                    produce(topic, value, key, partition, None, None, sent_at, list(headers))
                else:
                    produce(topic, value, key, partition, None, None, sent_at)
            except BufferError:
                client.poll(POLL_SECONDS)
            else:
                break


def flush(client: confluent_kafka.Producer, reports: DeliveryReports, *, seconds: float) -> None:
    """
    Wait until all is acknowledged, or something is known never to be.

    Raises:
        KafkaException: it took longer than this.
    """
    deadline = time.monotonic() + seconds
    while (left := client.flush(POLL_SECONDS)) and reports.undelivered is None:
        if time.monotonic() > deadline:
            told = f"{left} records were not acknowledged within {seconds:g} s"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, told))


def record_rejected(error: KafkaError, topic: str | None) -> ConfigurationError:
    """A record that a topic will never take as it is."""
    return ConfigurationError(
        f"topic {topic} does not take a record that its source took: {error.str()} ({error.name()}); give it the "
        f"source's max.message.bytes and message.timestamp settings. The record stays where it is, nothing is lost"
    )
