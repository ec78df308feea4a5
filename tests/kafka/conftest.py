"""A topic with records in it, and members of groups that read it."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.eventually import eventually
from tests.kafka.group_member import Member
from tests.services import Services
from tradepipe.kafka.consumer import Consumer


@pytest.fixture
def produce(kafka: dict[str, Any], topic: str) -> Callable[..., None]:
    """Put values into partition 0 of the test's topic, or into another one."""

    def produce(*values: bytes, partition: int = 0, timestamp: int = 0) -> None:
        producer = Producer({"bootstrap.servers": kafka["bootstrap.servers"]})
        for value in values:
            producer.produce(topic, value, b"key", partition=partition, timestamp=timestamp)
        assert 0 == producer.flush(120)

    return produce


@pytest.fixture
def join(kafka: dict[str, Any], topic: str) -> Iterator[Callable[..., Member]]:
    """Let members join a group of the test's own; each leaves it at the end."""
    members: list[Member] = []
    group = f"{topic}-group"

    def join(*, with_headers: bool = False, **settings: Any) -> Member:
        given = {key.replace("_", "."): value for key, value in settings.items()}
        members.append(Member(Consumer({**kafka, **given}, topic=topic, group=group, with_headers=with_headers)))
        members[-1].consumer.open()
        return members[-1]

    yield join
    for member in members:
        member.consumer.close()


@pytest.fixture
def join_with(join: Callable[..., Member], kafka: dict[str, Any], services: Services) -> Callable[..., Member]:
    """Join by one group protocol, with members that find each other soon."""

    def join_with(settings: dict[str, str]) -> Member:
        if settings["group.protocol"] == "consumer":
            # By the new protocol the session timeout is the broker's.
            kafka.pop("session.timeout.ms", None)
            return join(**settings)
        # The mock takes all of the session timeout but a second for a rebalance.
        session = {} if services.is_real else {"session_timeout_ms": 2_000}
        return join(heartbeat_interval_ms=200, **session, **settings)

    return join_with


@pytest.fixture
def create_topic(services: Services, kafka: dict[str, Any]) -> Callable[..., str]:
    """Create a topic with settings; real Kafka only."""

    def create_topic(**config: str) -> str:
        name = f"trades-{uuid.uuid4().hex}"
        given = {key.replace("_", "."): value for key, value in config.items()}
        admin = AdminClient({"bootstrap.servers": kafka["bootstrap.servers"]})
        admin.create_topics([NewTopic(name, 1, 1, config=given)])[name].result(120)
        eventually(lambda: name in admin.list_topics(timeout=60).topics)
        return name

    return create_topic
