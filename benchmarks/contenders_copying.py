"""The validator, and a transactional copy that looks at nothing: the upper bound of its rate."""

import threading
import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from benchmarks.contender import Progress, Task
from tradepipe import Validator
from tradepipe.cli.stage_runner import tune_garbage_collection

_SAMPLE_SECONDS: Final = 0.01


def validator(task: Task, progress: Progress) -> None:
    """Run tradepipe's validator as its command does."""
    tune_garbage_collection()
    with Validator(
        task.kafka,
        registry=task.registry,
        topic=task.topic,
        clean=task.target,
        dead_letters=f"{task.target}.dlq",
        subject=task.subject,
        group=task.group,
        batch_records=task.batch,
    ) as running:
        thread = threading.Thread(target=running.run, kwargs={"until_end": True})
        thread.start()
        while thread.is_alive():
            time.sleep(_SAMPLE_SECONDS)
            if passed := running.counts.passed - progress.records:
                progress.commit(passed)


def copy(task: Task, progress: Progress) -> None:
    """Copy whole records, with timestamps and headers, as a program has to that passes them on unchanged."""
    settings = {"group.id": task.group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**task.kafka, **settings, "fetch.queue.backoff.ms": 5})
    address = {"bootstrap.servers": task.kafka["bootstrap.servers"], "transactional.id": task.group}
    producer = Producer({**address, "linger.ms": 5, "compression.type": "zstd", "partitioner": "murmur2_random"})
    producer.init_transactions(30)
    consumer.subscribe([task.topic])
    while progress.records < task.count:
        if (first := consumer.poll(0.5)) is None:
            continue
        messages = [first, *consumer.consume(task.batch - 1, 0)]
        offsets: dict[int, int] = {}
        producer.begin_transaction()
        for message in messages:
            assert message.error() is None, message.error()
            sent_at, headers = message.timestamp()[1], message.headers()
            producer.produce(task.target, message.value(), message.key(), timestamp=sent_at, headers=headers)
            offsets[message.partition()] = message.offset() + 1
        places = [TopicPartition(task.topic, partition, offset) for partition, offset in offsets.items()]
        producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        progress.commit(len(messages))
    consumer.close()


def content(task: Task, topic: str) -> tuple[int, int]:
    """Return the number of committed records of a topic, and a checksum of their keys and values."""
    settings = {"group.id": "content", "enable.partition.eof": True, "fetch.queue.backoff.ms": 5}
    consumer = Consumer({"bootstrap.servers": task.kafka["bootstrap.servers"], **settings})
    count = checksum = 0
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(task.partitions)])
        ended: set[int] = set()
        while len(ended) < task.partitions:
            for message in consumer.consume(10_000, 0.2):
                if (error := message.error()) is None:
                    count += 1
                    checksum += hash((message.key(), message.value()))
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended.add(message.partition())
        return count, checksum
    finally:
        consumer.close()
