"""A trade's versions are on one partition, whether Java's producer or ours sent them."""

import uuid

import pytest

from tests.interop.trades import records, some
from tradepipe.evolution.history import current

pytestmark = pytest.mark.real

PARTITIONS = 7
"""Of the test's topic: a number that shares no factor with a power of two."""


@pytest.fixture
def topic(services):
    name = f"trades-{uuid.uuid4().hex}"
    services.create_topic(name, partitions=PARTITIONS)
    return name


def partitions(pipeline):
    """The partitions of each trade, as the sink saw them."""
    return dict(pipeline.query("SELECT trade_id, array_agg(DISTINCT source_partition) FROM trades GROUP BY trade_id"))


def test_our_keys_are_on_the_partitions_that_a_java_producer_chooses(peer, pipeline):
    pipeline.publish(some(5000))
    pipeline.store()

    ours = partitions(pipeline)

    theirs = peer.ask("kafka-partitions", keys=list(ours), count=PARTITIONS)
    assert {key: [partition] for key, partition in zip(ours, theirs, strict=True)} == ours
    assert PARTITIONS == len(set(theirs))


def test_versions_that_java_and_we_send_in_turn_are_on_one_partition(peer, pipeline, settings):
    trades = some(600)
    javas = [trade for trade in trades if trade.version % 2]
    pipeline.publish(trade for trade in trades if not trade.version % 2)
    peer.ask(
        "kafka-produce",
        settings=settings,
        topic=pipeline.topic,
        writer=current().text,
        key="trade_id",
        records=records(current(), javas),
    )

    pipeline.store()

    assert sorted(trades) == pipeline.stored()
    assert {1} == {len(each) for each in partitions(pipeline).values()}
