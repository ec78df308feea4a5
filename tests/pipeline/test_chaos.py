"""Random faults of three brokers, of PostgreSQL and of the stages: nothing is lost, doubled, or ended by itself."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from tests.eventually import eventually
from tests.pipeline.chaos import MEMBERS, RECOVERY_SECONDS, Chaos, Member, Publisher
from tests.pipeline.processes import StageProcess, processes
from tests.pipeline.topic_contents import committed_records
from tests.services.cluster import KafkaCluster
from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka.admin import TopicAdmin

pytestmark = [pytest.mark.real, pytest.mark.timeout(0)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture
def kafka(services, cluster) -> dict[str, object]:
    # For as long as its transaction stays open, a killed validator holds back those who read committed records.
    return {
        "bootstrap.servers": cluster.bootstrap_servers,
        **services.client_settings,
        "transaction.timeout.ms": 10_000,
    }


@pytest.fixture
def topic(cluster) -> str:
    name = f"chaos-{random.randrange(1_000_000)}"
    for each in (name, f"{name}.clean"):
        cluster.create_topic(each)
    cluster.create_topic(f"{name}.dlq", config={"max.message.bytes": "2000000"})
    return name


@pytest.fixture
def start_stages(pipeline, tmp_path) -> Iterator[list[Callable[[], StageProcess]]]:
    """Starts sinks that read what the validators pass."""
    with processes("validate", pipeline, tmp_path) as validate, processes("sink", pipeline, tmp_path) as sink:
        # Without a refusal limit: after an outage, the bad records may come behind each other.
        yield [
            partial(
                validate, "--batch-records", "200", "--max-refused", "off", "--group", f"{pipeline.topic}-validator"
            ),
            partial(sink, "--batch-rows", "200", "--topic", pipeline.clean),
        ]


@pytest.mark.usefixtures("journal")
def test_random_faults_lose_nothing_double_nothing_and_end_no_stage(request, pipeline, services, cluster, start_stages):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    publisher = Publisher(pipeline, seed)
    publisher.start()
    members = [Member(start) for start in start_stages for _ in range(MEMBERS)]
    stored = partial(count_stored, pipeline)
    eventually(stored, within=RECOVERY_SECONDS)

    chaos = Chaos(random.Random(seed), cluster, services.postgres, members, stored)
    chaos.run(request.config.getoption("chaos_seconds"))

    publisher.end()
    source = publisher.trades
    eventually(lambda: count_stored(pipeline) >= len(source), within=RECOVERY_SECONDS, every=0.5)
    eventually(lambda: is_sorted(pipeline), within=RECOVERY_SECONDS, every=0.5)
    for member in members:
        member.check()
        member.end()
    print(f"{len(chaos.faults)} faults, {len(source)} trades, {publisher.bad} bad records")
    pipeline.sorted().check()
    assert sorted(source) == pipeline.stored()
    assert [] == pipeline.refused()
    request.getfixturevalue("journal")()


def test_an_admin_client_asks_the_brokers_that_are_left(kafka, topic, cluster):
    """The one that it takes for the controller is among those that are killed."""
    topics = TopicAdmin(kafka)

    def described():
        with suppress(BrokerUnavailable):
            return topics.describe(topic)

    for broker in cluster.brokers:
        eventually(described)
        broker.kill()
        try:
            eventually(described, within=45)
        finally:
            broker.start()


def count_stored(pipeline) -> int:
    return int(pipeline.query("SELECT count(*) FROM trades")[0][0])


def is_sorted(pipeline) -> bool:
    read, passed, refused = (
        len(committed_records(pipeline.kafka, name)) for name in (pipeline.topic, pipeline.clean, pipeline.dead_letters)
    )
    return read == passed + refused
