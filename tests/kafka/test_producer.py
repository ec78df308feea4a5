"""Idempotent producer: acknowledged, refused and unknown records."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import KafkaError

from tests.eventually import eventually
from tests.kafka.proxy import PRODUCE, KafkaProxy
from tests.proxy import port_of
from tradepipe.embedded.broker import Broker
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.producer import SERVE_EVERY, IdempotentProducer
from tradepipe.kafka.topic_reader import TopicReader


@pytest.fixture
def create_producer(kafka, topic) -> Iterator[Callable[..., IdempotentProducer]]:
    """Create producers, for the test's topic unless another is given; the fixture abandons them."""
    producers: list[IdempotentProducer] = []

    def create_producer(*, topic: str = topic, request_timeout: float = 5.0, **settings: Any) -> IdempotentProducer:
        config = {"bootstrap.servers": kafka["bootstrap.servers"]}
        config.update({key.replace("_", "."): value for key, value in settings.items()})
        producers.append(IdempotentProducer(config, topic=topic, request_timeout=request_timeout))
        return producers[-1]

    yield create_producer
    for producer in producers:
        producer.abandon("the test has ended")


@pytest.fixture
def proxy(kafka) -> Iterator[KafkaProxy]:
    """Run a proxy for the broker."""
    with KafkaProxy(port_of(kafka["bootstrap.servers"])) as proxy:
        yield proxy


def values(kafka, topic) -> list[bytes | None]:
    """Return the values of all records of a topic."""
    with TopicReader(kafka, topic=topic, timeout=120) as reader:
        return [record.value for record in reader.read(TopicAdmin(kafka).watermarks(topic, range(4)))]


def quick_to_reconnect(broker: Broker) -> dict[str, Any]:
    """Return settings of a producer that notices soon when its broker is available again."""
    return {"bootstrap_servers": broker.bootstrap_servers, "reconnect_backoff_max_ms": 100}


def undelivered(producer) -> list[tuple[bytes | None, bool]]:
    """Return each undelivered record's value, and whether it was refused."""
    return [(record.value, record.refused) for record in producer.take_undelivered()]


@pytest.mark.embedded
def test_a_record_that_the_broker_rejects_is_refused(services, create_producer):
    producer = create_producer()
    services.broker.fail_requests(PRODUCE, KafkaError.POLICY_VIOLATION)
    producer.send(b"k", b"1")

    assert 0 == producer.flush(120)

    assert [(b"1", True)] == undelivered(producer)


def test_a_record_that_is_too_large_is_refused_at_once(create_producer):
    producer = create_producer()
    producer.open()

    refused = producer.send(b"k", bytes(2_000_000))

    assert refused is not None
    assert (b"k", True) == (refused.key, refused.refused)
    assert "Message size too large" in refused.reason
    assert (0, []) == (len(producer), producer.take_undelivered())


@pytest.mark.embedded
def test_a_rejection_after_failed_connection_attempts_is_certain(create_producer):
    """No request was sent on a connection that was never established."""
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        broker.down()
        producer = create_producer(topic="trades", request_timeout=0.1, **quick_to_reconnect(broker))
        producer.send(b"k", b"1")
        assert producer.flush(0.5)
        broker.fail_requests(PRODUCE, KafkaError.POLICY_VIOLATION)
        broker.up()

        assert 0 == producer.flush(120)

        assert [(b"1", True)] == undelivered(producer)


