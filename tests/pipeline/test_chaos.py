"""Random faults of three brokers, of PostgreSQL and of the stages: nothing is lost, doubled, or ended by itself."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from confluent_kafka.admin import AdminClient

from tests.eventually import eventually
from tests.kafka.group_member import COOPERATIVE, EAGER, NEW
from tests.pipeline.chaos import MEMBERS, RECOVERY_SECONDS, Chaos, Member, Publisher
from tests.pipeline.processes import StageProcess, processes
from tests.pipeline.topic_contents import committed_records
from tests.services.cluster import BROKERS, KafkaCluster
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
def topic(cluster, request) -> str:
    """Create a topic and those of a validator, by default with a replica on each broker."""
    name = f"chaos-{random.randrange(1_000_000)}"
    replicas = getattr(request, "param", BROKERS)
    config = {"min.insync.replicas": "1"} if replicas == 1 else {}
    for each in (name, f"{name}.clean"):
        cluster.create_topic(each, replicas=replicas, config=config)
    cluster.create_topic(f"{name}.dlq", replicas=replicas, config={"max.message.bytes": "2000000", **config})
    return name


@pytest.fixture
def start_stages(pipeline, tmp_path) -> Iterator[list[Callable[[], StageProcess]]]:
    """Starts sinks that read what the validators pass."""
    with processes("validate", pipeline, tmp_path) as validate, processes("sink", pipeline, tmp_path) as sink:
        # Without a refusal limit: after an outage, the bad records may follow each other.
        yield [
            partial(
                validate, "--batch-records", "200", "--max-refused", "off", "--group", f"{pipeline.topic}-validator"
            ),
            partial(sink, "--batch-rows", "200", "--topic", pipeline.clean),
        ]


@pytest.mark.usefixtures("journal")
def test_random_faults_lose_nothing_duplicate_nothing_and_end_no_stage(
    request, pipeline, services, cluster, start_stages
):
    seed = random.randrange(1_000_000)
    protocol = random.choice([EAGER, COOPERATIVE, NEW])
    print(f"seed {seed}, {protocol}")
    pipeline.kafka |= protocol
    if protocol == NEW:
        del pipeline.kafka["session.timeout.ms"]  # it is the broker's
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
            eventually(described)
        finally:
            broker.start()


@pytest.mark.parametrize("topic", [1], indirect=True, ids=["one replica"])
def test_stages_that_start_while_partitions_have_no_leader_wait_and_then_work(
    pipeline, cluster, start_stages, some_trades
):
    trades = some_trades(100)
    pipeline.publish(trades)
    broker = cluster.brokers[-1]
    broker.kill()
    try:
        eventually(lambda: has_partition_without_leader(pipeline))
        stages = [start() for start in start_stages]
        for stage in stages:
            stage.says("retrying", within=120)
        assert all(stage.runs for stage in stages)
        assert count_stored(pipeline) < len(trades)
    finally:
        broker.start()

    eventually(lambda: sorted(trades) == pipeline.stored(), within=RECOVERY_SECONDS, every=0.5)
    assert all(stage.runs for stage in stages)


def has_partition_without_leader(pipeline) -> bool:
    topics = AdminClient({"bootstrap.servers": pipeline.kafka["bootstrap.servers"]}).list_topics(timeout=10).topics
    return any(partition.leader < 0 for partition in topics[pipeline.topic].partitions.values())


def count_stored(pipeline) -> int:
    return int(pipeline.query("SELECT count(*) FROM trades")[0][0])


def is_sorted(pipeline) -> bool:
    read, passed, refused = (
        len(committed_records(pipeline.kafka, name)) for name in (pipeline.topic, pipeline.clean, pipeline.dead_letters)
    )
    return read == passed + refused
