"""Reader of all records of a topic, for tests."""

import time
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from tradepipe.trade.record import Record

READ_TIMEOUT: Final = 10.0
"""Default time limit for reading a topic, in seconds."""


def records(bootstrap_servers: str, topic: str, *, at_least: int = 0, within: float = READ_TIMEOUT) -> list[Record]:
    """
    Return the records of a topic, ordered by partition and offset.

    Reads to the end of the log. If it holds fewer than `at_least` records, waits
    for more until `within` seconds have passed and returns what has arrived.

    Raises:
        LookupError: the broker has no such topic.

        TimeoutError: the end of the log was not reached within that time, or the broker does not answer.
    """
    client = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"log-{uuid4().hex}",  # librdkafka wants one; nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "log_level": 2,
        }
    )
    try:
        deadline = time.monotonic() + within
        partitions = _partitions(client, topic, within)
        client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        found: list[Record] = []
        unread = set(partitions)
        while (unread or len(found) < at_least) and (left := deadline - time.monotonic()) > 0:
            message = client.poll(left)
            if message is None:  # a message without a value is false
                continue
            if (error := message.error()) is None:
                found.append(_record(message))
            # Other errors are transient: the client retries, and the deadline ends it.
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition() or 0)
        if unread:
            raise TimeoutError(f"the log was not read to its end in time; partitions {sorted(unread)} are left")
    finally:
        client.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def _partitions(client: Consumer, topic: str, timeout: float) -> set[int]:
    try:
        # All topics are asked for: asked for one, the broker would create it.
        topics = client.list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise TimeoutError(f"the broker does not answer: {error.args[0].str()}") from error
    if topic not in topics:
        raise LookupError(f"the broker has no topic {topic!r}")
    return set(topics[topic].partitions)


def _record(message: Message) -> Record:
    headers: Any = message.headers() or ()
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.key(),
        message.value(),
        message.timestamp()[1],
        tuple(headers),
    )
