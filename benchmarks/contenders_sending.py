"""The producer, and confluent-kafka's with values that are encoded already."""

import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

import confluent_kafka

from benchmarks.contender import Progress, Task
from tradepipe import Producer, SchemaRegistry, Trade, TradeSerializer
from tradepipe.trade.samples import trades


def produce(task: Task, progress: Progress) -> None:
    """Send trades by tradepipe's producer, one call for each."""
    _send(task, progress, lambda producer, made: deque(map(producer.produce, made), maxlen=0))


def produce_many(task: Task, progress: Progress) -> None:
    """Send trades by tradepipe's producer, all by one call."""
    _send(task, progress, lambda producer, made: producer.produce_many(made))


def _send(task: Task, progress: Progress, send: Callable[[Producer, list[Trade]], object]) -> None:
    made = list(islice(trades(task.seed), task.count))
    with Producer(task.kafka, registry=task.registry, topic=task.topic, subject=task.subject) as producer:
        producer.produce(made[0])
        producer.flush()
        progress.commit(0)
        send(producer, made)
        producer.flush()
        progress.commit(task.count)


def produce_raw(task: Task, progress: Progress) -> None:
    """Send encoded values, with a callback in Python that notes failures."""
    with SchemaRegistry(task.registry) as registry:
        serialize = TradeSerializer(registry, subject=task.subject)
        made = [(trade.trade_id.encode(), serialize(trade)) for trade in islice(trades(task.seed), task.count)]
    failed: list[Any] = []

    def note(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(error)

    settings = {"linger.ms": 5, "compression.type": "zstd", "enable.idempotence": True}
    producer = confluent_kafka.Producer({**task.kafka, **settings, "partitioner": "murmur2_random"})
    producer.produce(task.topic, made[0][1], made[0][0])
    producer.flush()
    progress.commit(0)
    for key, value in made:
        while True:
            try:
                producer.produce(task.topic, value, key, on_delivery=note)
                break
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)
    producer.flush()
    assert not failed, failed[0]
    progress.commit(task.count)


def pace(task: Task, progress: Progress) -> None:
    """Send trades at a rate, each with the time as its version."""
    made = list(islice(trades(task.seed), task.count))
    registry = SchemaRegistry(task.registry)
    serialize = TradeSerializer(registry, subject=task.subject)
    producer = confluent_kafka.Producer({**task.kafka, "linger.ms": 0, "partitioner": "murmur2_random"})
    begin = time.perf_counter()
    for number, trade in enumerate(made):
        if (ahead := begin + number / task.rate - time.perf_counter()) > 0:
            time.sleep(ahead)
        sent = trade._replace(
            trade_id=f"{trade.trade_id}-{number}", version=1 + int(1_000 * (time.time() - task.epoch))
        )
        producer.produce(task.topic, serialize(sent), sent.trade_id.encode())
        producer.poll(0)
    producer.flush()
    registry.close()
    progress.commit(task.count)
