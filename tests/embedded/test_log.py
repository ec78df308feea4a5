"""Reading a topic of the embedded broker from its beginning to its end."""

import threading

import pytest
from confluent_kafka import Producer

from tests.eventually import eventually
from tradepipe.embedded.broker import Broker, read_records


@pytest.fixture(scope="module")
def broker():
    with Broker() as broker:
        yield broker


@pytest.fixture
def topic(broker, request):
    broker.create_topic(request.node.name)
    return request.node.name


@pytest.fixture
def producer(broker):
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    yield producer
    assert 0 == producer.flush(120)


def test_an_empty_topic_has_no_records(broker, topic):
    assert [] == read_records(broker.bootstrap_servers, topic)


def test_records_have_their_key_value_timestamp_and_headers(broker, topic, producer):
    headers = [("h", b"1"), ("h", b"2"), ("n", None)]
    producer.produce(topic, b"value", b"key", partition=3, timestamp=1_700_000_000_000, headers=headers)
    producer.produce(topic, None, None, partition=3)
    producer.flush(120)

    first, second = read_records(broker.bootstrap_servers, topic)

    assert (topic, 3, 0, b"key", b"value", 1_700_000_000_000, tuple(headers)) == first
    assert (topic, 3, 1, None, None, ()) == (*second[:5], second.headers)


def test_records_are_ordered_by_partition_and_offset(broker, topic, producer):
    for number in range(40):
        producer.produce(topic, str(number).encode(), partition=number % 4)
    producer.flush(120)

    expected = [str(number).encode() for partition in range(4) for number in range(partition, 40, 4)]
    assert expected == [record.value for record in read_records(broker.bootstrap_servers, topic)]


def test_the_reader_waits_for_further_records(broker, topic, producer):
    found = []
    reader = threading.Thread(target=lambda: found.extend(read_records(broker.bootstrap_servers, topic, at_least=2)))
    reader.start()

    producer.produce(topic, b"one")
    producer.flush(120)
    assert reader.is_alive()
    producer.produce(topic, b"two")
    producer.flush(120)

    eventually(lambda: not reader.is_alive())
    assert {b"one", b"two"} == {record.value for record in found}


def test_records_are_returned_when_the_time_is_over(broker, topic, producer):
    producer.produce(topic, b"one")
    producer.flush(120)

    # Again, because a busy machine may not return it in a second.
    eventually(lambda: 1 == len(read_records(broker.bootstrap_servers, topic, at_least=2, within=1)))


def test_a_missing_topic_is_an_error_and_is_not_created(broker):
    for _ in range(2):
        with pytest.raises(LookupError, match="the broker has no topic 'elsewhere'"):
            read_records(broker.bootstrap_servers, "elsewhere")


def test_a_broker_that_does_not_answer_is_an_error(broker, topic):
    broker.down()
    try:
        with pytest.raises(TimeoutError, match="the broker does not answer"):
            read_records(broker.bootstrap_servers, topic, within=0.3)
    finally:
        broker.up()
