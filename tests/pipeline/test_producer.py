"""The producer: delivery, failure reports, outages."""

import gc
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from inspect import signature
from itertools import count

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.eventually import eventually
from tradepipe import (
    BrokerUnavailable,
    ConfigurationError,
    DeliveryFailed,
    InvalidTrade,
    Producer,
    RegistryUnavailable,
    SchemaNotRegistered,
    TopicUnusable,
    Trade,
)
from tradepipe.registry import schema_ids

PRODUCE = 0
"""Kafka's API key of a produce request."""


def log(pipeline):
    """Return the records of the topic as (partition, key, value), in the order of each partition."""
    reader = Consumer(
        {**pipeline.kafka, "group.id": "reader", "enable.partition.eof": True, "auto.offset.reset": "error"}
    )
    reader.assign([TopicPartition(pipeline.topic, partition, 0) for partition in range(4)])
    records, ended = [], 0
    while ended < 4:
        message = reader.poll(120)
        assert message is not None, "the log did not end"
        if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
            ended += 1
        else:
            assert message.error() is None
            records.append((message.partition(), message.key(), message.value()))
    reader.close()
    return records


def test_acknowledged_trades_are_in_the_log_once(pipeline, some_trades):
    trades = pipeline.publish(some_trades(300))

    assert sorted(pipeline.serialize(trade) for trade in trades) == sorted(value for _, _, value in log(pipeline))


def test_all_versions_of_a_trade_are_on_one_partition_in_order(pipeline, some_trades):
    pipeline.publish(some_trades(300))

    partitions, versions = {}, {}
    for partition, key, value in log(pipeline):
        partitions.setdefault(key, set()).add(partition)
        versions.setdefault(key, []).append(value)
    assert {1} == {len(found) for found in partitions.values()}
    assert any(len(values) > 1 for values in versions.values())
    of_trade = {}
    for trade in some_trades(300):
        of_trade.setdefault(trade.trade_id.encode(), []).append(pipeline.serialize(trade))
    assert of_trade == versions


def test_keys_are_partitioned_as_by_java_clients(pipeline, some_trades):
    trades = pipeline.publish(trade for trade in some_trades(60) if trade.version == 1)

    found = {key.decode(): partition for partition, key, _ in log(pipeline)}
    assert {trade.trade_id: murmur2_partition(trade.trade_id) for trade in trades} == found


