"""Records put into topics together with the offsets they came from: what both ways of delivery share."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import confluent_kafka
from confluent_kafka import KafkaError

from tradepipe.contract.record import Record
from tradepipe.errors import Misconfigured

Outgoing = Mapping[str, Sequence[Record]]
"""What to write, by topic: of each record its key, value, timestamp and headers."""

NO_TIMESTAMP: Final = -1
"""What Kafka writes for none; librdkafka would take 0 for now."""

ROOM_STEP: Final = 0.1


class Interrupted(Exception):
    """Whether a piece of work is done is told by the group's committed offsets: go on from there."""


class Writing(Protocol):
    """
    A way to write records and to commit the offsets they came from.

    `commits` and `aborts` count how often that was done and undone, `made` the
    clients it took.
    """

    commits: int
    aborts: int
    made: int

    @property
    def is_open(self) -> bool:
        """Whether `write` may be called; if not, `open` comes first."""

    def open(self) -> None:
        """
        Connect.

        Raises:
            BrokerAway: call it again later.

            Misconfigured: nothing heals by waiting.
        """

    def write(self, outgoing: Outgoing, offsets: Mapping[int, int]) -> None:
        """
        Write records, and commit these offsets of the consumer's topic.

        Raises:
            Interrupted: go on from the committed offsets.

            Misconfigured: nothing heals by waiting.
        """

    def close(self) -> None:
        """Let go of the connections."""


def put(client: confluent_kafka.Producer, outgoing: Outgoing) -> None:
    """Hand records to the client; where its queue is full, wait for room."""
    produce = client.produce
    for topic, records in outgoing.items():
        for _topic, _partition, _offset, key, value, timestamp, headers in records:
            while True:
                try:
                    if headers:
                        produce(topic, value, key, timestamp=timestamp or NO_TIMESTAMP, headers=list(headers))
                    else:
                        produce(topic, value, key, timestamp=timestamp or NO_TIMESTAMP)
                except BufferError:
                    client.poll(ROOM_STEP)
                else:
                    break


def not_taken(error: KafkaError, topic: str | None) -> Misconfigured:
    """A record that a topic will never take as it is."""
    return Misconfigured(
        f"topic {topic} does not take a record that its source took: {error.str()} ({error.name()}); give it the "
        f"source's max.message.bytes and message.timestamp settings. The record stays where it is, nothing is lost"
    )