@pytest.mark.embedded
def test_a_rejection_after_a_broken_connection_is_unknown(services, create_producer):
    """The broker may have written the record before the connection broke."""
    producer = create_producer()
    services.broker.fail_requests(PRODUCE, KafkaError._TRANSPORT, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    producer.send(b"k", b"1")

    assert 0 == producer.flush(120)

    assert [(b"1", False)] == undelivered(producer)


@pytest.mark.embedded
def test_a_rejection_after_a_broken_connection_is_unknown_with_several_brokers(create_producer):
    """librdkafka then reports a broken connection only to its log, and a second one within 30 s to nothing."""
    with Broker(brokers=3) as broker:
        broker.create_topic("trades", partitions=1)
        producer = create_producer(topic="trades", bootstrap_servers=broker.bootstrap_servers)
        for value in (b"1", b"2", b"3"):
            broker.fail_requests(PRODUCE, KafkaError._TRANSPORT, KafkaError.POLICY_VIOLATION)
            producer.send(b"k", value)
            assert 0 == producer.flush(120)

        assert [(b"1", False), (b"2", False), (b"3", False)] == undelivered(producer)


def test_an_abandoned_record_in_flight_is_unknown(kafka, topic, proxy, create_producer):
    """The broker has the record, and its answer is on the way; there was no error."""
    producer = create_producer(bootstrap_servers=f"127.0.0.1:{proxy.port}")
    late = proxy.hold_answer(PRODUCE, seconds=60)
    producer.send(b"k", b"1")
    assert late.answered.wait(200)

    producer.abandon("abandoned")

    assert [(b"1", "abandoned", False)] == [
        (record.value, record.reason, record.refused) for record in producer.take_undelivered()
    ]
    assert [b"1"] == values(kafka, topic)


@pytest.mark.embedded
def test_after_a_fatal_error_every_record_is_in_the_log_or_unknown(services, kafka, topic, create_producer):
    """The next record is sent by a new client."""
    producer = create_producer(batch_num_messages=1)
    services.broker.fail_requests(PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
    for value in (b"1", b"2", b"3"):
        producer.send(b"k", value)
    assert 0 == producer.flush(120)
    failed = producer.take_undelivered()
    producer.send(b"k", b"4")

    assert (0, []) == (producer.flush(120), producer.take_undelivered())
    assert {b"1", b"2", b"3", b"4"} == {record.value for record in failed} | set(values(kafka, topic))
    assert not any(record.refused for record in failed)


def test_large_records_are_accepted_while_the_broker_is_unavailable(topic, create_producer):
    """The topic's limit is unknown then; librdkafka's default equals Kafka's."""
    producer = create_producer(request_timeout=0.1, bootstrap_servers="127.0.0.1:1")

    assert producer.send(b"k", bytes(900_000)) is None
    assert 1 == len(producer)


def test_an_idle_producer_receives_acknowledgements(create_producer):
    producer = create_producer()
    for number in range(3):
        producer.send(b"k", b"%d" % number)

    eventually(lambda: len(producer) == 0)


@pytest.mark.embedded
def test_an_idle_producer_receives_failures(services, create_producer):
    producer = create_producer()
    services.broker.fail_requests(PRODUCE, KafkaError.POLICY_VIOLATION)
    producer.send(b"k", b"1")

    assert [(b"1", True)] == eventually(lambda: undelivered(producer))


def test_only_records_are_counted_during_an_outage(create_producer):
    """librdkafka's own count includes its log messages."""
    producer = create_producer(request_timeout=0.1, bootstrap_servers="127.0.0.1:1")
    for _ in range(2):
        producer.send(b"k", b"1")

    assert {2} == {len(producer) for _ in range(10_000)}


@pytest.mark.embedded
def test_each_outage_is_logged_when_it_begins_and_when_it_ends(caplog, create_producer):
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        producer = create_producer(topic="trades", **quick_to_reconnect(broker))
        producer.send(b"k", b"1")
        assert 0 == producer.flush(120)
        for outages in (1, 2):
            broker.down()
            producer.send(b"k", b"1")
            eventually(lambda outages=outages: outages == caplog.text.count("Kafka is unavailable"))
            broker.up()
            eventually(lambda outages=outages: outages == caplog.text.count("Kafka is available again"))
        assert 0 == producer.flush(120)
        producer.abandon("the broker ends")

    lines = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert 4 == len(lines)
    assert lines[0].startswith("Kafka is unavailable, 1 record queued: ")
    assert "127.0.0.1" in lines[0]


@pytest.mark.embedded
def test_an_outage_from_the_beginning_is_logged_once(caplog, create_producer):
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        broker.down()
        producer = create_producer(topic="trades", request_timeout=0.5, **quick_to_reconnect(broker))
        producer.send(b"k", b"1")
        assert producer.flush(2)
        broker.up()
        eventually(lambda: "Kafka is available again" in caplog.text)
        producer.abandon("the broker ends")

    assert 2 == len([record for record in caplog.records if record.levelno > logging.DEBUG])


@pytest.mark.embedded
def test_a_broken_connection_is_no_outage_while_the_broker_answers(services, create_producer, caplog):
    producer = create_producer()
    services.broker.fail_requests(PRODUCE, KafkaError._TRANSPORT)
    producer.send(b"k", b"1")

    assert 0 == producer.flush(120)
    eventually(lambda: producer._outage_log._probe is None and producer._outage_log._suspicion is None)
    assert [] == [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_an_exception_of_a_signal_leaves_the_producer_usable(create_producer):
    """A signal may raise between any two steps of a call, as Ctrl-C does."""
    producer = create_producer()
    producer.open()

    def interrupt(*_: object) -> None:
        raise InterruptedError

    def send_until_interrupted(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            producer.send(b"k", b"1")

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(300):
            with pytest.raises(InterruptedError):
                send_until_interrupted(0.000_01 * (1 + number))
    finally:
        signal.signal(signal.SIGALRM, previous)

    assert 0 == producer.flush(120)


def test_acknowledgements_of_many_records_are_received_without_a_further_call(create_producer):
    """The threads that send many records receive the first of them, and then have nothing more to do."""
    producer = create_producer()
    for _ in range(10 * SERVE_EVERY + 1):
        producer.send(b"k", b"1")

    eventually(lambda: len(producer) == 0)


def test_threads_share_a_producer(kafka, topic, create_producer):
    producer = create_producer()
    everything = [b"%d" % number for number in range(4_000)]

    def send(own: list[bytes]) -> None:
        for value in own:
            producer.send(b"k", value)

    threads = [threading.Thread(target=send, args=(everything[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 0 == producer.flush(120)
    assert sorted(everything) == sorted(values(kafka, topic))


def test_a_record_that_is_sent_while_the_producer_closes_is_reported_or_refused(kafka, topic, create_producer):
    """Each of the threads gets an exception for its first record that is not sent."""
    producer = create_producer(linger_ms=20)
    sent: list[bytes] = []

    def send_until_closed(thread: int) -> None:
        with suppress(RuntimeError):  # the producer is closed
            for number in range(1_000_000):
                producer.send(b"k", value := b"%d-%d" % (thread, number))
                sent.append(value)

    threads = [threading.Thread(target=send_until_closed, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(sent) > 1_000)
    producer.abandon("abandoned")
    for thread in threads:
        thread.join()

    reported = {record.value for record in producer.take_undelivered()}
    assert set(sent) == reported | set(values(kafka, topic))