def murmur2_partition(key, partitions=4):
    """Kafka's DefaultPartitioner: murmur2 with seed 0x9747b28c over the key's bytes, made positive."""
    data, seed, m, mask = key.encode(), 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF
    length = len(data)
    h = (seed ^ length) & mask
    for at in range(0, length - length % 4, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[length - length % 4 :]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


def test_an_invalid_trade_is_not_sent_and_all_its_violations_are_reported(pipeline):
    trade = Trade("T 1", 0, "CP", "B", maturity_date=date(2020, 1, 1), created_at=datetime(2025, 1, 1, tzinfo=UTC))
    with pipeline.producer() as producer, pytest.raises(InvalidTrade) as caught:
        producer.produce(trade)

    assert ["TRADE_ID", "VERSION", "MATURITY_DATE"] == [violation.code for violation in caught.value.violations]
    assert trade == caught.value.trade
    assert [] == log(pipeline)


def test_a_full_queue_blocks_the_caller_and_loses_nothing(pipeline, some_trades):
    with pipeline.producer(kafka={"queue.buffering.max.messages": 10}) as producer:
        for trade in some_trades(500):
            producer.produce(trade)

    assert 500 == len(log(pipeline))


def test_a_producer_that_is_closed_waits_half_a_minute_by_default():
    assert 30.0 == signature(Producer).parameters["close_timeout"].default


def test_a_caller_may_limit_the_wait_for_a_full_queue(pipeline, some_trades):
    settings = {"queue.buffering.max.messages": 5, "linger.ms": 60_000, "sticky.partitioning.linger.ms": 0}
    trades = some_trades(6)
    producer = pipeline.producer(kafka=settings, close_timeout=0.1)
    for trade in trades[:5]:
        producer.produce(trade)

    with pytest.raises(BrokerUnavailable, match="producer queue for topic .* is full"):
        producer.produce(trades[5], timeout=0.3)
    with pytest.raises(DeliveryFailed):
        producer.close()


def test_flush_waits_for_all_acknowledgements(pipeline, some_trades):
    with pipeline.producer() as producer:
        for trade in some_trades(50):
            producer.produce(trade)
        producer.flush(120)

        assert 0 == len(producer)


def test_closing_while_the_broker_is_unavailable_reports_every_trade_as_unknown(pipeline, some_trades, outage, caplog):
    trades = some_trades(20)
    producer = pipeline.producer(close_timeout=1.0)
    producer.produce(trades[0])
    producer.flush(120)
    outage()
    for trade in trades[1:]:
        producer.produce(trade)

    with pytest.raises(DeliveryFailed) as caught:
        producer.close()

    assert ((), sorted(trades[1:])) == (caught.value.refused, sorted(trade for trade, _ in caught.value.unknown))
    assert "abandoned on close" in caught.value.unknown[0][1]
    assert "abandoned" not in caplog.text


def test_an_unregistered_schema_stops_at_the_first_trade(pipeline, some_trades, monkeypatch):
    """At first the registry may be starting; here that time is over."""
    monkeypatch.setattr(schema_ids, "STARTUP_SECONDS", 0.0)
    pipeline.subject = "nobody-value"
    with pipeline.producer() as producer, pytest.raises(SchemaNotRegistered, match="tradepipe.schema register"):
        producer.produce(some_trades(1)[0])


def test_a_missing_topic_stops_at_the_first_trade(pipeline, some_trades):
    with pipeline.producer(topic="nowhere") as producer, pytest.raises(TopicUnusable, match="topics create"):
        producer.produce(some_trades(1)[0])


def test_overriding_a_guarantee_is_an_error_at_construction(pipeline):
    with pytest.raises(ConfigurationError, match=r"acks=1 is not allowed"):
        pipeline.producer(kafka={"acks": "1"})


def test_an_exception_in_the_block_is_not_hidden_by_failed_deliveries(pipeline, some_trades, outage):
    producer = pipeline.producer(close_timeout=0.5)
    with pytest.raises(ZeroDivisionError) as caught, producer:  # noqa: PT012 - the block is what is tested
        producer.produce(some_trades(1)[0])
        producer.flush(120)
        outage()
        producer.produce(some_trades(2)[1])
        raise ZeroDivisionError

    assert "1 with unknown outcome" in caught.value.__notes__[0]


@pytest.mark.real
def test_a_broker_outage_loses_and_duplicates_nothing(pipeline, some_trades, own_kafka):
    trades = some_trades(3_000)
    with pipeline.producer() as producer:
        for trade in trades[:1_000]:
            producer.produce(trade)
        own_kafka.kill()
        restart = threading.Timer(5, own_kafka.start)
        restart.start()
        for trade in trades[1_000:]:
            producer.produce(trade)
        restart.join()

    assert sorted(pipeline.serialize(trade) for trade in trades) == sorted(value for _, _, value in log(pipeline))


@pytest.mark.real
def test_a_frozen_broker_loses_and_duplicates_nothing(pipeline, some_trades, own_kafka):
    trades = some_trades(2_000)
    with pipeline.producer(kafka={"socket.timeout.ms": 2_000, "request.timeout.ms": 1_000}) as producer:
        for trade in trades[:1_000]:
            producer.produce(trade)
        own_kafka.freeze()
        thaw = threading.Timer(5, own_kafka.thaw)
        thaw.start()
        for trade in trades[1_000:]:
            producer.produce(trade)
        thaw.join()

    assert sorted(pipeline.serialize(trade) for trade in trades) == sorted(value for _, _, value in log(pipeline))


@pytest.mark.real
def test_batches_respect_the_topics_size_limit(pipeline, some_trades, services):
    """librdkafka sends batches of up to a million bytes and never splits one the broker finds too large."""
    pipeline.topic += "-small"
    services.kafka.create_topic(pipeline.topic, config={"max.message.bytes": "600"})
    with pipeline.producer(kafka={"linger.ms": 100}) as producer:
        for trade in some_trades(500):
            producer.produce(trade)

    assert 500 == len(log(pipeline))


@pytest.mark.real
def test_a_trade_larger_than_the_topics_limit_is_refused(pipeline, some_trades, services):
    pipeline.topic += "-tiny"
    services.kafka.create_topic(pipeline.topic, config={"max.message.bytes": "60"})
    trade = some_trades(1)[0]

    with pytest.raises(DeliveryFailed) as caught, pipeline.producer() as producer:
        producer.produce(trade)

    assert ([trade], ()) == ([refused for refused, _ in caught.value.refused], caught.value.unknown)


@pytest.mark.embedded
def test_a_rejection_by_the_broker_is_reported_as_refused(pipeline, some_trades, broker):
    """Without any trouble on the way, what the broker refuses is not in the log."""
    trades = some_trades(2)
    producer = pipeline.producer()
    producer.produce(trades[0])
    producer.flush(120)
    broker.fail_requests(PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    producer.produce(trades[1])

    with pytest.raises(DeliveryFailed) as caught:
        producer.flush(120)

    assert ([trades[1]], ()) == ([trade for trade, _ in caught.value.refused], caught.value.unknown)
    producer.close()


@pytest.mark.embedded
def test_a_call_with_many_trades_names_an_earlier_failure_and_can_be_continued(pipeline, some_trades, broker):
    """Also within a call: a failure among endless trades must not wait for their end."""
    trades, given, is_named = some_trades(3_000), [], False

    def endless():
        while not is_named:
            given.append(trades[2 + len(given) % 2_998])
            yield given[-1]

    with pipeline.producer() as producer:
        producer.produce(trades[0])
        producer.flush()
        broker.fail_requests(PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)
        producer.produce(trades[1])
        eventually(lambda: not len(producer))
        with pytest.raises(DeliveryFailed) as caught:
            producer.produce_many(endless())
        is_named = True
        producer.produce_many(caught.value.unsent)

    assert ([trades[1]], ()) == ([trade for trade, _ in caught.value.refused], caught.value.unknown)
    assert sorted(map(pipeline.serialize, [trades[0], *given])) == sorted(value for _, _, value in log(pipeline))


@pytest.mark.embedded
def test_a_fatal_error_is_reported_as_unknown_and_the_producer_continues(pipeline, some_trades, broker):
    trades = some_trades(3)
    producer = pipeline.producer()
    producer.produce(trades[0])
    producer.flush(120)
    broker.fail_requests(PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
    producer.produce(trades[1])
    with pytest.raises(DeliveryFailed) as caught:
        producer.flush(120)

    assert ((), [trades[1]]) == (caught.value.refused, [trade for trade, _ in caught.value.unknown])
    producer.produce(trades[2])
    producer.close()
    assert pipeline.serialize(trades[2]) in [value for _, _, value in log(pipeline)]


@pytest.mark.embedded
def test_the_very_next_call_reports_a_failure_and_sends_its_own_trade(pipeline, some_trades, broker):
    trades = some_trades(3)
    producer = pipeline.producer()
    producer.produce(trades[0])
    producer.flush(120)
    broker.fail_requests(PRODUCE, KafkaError.POLICY_VIOLATION)
    producer.produce(trades[1])
    eventually(lambda: len(producer) == 0)  # nothing but the background thread serves the producer

    with pytest.raises(DeliveryFailed) as caught:
        producer.produce(trades[2])

    assert ([trades[1]], ()) == ([trade for trade, _ in caught.value.refused], caught.value.unknown)
    producer.close()
    assert {pipeline.serialize(trades[0]), pipeline.serialize(trades[2])} == {value for _, _, value in log(pipeline)}


@pytest.mark.embedded
def test_an_invalid_trade_does_not_swallow_an_earlier_failure(pipeline, some_trades, broker):
    trades = some_trades(2)
    producer = pipeline.producer()
    producer.produce(trades[0])
    producer.flush(120)
    broker.fail_requests(PRODUCE, KafkaError.POLICY_VIOLATION)
    producer.produce(trades[1])
    eventually(lambda: len(producer) == 0)

    with pytest.raises(InvalidTrade):
        producer.produce(trades[1]._replace(version=0))
    with pytest.raises(DeliveryFailed, match="1 refused"):
        producer.close()


def test_the_first_trade_waits_no_longer_than_its_timeout_for_kafka(pipeline, some_trades, unresponsive):
    """The message says so only while the request for the topic's configuration, which takes 5 s, still runs."""
    producer = pipeline.producer(kafka={"bootstrap.servers": unresponsive}, close_timeout=0.1)

    with pytest.raises(BrokerUnavailable, match=r"Kafka did not answer within 0.2 s; the trade is not sent"):
        producer.produce(some_trades(1)[0], timeout=0.2)

    producer.close()


def test_the_first_trade_waits_no_longer_than_its_timeout_for_the_registry(pipeline, some_trades, unresponsive):
    """The message says so only while the request, which takes 10 s, still runs."""
    producer = pipeline.producer(registry=f"http://{unresponsive}", close_timeout=0.1)

    with pytest.raises(RegistryUnavailable, match=r"registry at .* did not answer within 0.2 s; the trade is not sent"):
        producer.produce(some_trades(1)[0], timeout=0.2)

    producer.close()


@pytest.mark.parametrize("timeout", [math.inf, 1e30])
def test_a_timeout_may_be_longer_than_threads_can_wait(pipeline, some_trades, timeout):
    with pipeline.producer() as producer:
        for trade in some_trades(2):
            producer.produce(trade, timeout=timeout)
        producer.produce_many(some_trades(2), timeout=timeout)
        producer.flush(timeout)
        producer.close(timeout)

    assert 4 == len(log(pipeline))


def test_trades_are_queued_if_kafka_is_unavailable_from_the_beginning(pipeline, some_trades):
    trades = some_trades(2)
    producer = pipeline.producer(kafka={"bootstrap.servers": "127.0.0.1:1"}, close_timeout=0.1)
    for trade in trades:
        producer.produce(trade)

    with pytest.raises(DeliveryFailed) as caught:
        producer.close()
    assert ((), trades) == (caught.value.refused, [trade for trade, _ in caught.value.unknown])


def test_a_closed_producer_sends_nothing(pipeline, some_trades):
    producer = pipeline.producer()
    producer.produce(some_trades(1)[0])
    producer.close()

    with pytest.raises(RuntimeError, match="the producer is closed"):
        producer.produce(some_trades(1)[0])
    producer.close()


def test_a_producer_that_is_lost_unclosed_warns_of_its_trades(pipeline, some_trades, outage):
    trades = some_trades(3)
    producer = pipeline.producer()
    producer.produce(trades[0])
    producer.flush(120)
    outage()
    for trade in trades[1:]:
        producer.produce(trade)

    with pytest.warns(ResourceWarning, match="was not closed: 2 trades are not acknowledged"):  # noqa: PT031 - either
        del producer
        gc.collect()


def test_threads_share_a_producer_that_is_closed_while_they_produce(pipeline, some_trades):
    """Every trade is in the log, or its thread received an error that it was not sent."""
    producer, sent = pipeline.producer(), []

    def produce_until_closed(first: Trade) -> None:
        with suppress(RuntimeError):
            for version in count(1):
                producer.produce(trade := first._replace(version=version))
                sent.append(trade)
                time.sleep(0.0001)  # else the main thread would hardly run

    firsts = [trade for trade in some_trades(20) if trade.version == 1][:3]
    threads = [threading.Thread(target=produce_until_closed, args=(trade,)) for trade in firsts]
    for thread in threads:
        thread.start()
    eventually(lambda: len(sent) > 500)
    producer.close()
    for thread in threads:
        thread.join()

    assert sorted(map(pipeline.serialize, sent)) == sorted(value for _, _, value in log(pipeline))


@pytest.fixture
def unresponsive() -> Iterator[str]:
    """Address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def broker(services):
    """Run an embedded broker, which fails requests on demand."""
    return services.broker


@pytest.fixture
def outage(services, own_kafka):
    """Return a function that lets the broker answer nothing for a while."""
    begin, end = (own_kafka.freeze, own_kafka.thaw) if own_kafka else (services.broker.down, services.broker.up)
    yield begin
    end()
