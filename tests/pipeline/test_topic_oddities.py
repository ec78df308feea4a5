"""What a stage reports about a topic whose producers leave transactions open or misplace records."""

import pytest
from confluent_kafka import Producer

from tests.eventually import eventually
from tests.kafka.raw_batches import encode_batch, encode_malformed, encode_misnumbered, encode_record, send_batch
from tests.pipeline.running_stages import running
from tests.pipeline.topic_contents import committed_records
from tradepipe import Sink, TradeDeserializer
from tradepipe.kafka import malformed
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.dead_letters import parse
from tradepipe.metrics import CONSUMED, MISPLACED, WITHHELD
from tradepipe.pipeline import stage as pipeline_stage
from tradepipe.pipeline import topic_watch
from tradepipe.pipeline.partitions import MAX_CHECKED_KEY, default_partition
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
    monkeypatch.setattr(pipeline_stage, "STANDSTILL_SECONDS", 0.5)
    monkeypatch.setattr(pipeline_stage, "SEARCH_AFTER_SECONDS", 0.5)
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
    watch = StandstillWatch(TopicAdmin(pipeline.kafka), pipeline.topic, after=0.5)

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


def test_a_key_that_is_too_long_for_a_trade_is_not_hashed(pipeline, stage):
    """Python takes 80 ms for each of its megabytes, during which the stage does nothing else."""
    key = b"k" * (MAX_CHECKED_KEY + 1)
    pipeline.publish_bytes([(key, b"")] * 3, partition=(default_partition(key, 4) + 1) % 4)
    eventually(lambda: stage.meter.values(CONSUMED)[pipeline.topic,] == 3)

    assert {(pipeline.topic,): 0} == stage.meter.values(MISPLACED)


def send_raw(pipeline, *records):
    batch = encode_batch(b"".join(records), len(records), codec=0)
    send_batch(pipeline.kafka["bootstrap.servers"], pipeline.topic, batch)


@pytest.mark.real
def test_a_record_that_the_client_silently_does_not_deliver_is_named(
    pipeline, short_standstill, stage, caplog, monkeypatch
):
    """As long as it is not proven to be malformed; then it is refused."""
    monkeypatch.setattr(malformed, "PROOFS", float("inf"))
    send_raw(pipeline, encode_malformed(0))

    eventually(lambda: stage.waiting_for == "a record that Kafka's client does not deliver")
    assert f"{pipeline.topic}[0] stands still at offset 0: the brokers have records there" in caplog.text


def stored_and_refused(pipeline, stage):
    """Return the trades that a stage let pass, sorted, and the offsets and details of its refusals."""
    if isinstance(stage, Sink):
        refusals = sorted((each.offset, each.details[0]) for each in pipeline.refused())
        return pipeline.stored(), refusals
    letters = [parse(each) for each in committed_records(pipeline.kafka, pipeline.dead_letters)]
    refusals = sorted((each.refusal.record.offset, each.refusal.details[0]) for each in letters)
    passed = committed_records(pipeline.kafka, pipeline.clean)
    deserialize = TradeDeserializer(pipeline.registry, subject=pipeline.subject)
    return sorted(deserialize(each.value) for each in passed), refusals


@pytest.mark.real
def test_a_malformed_record_is_refused_and_those_before_and_behind_it_pass(
    pipeline, some_trades, short_standstill, stage, caplog
):
    """Also those of the same batch: Kafka's client delivers them if it begins to read there."""
    trades = some_trades(6)
    records = [
        encode_malformed(i) if i in {2, 3} else encode_record(i, each.trade_id.encode(), pipeline.serialize(each))
        for i, each in enumerate([trades[0], trades[1], None, None, trades[2], trades[3]])
    ]
    send_raw(pipeline, *records)
    send_raw(pipeline, encode_malformed(0))
    pipeline.publish_bytes([(each.trade_id.encode(), pipeline.serialize(each)) for each in trades[4:]], partition=0)

    eventually(lambda: len(stored_and_refused(pipeline, stage)[0]) == len(trades))
    eventually(lambda: stage.lag == 0)

    stored, refusals = stored_and_refused(pipeline, stage)
    assert sorted(trades) == stored
    assert [2, 6] == [offset for offset, _ in refusals]
    assert f"offsets 2 to 3 cannot be read, and remain in Kafka: {malformed.ERROR}" == refusals[0][1]
    assert f"skipping unreadable records of {pipeline.topic}[0]: offset 6 cannot be read" in caplog.text


@pytest.mark.real
def test_a_misnumbered_record_is_refused_and_those_before_and_behind_it_pass(pipeline, some_trades, stage):
    """Kafka's client reads its offset as 2**31 more, which must neither be stored nor hide other records."""
    trades = some_trades(4)
    sent = [(each.trade_id.encode(), pipeline.serialize(each)) for each in trades]
    send_raw(pipeline, encode_record(0, *sent[0]), encode_misnumbered(1, *sent[1]), encode_record(2, *sent[2]))
    send_raw(pipeline, encode_misnumbered(0, *sent[1]))
    pipeline.publish_bytes(sent[3:], partition=0)

    eventually(lambda: len(stored_and_refused(pipeline, stage)[0]) == 3)
    eventually(lambda: stage.lag == 0)

    stored, refusals = stored_and_refused(pipeline, stage)
    assert sorted([trades[0], trades[2], trades[3]]) == stored
    assert [1, 3] == [offset for offset, _ in refusals]
    assert f"Kafka's client reads its offset as {2**31 + 1}" in refusals[0][1]


@pytest.mark.real
def test_records_of_a_broker_that_is_frozen_for_longer_than_the_limit_are_not_skipped(
    pipeline, own_kafka, some_trades, short_standstill, stage
):
    trades = some_trades(40)
    pipeline.publish(trades[:20])
    eventually(lambda: stage.lag == 0)
    for part in (trades[20:30], trades[30:]):
        pipeline.publish(part)
        own_kafka.freeze()
        try:
            eventually(lambda: stage.waiting_for == "Kafka", within=60)
        finally:
            own_kafka.thaw()
        eventually(lambda: stage.waiting_for is None)
    eventually(lambda: stage.lag == 0)

    assert (sorted(trades), []) == stored_and_refused(pipeline, stage)


@pytest.mark.real
def test_records_of_a_transaction_that_is_open_for_longer_than_the_limit_are_not_skipped(
    pipeline, some_trades, short_standstill, stage
):
    trades = some_trades(3)
    writer = Producer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], "transactional.id": pipeline.topic})
    writer.init_transactions(120)
    for ends in (writer.abort_transaction, writer.commit_transaction):
        writer.begin_transaction()
        for each in trades:
            writer.produce(pipeline.topic, pipeline.serialize(each), each.trade_id.encode(), partition=0)
        assert 0 == writer.flush(120)
        eventually(lambda: stage.waiting_for == "the end of an open transaction")
        ends(120)
    eventually(lambda: stage.lag == 0)

    assert (sorted(trades), []) == stored_and_refused(pipeline, stage)
