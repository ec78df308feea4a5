"""The fixtures, as a service's tests use them."""

import re

import psycopg2
import pytest
from confluent_kafka import Producer as KafkaProducer

from tests.eventually import eventually
from tradepipe import DeliveryFailed, Producer, SchemaRegistry, Sink, TradeSerializer
from tradepipe.evolution.history import versions

pytestmark = pytest.mark.embedded  # the kit starts its own services in every run


@pytest.fixture
def send(producer_settings, tradepipe_topic):
    """Puts keys and values into the topic as they are."""

    def send(*records):
        client = KafkaProducer(producer_settings["kafka"])
        for key, value in records:
            client.produce(tradepipe_topic, value, key)
        assert 0 == client.flush(120)

    return send


@pytest.fixture
def serialize(tradepipe_registry, tradepipe_subject):
    with SchemaRegistry(tradepipe_registry.url) as registry:
        yield TradeSerializer(registry, subject=tradepipe_subject)


def test_what_a_producer_sent_is_read_back(producer_settings, make_trade, produced):
    trades = [make_trade() for _ in range(20)]

    with Producer(**producer_settings) as producer:
        for trade in trades:
            producer.produce(trade)

    assert trades == produced()


def test_the_versions_of_a_trade_come_in_the_order_of_the_log(publish, make_trade, produced):
    second, first = (make_trade(trade_id="T1", version=version) for version in (2, 1))

    publish(second, first)

    assert [second, first] == produced()


def test_each_test_has_a_separate_topic(produced):
    assert [] == produced()


def test_another_topic_can_be_read(tradepipe_broker, producer_settings, make_trade, produced):
    other = f"{producer_settings['topic']}-other"
    tradepipe_broker.create_topic(other)
    with Producer(**{**producer_settings, "topic": other}) as producer:
        producer.produce(make_trade())

    assert ([], 1) == (produced(), len(produced(other)))


def test_missing_trades_are_reported_with_those_that_arrived(publish, make_trade, produced):
    publish(make_trade())

    def reported():
        with pytest.raises(AssertionError) as raised:
            produced(at_least=2, within=1)
        return re.search(r"1 of 2 trades are in topic trades-\w+ after 1 s: T0001 version 1", str(raised.value))

    eventually(reported)  # a busy machine may not return it in a second


def test_records_that_a_sink_would_refuse_are_reported_with_place_and_reason(send, serialize, make_trade, produced):
    value = serialize(make_trade(version=0))
    send((b"T0001", value), (b"T1", serialize(make_trade())), (None, None), (b"X", b"\0" + b"\7" * 4), (b"X", b"{}"))

    with pytest.raises(AssertionError) as raised:
        produced()

    message = str(raised.value)
    assert "a sink would refuse 5 of the records" in message
    for reason in ("VERSION: version is 0", "RECORD_KEY: the key of the record is b'T1'", "EMPTY", "UNKNOWN_SCHEMA"):
        assert reason in message
    assert "FRAMING" in message


def test_the_subject_has_every_version(tradepipe_registry, tradepipe_subject):
    with SchemaRegistry(tradepipe_registry.url) as registry:
        assert [version.number for version in versions()] == registry.versions(tradepipe_subject)
        assert "FULL_TRANSITIVE" == registry.level(tradepipe_subject)


def test_a_sink_stores_what_was_published(sink_settings, publish, make_trade, tradepipe_database):
    publish(make_trade(), make_trade())

    with Sink(**sink_settings) as sink:
        counts = sink.run(until_end=True)

    assert 2 == counts.stored
    assert [("T0001",), ("T0002",)] == stored(tradepipe_database)


def test_each_test_has_a_separate_database(tradepipe_database):
    assert [] == stored(tradepipe_database)


def stored(database):
    connection = psycopg2.connect(database)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT trade_id FROM trades ORDER BY trade_id")
        return cursor.fetchall()
    finally:
        connection.close()


def test_a_broker_can_be_unavailable_for_a_while(broker_unavailable, producer_settings, make_trade, produced):
    before, during = make_trade(), make_trade()
    producer = Producer(**producer_settings, close_timeout=0.3)
    producer.produce(before)
    producer.flush(10)

    with broker_unavailable():
        producer.produce(during)
        with pytest.raises(DeliveryFailed) as raised:
            producer.close()

    assert [during] == [trade for trade, _ in raised.value.unknown]
    assert [before] == produced()


def test_a_broker_is_back_when_the_block_failed(broker_unavailable, publish, make_trade, produced):
    with pytest.raises(ZeroDivisionError), broker_unavailable():
        1 / 0  # noqa: B018 - any failure will do

    publish(make_trade())

    assert 1 == len(produced())
