"""Changes made by others while a stage runs: offsets reset, a log truncated, a topic recreated."""

import pytest
from confluent_kafka import TopicPartition

from tests.eventually import eventually
from tests.kafka.group_member import COOPERATIVE
from tests.pipeline.running_stages import Running, running
from tradepipe import OffsetOutOfRange, TopicUnusable
from tradepipe.kafka import consumer_errors
from tradepipe.pipeline import sink, topic_watch
from tradepipe.postgres import offsets
from tradepipe.postgres.session import open_transaction
from tradepipe.registry import schema_ids

UNKNOWN_ID = b"\x00\x7f\xff\xff\xff rest"


def test_a_log_that_ends_before_the_stored_offset_stops_the_sink(pipeline, some_trades):
    """As after a topic was restored from a backup, or a broker lost acknowledged records."""
    pipeline.publish(some_trades(20))
    pipeline.store()
    pipeline.execute("UPDATE sink_offsets SET next_offset = next_offset + 1000 WHERE partition = 0")
    reached = pipeline.next_offsets()[0]

    message = rf"stored offset of .*\[0\] is {reached}, .* the log ends before the stored offset"
    with pytest.raises(OffsetOutOfRange, match=message):
        pipeline.store()


@pytest.fixture
def frequent_comparison(monkeypatch):
    """Let an idle sink query the stored offsets five times a second."""
    monkeypatch.setattr(sink, "RESET_CHECK_SECONDS", 0.2)


def test_a_reset_past_a_record_frees_a_sink_that_waits_for_its_schema(
    pipeline, some_trades, frequent_comparison, monkeypatch
):
    """The sink has nothing to store, so no transaction of it fails."""
    monkeypatch.setattr(schema_ids, "REPLICA_LAG_SECONDS", 600.0)
    (trade,) = some_trades(1)
    pipeline.publish_bytes([(b"K", UNKNOWN_ID), (trade.trade_id.encode(), pipeline.serialize(trade))], partition=0)
    with running(pipeline.sink()) as waiting:
        eventually(lambda: waiting.waiting_for == "the registry")
        with open_transaction(pipeline.database, application_name="test", seconds=5.0) as ledger:
            given = {"topic_id": None, "next_offsets": {0: 1}, "owner": "an operator"}
            offsets.reset(ledger, f"{pipeline.topic}-sink", topic=pipeline.topic, **given)

        eventually(lambda: waiting.counts.stored == 1)

    assert ([trade], 2) == (pipeline.stored(), pipeline.next_offsets()[0])


@pytest.mark.embedded
def test_a_sink_whose_client_does_not_read_a_partition_is_not_ready_until_it_has_joined_again(
    pipeline, some_trades, frequent_comparison, monkeypatch, caplog
):
    """Here the client has lost an assignment, which the sink cannot know; the claim after a reset needs it."""
    monkeypatch.setattr(consumer_errors, "BLOCKED_SECONDS", 0.5)
    monkeypatch.setattr(consumer_errors, "BLOCKED_REJOIN_SECONDS", 2.0)
    (trade,) = some_trades(1)
    pipeline.publish_bytes([(trade.trade_id.encode(), pipeline.serialize(trade))], partition=0)
    kafka = {**COOPERATIVE, "session.timeout.ms": 2_000, "heartbeat.interval.ms": 200}

    def lose(stored):
        if stored.inserted:
            stage._consumer._client.incremental_unassign([TopicPartition(pipeline.topic, 0)])

    with running(pipeline.sink(kafka=kafka, on_stored=lose)) as stage:
        eventually(lambda: stage.counts.stored == 1 and stage.is_ready)
        pipeline.execute("UPDATE sink_offsets SET epoch = epoch + 1, next_offset = 0 WHERE partition = 0")

        eventually(lambda: f"cannot read {pipeline.topic}[0] from offset 0: " in caplog.text)
        assert not stage.is_ready
        eventually(lambda: stage.counts.duplicates == 1 and stage.is_ready)

    assert f"joining the group again: cannot read {pipeline.topic}[0] from offset 0: " in caplog.text


@pytest.fixture
def frequent_checks(monkeypatch):
    """Let a stage query the id of its topic ten times a second."""
    monkeypatch.setattr(topic_watch, "TOPIC_ID_INTERVAL", 0.1)


@pytest.fixture(params=["sink", "validator"])
def stage(request, pipeline, targets, frequent_checks):
    """Either stage, idle: it has read all there is, which is nothing."""
    options = {} if request.param == "sink" else {"delivery": "at_least_once"}
    stage = Running(getattr(pipeline, request.param)(**options))
    stage.start()
    eventually(lambda: stage.stage.lag == 0)
    yield stage
    stage.end()


def test_a_recreated_topic_stops_its_readers(pipeline, services, stage):
    """The offsets of an empty log do not show it."""
    services.delete_topic(pipeline.topic)
    services.create_topic(pipeline.topic)

    eventually(lambda: not stage.is_alive())

    with pytest.raises(
        TopicUnusable, match=r"was recreated while it was read.*(tradepipe sink offsets reset|--reset-offsets)"
    ):
        raise stage.raised
