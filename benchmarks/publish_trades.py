"""A topic with generated trades, published by the producer."""

import time
import uuid
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks.contender import Task
from tests.services import Services
from tradepipe import Producer, SchemaRegistry, Trade
from tradepipe.kafka.config import consumer_config
from tradepipe.registry.registration import register
from tradepipe.trade.samples import trades

WARM_UP_READINGS: Final = 20
"""With 500 requests each, if 300,000 trades are published."""


class Published(NamedTuple):
    """
    Where the trades are, and how to get them.

    `count` trades of `seed` were acknowledged; `ends` has the offset behind the
    last record of each partition, `seconds` how long making and publishing took.
    """

    topic: str
    subject: str
    registry: str
    kafka: dict[str, Any]
    seed: int
    count: int
    ends: dict[int, int]
    seconds: float


def publish(
    services: Services, *, count: int, partitions: int, seed: int, made: Iterable[Trade] | None = None
) -> Published:
    """Fill a new topic with trades, those of a seed by default, requiring every acknowledgement."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    services.create_topic(topic, partitions=partitions)
    kafka = {"bootstrap.servers": services.bootstrap_servers, **services.client_settings}
    subject = f"{topic}-value"
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, subject)
    begin = time.perf_counter()
    producing = {"bootstrap.servers": services.bootstrap_servers}
    with Producer(producing, registry=services.registry_url, topic=topic, subject=subject) as producer:
        producer.produce_many(islice(made or trades(seed), count))
        producer.flush()
    seconds = time.perf_counter() - begin
    ends = _ends(services.bootstrap_servers, topic, partitions)
    return Published(topic, subject, services.registry_url, kafka, seed, count, ends, seconds)


def warm_up(published: Published) -> None:
    """
    Read a topic often enough that Java has compiled what Kafka does for it.

    For the first thousands of requests its compilers take more CPU than the requests
    themselves, which is not so for brokers that have run for an hour.
    """
    for number in range(WARM_UP_READINGS):
        consumer = Consumer(consumer_config(published.kafka, group=f"{published.topic}-{number}"))
        consumer.assign([TopicPartition(published.topic, partition, 0) for partition in published.ends])
        left = published.count
        while left > 0:
            left -= sum(message.error() is None for message in consumer.consume(5_000, 1))
        consumer.close()


def _ends(bootstrap_servers: str, topic: str, partitions: int) -> dict[int, int]:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}
    return {place.partition: answer.result(10).offset for place, answer in admin.list_offsets(asked).items()}


def task_of(published: Published) -> Task:
    """Return a task that reads a topic, in a new group."""
    return Task(
        kafka=published.kafka,
        registry=published.registry,
        topic=published.topic,
        subject=published.subject,
        partitions=len(published.ends),
        count=published.count,
        seed=published.seed,
        group=f"bench-{uuid.uuid4().hex[:8]}",
    )
