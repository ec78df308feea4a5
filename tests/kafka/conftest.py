"""A topic with records in it, and members of groups that read it."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.eventually import eventually
from tests.parts import Parts
from tradepipe.contract.record import Record
from tradepipe.kafka.consumer import Consumer


class Member:
    """A consumer as its tests use it: polled until something has happened."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.records: list[Record] = []

    @property
    def values(self) -> list[bytes | None]:
        """The values of the records delivered so far."""
        return [record.value for record in self.records]

    def poll(self) -> None:
        """Poll once, and keep what comes."""
        self.records += self.consumer.poll(100, 0.05)

    def until(self, condition: Callable[[], Any], *others: "Member", within: float = 30.0) -> None:
        """Poll, the others too, until a condition holds."""
        eventually(lambda: [member.poll() for member in (self, *others)] and condition(), within=within, every=0)

    def assigned(self, *partitions: int) -> None:
        """Poll until exactly these partitions are assigned."""
        self.until(lambda: set(partitions) == set(self.consumer.assignments))

    def start(self, partition: int, offset: int) -> None:
        """Read an assigned partition from an offset."""
        self.until(lambda: self.consumer.start(self.consumer.assignments[partition], offset))

    def quiet(self, polls: int = 10) -> None:
        """Poll on for a while."""
        for _ in range(polls):
            self.poll()


@pytest.fixture
def produce(kafka: dict[str, Any], topic: str) -> Callable[..., None]:
    """Put values into partition 0 of the test's topic, or into another one."""

    def produce(*values: bytes, partition: int = 0, timestamp: int = 0) -> None:
        producer = Producer({"bootstrap.servers": kafka["bootstrap.servers"]})
        for value in values:
            producer.produce(topic, value, b"key", partition=partition, timestamp=timestamp)
        assert 0 == producer.flush(20)

    return produce


@pytest.fixture
def join(kafka: dict[str, Any], topic: str) -> Iterator[Callable[..., Member]]:
    """Let members join a group of the test's own; each leaves it at the end."""
    members: list[Member] = []
    group = f"{topic}-group"

    def join(**settings: Any) -> Member:
        given = {key.replace("_", "."): value for key, value in settings.items()}
        members.append(Member(Consumer({**kafka, **given}, topic=topic, group=group)))
        members[-1].consumer.open()
        return members[-1]

    yield join
    for member in members:
        member.consumer.close()


@pytest.fixture
def create_topic(parts: Parts, kafka: dict[str, Any]) -> Callable[..., str]:
    """Create a topic with settings of its own; real Kafka only."""

    def create_topic(**config: str) -> str:
        name = f"trades-{uuid.uuid4().hex}"
        given = {key.replace("_", "."): value for key, value in config.items()}
        admin = AdminClient({"bootstrap.servers": kafka["bootstrap.servers"]})
        admin.create_topics([NewTopic(name, 1, 1, config=given)])[name].result(20)
        eventually(lambda: name in admin.list_topics(timeout=10).topics)
        return name

    return create_topic
