"""A transactional copy of a topic without validation: the upper bound of a validator's rate."""

import time
import uuid
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from benchmarks.publish_trades import Published

Rate = tuple[float, int]
"""A time, and the number of records processed by then."""


def copy(published: Published, target: str, *, batch: int, whole: bool) -> list[Rate]:
    """
    Copy a topic; when each transaction was committed, and how many records were by then.

    Args:
        batch: records in one transaction, at most.

        whole: timestamps and headers too, as whoever passes records on unchanged has to.
    """
    name = f"copy-{uuid.uuid4().hex[:8]}"
    settings = {"group.id": name, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**published.kafka, **settings, "fetch.queue.backoff.ms": 5})
    address = {"bootstrap.servers": published.kafka["bootstrap.servers"], "transactional.id": name}
    producer = Producer({**address, "linger.ms": 5, "compression.type": "zstd", "partitioner": "murmur2_random"})
    try:
        producer.init_transactions(30)
        consumer.subscribe([published.topic])
        return list(_copied(consumer, producer, published, target, batch=batch, whole=whole))
    finally:
        consumer.close()


def _copied(
    consumer: Consumer, producer: Producer, published: Published, target: str, *, batch: int, whole: bool
) -> Iterator[Rate]:
    done = 0
    while done < published.count:
        first = consumer.poll(0.5)
        if first is None:
            continue
        messages = [first, *consumer.consume(batch - 1, 0)]
        offsets: dict[int, int] = {}
        producer.begin_transaction()
        for message in messages:
            assert message.error() is None, message.error()
            if whole:
                sent_at, headers = message.timestamp()[1], message.headers()
                producer.produce(target, message.value(), message.key(), timestamp=sent_at, headers=headers)
            else:
                producer.produce(target, message.value(), message.key())
            offsets[message.partition()] = message.offset() + 1
        places = [TopicPartition(published.topic, partition, offset) for partition, offset in offsets.items()]
        producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        done += len(messages)
        yield time.perf_counter(), done


def content(published: Published, topic: str) -> tuple[int, int]:
    """Return the number of committed records of a topic, and a checksum of their content."""
    settings = {"group.id": "content", "enable.partition.eof": True, "fetch.queue.backoff.ms": 5}
    consumer = Consumer({"bootstrap.servers": published.kafka["bootstrap.servers"], **settings})
    count = total = 0
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in published.ends])
        ended: set[int] = set()
        while len(ended) < len(published.ends):
            for message in consumer.consume(10_000, 0.2):
                if (error := message.error()) is None:
                    count += 1
                    total += hash((message.key(), message.value()))
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended.add(message.partition())
        return count, total
    finally:
        consumer.close()
