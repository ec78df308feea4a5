"""The embedded broker."""

import subprocess
import sys

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from tests.eventually import eventually
from tradepipe.embedded.broker import Broker

PRODUCE = 0

CONSUME_ONE = """
import sys
from confluent_kafka import Consumer
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "g", "auto.offset.reset": "earliest"})
consumer.subscribe(["trades"])
print(consumer.poll(120).value().decode())
consumer.close()
"""


@pytest.fixture
def broker():
    with Broker() as broker:
        yield broker


@pytest.fixture
def producer(broker):
    return Producer({"bootstrap.servers": broker.bootstrap_servers, "retry.backoff.ms": 20, "log_level": 0})


def test_a_topic_has_the_partitions_it_was_given(broker, producer):
    """Also a topic that is created after the broker was used."""
    broker.create_topic("first", partitions=1)
    producer.list_topics(timeout=60)

    broker.create_topic("trades", partitions=6)

    assert 6 == len(producer.list_topics(timeout=60).topics["trades"].partitions)


def test_a_topic_is_created_once(broker):
    broker.create_topic("trades")

    with pytest.raises(ValueError, match="'trades' with 4 partitions: Broker: Topic already exists"):
        broker.create_topic("trades")


def test_another_process_reads_what_this_one_wrote(broker, producer):
    broker.create_topic("trades")
    producer.produce("trades", b"a trade")
    producer.flush(120)

    command = [sys.executable, "-c", CONSUME_ONE, broker.bootstrap_servers]
    read = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "a trade\n" == read.stdout


def test_the_next_requests_fail_once_for_each_error(broker, producer):
    """Two errors here, after which the producer retries; the third request succeeds."""
    broker.create_topic("trades")
    broker.fail_requests(PRODUCE, KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS)
    reports = []

    producer.produce("trades", b"a trade", on_delivery=lambda error, record: reports.append(error))
    producer.flush(120)

    assert [None] == reports


def test_a_broker_that_was_down_keeps_its_records(broker, producer):
    broker.create_topic("trades", partitions=1)
    producer.produce("trades", b"a trade")
    producer.flush(120)
    broker.down()
    with pytest.raises(KafkaException):
        producer.list_topics(timeout=0.5)

    broker.up()

    assert (0, 1) == eventually(lambda: _watermarks(broker))


def test_records_that_are_deleted_leave_their_offsets(broker, producer):
    broker.create_topic("trades", partitions=1)
    for _ in range(3):
        producer.produce("trades", b"a trade")
    producer.flush(120)

    broker.delete_records("trades", 0, before=2)

    assert (2, 3) == _watermarks(broker)
    with pytest.raises(ValueError, match="partition 0 of topic 'trades' before 4"):
        broker.delete_records("trades", 0, before=4)


def test_a_recreated_topic_has_another_id(broker):
    broker.create_topic("trades")
    first = _topic_id(broker, "trades")
    broker.delete_topic("trades")
    with pytest.raises(ValueError, match="topic 'trades': "):
        broker.delete_topic("trades")

    broker.create_topic("trades")

    assert first != _topic_id(broker, "trades")


def test_an_unsupported_admin_request_fails_at_once(broker):
    """A request that timed out would look like an outage."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    topic = ConfigResource(ResourceType.TOPIC, "trades")

    with pytest.raises(KafkaException) as raised:
        admin.describe_configs([topic], request_timeout=120)[topic].result()

    assert KafkaError._UNSUPPORTED_FEATURE == raised.value.args[0].code()


def test_a_broker_can_be_closed_twice():
    broker = Broker().start()

    broker.close()
    broker.close()


def _watermarks(broker):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "g"})
    try:
        return consumer.get_watermark_offsets(TopicPartition("trades", 0), timeout=60)
    finally:
        consumer.close()


def _topic_id(broker, name):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    return str(admin.describe_topics(TopicCollection([name]))[name].result(120).topic_id)
