"""What a stage reports about a topic whose producers leave transactions open or misplace records."""

import pytest
from confluent_kafka import Producer

from tests.eventually import eventually
from tests.kafka.raw_batches import encode_batch, encode_record, send_batch, varint
from tests.pipeline.running_stages import running
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.partitioner import default_partition
from tradepipe.metrics import CONSUMED, MISPLACED, WITHHELD
from tradepipe.pipeline import topic_watch
from tradepipe.pipeline.topic_watch import StandstillWatch


@pytest.fixture(params=["sink", "validator"])
def stage(request, pipeline, targets, services):
    """Either stage, running; the embedded broker has no transactions."""
    options = {} if request.param == "sink" or services.is_real else {"delivery": "at_least_once"}
    with running(getattr(pipeline, request.param)(**options)) as stage:
        eventually(lambda: stage.lag == 0)
        yield stage


@pytest.fixture
def short_standstill(monkeypatch):
    """Report an open transaction after half a second."""
    monkeypatch.setattr(topic_watch, "STANDSTILL_SECONDS", 0.5)
    monkeypatch.setattr(topic_watch, "WATERMARK_INTERVAL", 0.2)


@pytest.mark.real
def test_an_open_transaction_that_withholds_records_is_named_until_it_ends(
    pipeline, some_trades, short_standstill, stage, caplog
):
    open_one = Producer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], "transactional.id": pipeline.topic})
    open_one.init_transactions(120)
    open_one.begin_transaction()
    open_one.produce(pipeline.topic, b"withheld", b"k", partition=2)
    assert 0 == open_one.flush(120)

    eventually(lambda: stage.waiting_for == "the end of an open transaction")
    assert [(pipeline.topic, "2")] == list(stage.meter.values(WITHHELD))
    assert f"an open transaction withholds all records of {pipeline.topic}[2] from offset 0 on" in caplog.text

    open_one.abort_transaction(30)
    eventually(lambda: stage.waiting_for is None)
    assert {} == stage.meter.values(WITHHELD)


def test_a_position_below_stable_records_is_no_open_transaction(pipeline, some_trades, short_standstill):
    """As during an outage of the database: the records could be read."""
    pipeline.publish_bytes([(b"k", b"v")] * 5, partition=0)
    watch = StandstillWatch(TopicAdmin(pipeline.kafka), pipeline.topic)

    eventually(lambda: watch.update({0: 1}, {0: 5}) or watch.unread)

    assert ({0: 1}, {}) == (watch.unread, watch.withheld)


def test_misplaced_records_are_counted_and_warned_of_once(pipeline, some_trades, stage, caplog):
    (trade,) = some_trades(1)
    key = trade.trade_id.encode()
    elsewhere = (default_partition(key, 4) + 1) % 4
    pipeline.publish_bytes([(key, pipeline.serialize(trade))] * 3, partition=elsewhere)

    eventually(lambda: stage.meter.values(MISPLACED)[pipeline.topic,] > 0)

    assert 1 == caplog.text.count("where the default partitioner (murmur2) puts its key")


def test_records_of_a_producer_with_the_default_partitioner_are_not_misplaced(pipeline, some_trades, stage):
    pipeline.publish(some_trades(200))
    eventually(lambda: stage.meter.values(CONSUMED)[pipeline.topic,] == 200)

    assert {(pipeline.topic,): 0} == stage.meter.values(MISPLACED)


@pytest.mark.real
def test_a_record_that_the_client_silently_does_not_deliver_is_named(pipeline, short_standstill, stage, caplog):
    """Brokers accept any negative length of a value; librdkafka takes the record for an incomplete one."""
    record = encode_record(0, b"k", b"")
    malformed = record[:-2] + varint(-5) + record[-1:]
    send_batch(pipeline.kafka["bootstrap.servers"], pipeline.topic, encode_batch(malformed, 1, codec=0))

    eventually(lambda: stage.waiting_for == "a record that Kafka's client does not deliver")
    assert f"{pipeline.topic}[0] stands still at offset 0: the brokers have records there" in caplog.text
