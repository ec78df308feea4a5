"""The last records of a topic."""

import time
from collections.abc import Iterator, Mapping
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tradepipe.contract.record import Record
from tradepipe.errors import BrokerAway
from tradepipe.kafka.client import Config, consumer_config
from tradepipe.kafka.failures import error_of, failure
from tradepipe.kafka.messages import record_of
from tradepipe.kafka.topics import Extent

PATIENCE: Final = 20.0
AT_ONCE: Final = 1_000


def tail(config: Config, topic: str, extents: Mapping[int, Extent], *, offsets: int) -> Iterator[Record]:
    """
    What is committed at the last `offsets` offsets of each partition, without joining a group.

    Raises:
        BrokerAway: it cannot be read now.

        Misconfigured: the brokers refuse us.
    """
    places = [
        TopicPartition(topic, number, max(extent.begin, extent.end - offsets))
        for number, extent in extents.items()
        if extent.end > extent.begin
    ]
    if not places:
        return
    client = confluent_kafka.Consumer(consumer_config(config, group="tradepipe-tail"))
    try:
        client.assign(places)
        yield from _until_end(client, topic, {place.partition for place in places})
    except KafkaException as error:
        raise failure(error_of(error), f"the end of topic {topic} cannot be read") from error
    finally:
        client.close()


def _until_end(client: confluent_kafka.Consumer, topic: str, reading: set[int]) -> Iterator[Record]:
    deadline = time.monotonic() + PATIENCE
    while reading:
        if time.monotonic() > deadline:
            raise BrokerAway(f"the end of topic {topic} was not reached within {PATIENCE:.0f} s")
        for message in client.consume(AT_ONCE, 0.1):
            error = message.error()
            if error is None:
                yield record_of(message, topic)
            elif error.code() == KafkaError._PARTITION_EOF:
                reading.discard(message.partition() or 0)
