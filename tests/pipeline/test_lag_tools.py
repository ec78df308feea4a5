"""The offsets that lag tools read from Kafka: they reach the end of the log when traffic pauses."""

import subprocess

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.eventually import eventually
from tests.pipeline.running_stages import running
from tests.services import downloads
from tests.services.java import SHORT_LIVED, java
from tradepipe.kafka.admin import TopicAdmin


@pytest.fixture(params=["sink", "validator"])
def stage(request, pipeline, targets, services):
    """Either stage, running; the embedded broker has no transactions."""
    options = {} if request.param == "sink" or services.is_real else {"delivery": "at_least_once"}
    with running(getattr(pipeline, request.param)(**options)):
        yield f"{pipeline.topic}-{request.param}"


@pytest.fixture
def lag(pipeline, stage):
    """Returns the lag of each partition that has a committed offset, as a tool computes it."""
    # A consumer that never joins: list_consumer_group_offsets of an AdminClient crashes when the coordinator moves.
    client = Consumer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], "group.id": stage})
    topics = TopicAdmin(pipeline.kafka)
    places = [TopicPartition(pipeline.topic, number) for number in range(4)]

    def compute() -> dict[int, int]:
        try:
            committed = client.committed(places, timeout=5)
        except KafkaException:  # the coordinator is not elected or not loaded
            return {}
        ends = topics.watermarks(pipeline.topic, range(4))
        return {each.partition: ends[each.partition].high - each.offset for each in committed if each.offset >= 0}

    yield compute
    client.close()


ALL_READ = dict.fromkeys(range(4), 0)


def test_the_committed_offsets_reach_the_end_when_traffic_pauses(pipeline, some_trades, lag):
    trades = some_trades(2_000)
    for begin in range(0, 2_000, 400):
        pipeline.publish(trades[begin : begin + 400])

    eventually(lambda: lag() == ALL_READ)


@pytest.mark.real
def test_the_committed_offsets_reach_the_end_after_transaction_markers(pipeline, some_trades, lag):
    records = [(trade.trade_id.encode(), pipeline.serialize(trade)) for trade in some_trades(100)]
    for partition in range(4):
        pipeline.publish_in_transaction(records[partition * 25 : partition * 25 + 25], partition=partition)

    eventually(lambda: lag() == ALL_READ)


def test_a_claimed_offset_is_committed_before_any_record(lag):
    eventually(lambda: lag() == ALL_READ)


def lag_by_kafka(address: str, group: str) -> dict[int, int]:
    """Return the lag of each partition, as kafka-consumer-groups.sh prints it."""
    command = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    arguments = ["--bootstrap-server", address, "--describe", "--group", group, "--timeout", "60000"]
    jars = f"{downloads.kafka_tools()}/*"
    done = subprocess.run(
        [java() / "bin" / "java", "-Xmx128m", *SHORT_LIVED, "-cp", jars, command, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    titles, *rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    partition, lag = titles.index("PARTITION"), titles.index("LAG")
    return {int(row[partition]): int(row[lag]) for row in rows}


@pytest.mark.real
def test_kafkas_own_command_shows_no_lag_when_traffic_pauses(pipeline, some_trades, stage, lag):
    records = [(trade.trade_id.encode(), pipeline.serialize(trade)) for trade in some_trades(400)]
    pipeline.publish_bytes(records)
    for partition in range(4):
        pipeline.publish_in_transaction(records[partition * 25 : partition * 25 + 25], partition=partition)
    eventually(lambda: lag() == ALL_READ)

    assert ALL_READ == lag_by_kafka(pipeline.kafka["bootstrap.servers"], stage)
