"""Records on their way into the log: what is known of each that was not acknowledged."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from tests.kafka.proxy import PRODUCE, KafkaProxy
from tests.proxy import port_of
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.producer import IdempotentProducer
from tradepipe.kafka.topic_reader import TopicReader


@pytest.fixture
def outbox(kafka, topic) -> Iterator[Callable[..., IdempotentProducer]]:
    """Records for the test's topic, with further settings; given up at the end."""
    made: list[IdempotentProducer] = []

    def outbox(**settings: Any) -> IdempotentProducer:
        given = {key.replace("_", "."): value for key, value in settings.items()}
        made.append(IdempotentProducer({"bootstrap.servers": kafka["bootstrap.servers"], **given}, topic=topic))
        return made[-1]

    yield outbox
    for each in made:
        each.abandon("the test has ended")


@pytest.fixture
def proxy(kafka) -> Iterator[KafkaProxy]:
    """Stands between a client and the broker."""
    with KafkaProxy(port_of(kafka["bootstrap.servers"])) as proxy:
        yield proxy


def values(kafka, topic) -> list[bytes | None]:
    """The values of all records of a topic."""
    with TopicReader(kafka, topic=topic, wait=20) as reader:
        return [record.value for record in reader.read(TopicAdmin(kafka).watermarks(topic, range(4)))]


@pytest.mark.embedded
def test_a_verdict_behind_trouble_says_nothing_of_an_earlier_try(parts, outbox):
    """The broker may have written the record before the connection broke."""
    sending = outbox()
    parts.broker.fail_requests(PRODUCE, KafkaError._TRANSPORT, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    sending.send(b"k", b"1")

    assert 0 == sending.wait(20)

    assert [(b"1", False)] == [(each.value, each.refused) for each in sending.take_undelivered()]


def test_what_is_given_up_in_flight_may_be_in_the_log(kafka, topic, proxy, outbox):
    """The broker has it, and the answer is on its way; there was no trouble."""
    sending = outbox(bootstrap_servers=f"127.0.0.1:{proxy.port}")
    late = proxy.hold_answer(PRODUCE, seconds=60)
    sending.send(b"k", b"1")
    assert late.record_not_found.wait(20)

    sending.abandon("given up")

    assert [(b"1", "given up", False)] == [
        (each.value, each.reason, each.refused) for each in sending.take_undelivered()
    ]
    assert [b"1"] == values(kafka, topic)


@pytest.mark.embedded
def test_behind_a_fatal_error_nothing_is_left_waiting(parts, kafka, topic, outbox):
    """Each record is in the log, or told as one that may be; the next one goes by another client."""
    sending = outbox(batch_num_messages=1)
    parts.broker.fail_requests(PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
    for value in (b"1", b"2", b"3"):
        sending.send(b"k", value)
    assert 0 == sending.wait(20)
    told = sending.take_undelivered()
    sending.send(b"k", b"4")

    assert (0, []) == (sending.wait(20), sending.take_undelivered())
    assert {b"1", b"2", b"3", b"4"} == {each.value for each in told} | set(values(kafka, topic))
    assert not any(each.refused for each in told)


def test_while_the_broker_is_unavailable_large_records_are_taken_too(topic):
    """What the topic takes is not known then; librdkafka's default and Kafka's agree."""
    sending = IdempotentProducer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, topic=topic, request_timeout=0.1)

    assert sending.send(b"k", bytes(900_000)) is None
    assert 1 == len(sending)
    sending.abandon("the test has ended")
