"""Trades that are sent by one call: all are sent, or named, or given back."""

import pytest

from tests.pipeline.test_producer import log
from tradepipe import BrokerUnavailable, DeliveryFailed, InvalidTrade

SLOW = {"queue.buffering.max.messages": 5, "linger.ms": 60_000, "sticky.partitioning.linger.ms": 0}
"""The queue takes five trades and does not send them before a minute has passed."""


def values(pipeline, trades):
    return sorted(map(pipeline.serialize, trades))


def logged(pipeline):
    return sorted(value for _, _, value in log(pipeline))


def test_trades_of_any_iterable_are_in_the_log_once(pipeline, some_trades):
    trades = some_trades(2_500)
    with pipeline.producer() as producer:
        producer.produce_many(trades[:10])
        producer.produce_many(iter(trades[10:]))
        producer.produce_many(())

    assert values(pipeline, trades) == logged(pipeline)


def test_the_versions_of_a_trade_stay_in_order(pipeline, some_trades):
    trades = [trade._replace(trade_id="T1", version=number) for number, trade in enumerate(some_trades(1_500), 1)]
    with pipeline.producer() as producer:
        producer.produce_many(trades)

    assert list(map(pipeline.serialize, trades)) == [value for _, _, value in log(pipeline)]


@pytest.mark.parametrize("at", [0, 5, 999, 1_000, 1_999])
def test_an_invalid_trade_is_named_and_the_call_can_be_continued(pipeline, some_trades, at):
    trades = some_trades(2_000)
    trades[at] = trades[at]._replace(version=0)
    with pipeline.producer() as producer:
        with pytest.raises(InvalidTrade) as caught:
            producer.produce_many(trade for trade in trades)
        producer.produce_many(caught.value.unsent)

    assert trades[at] == caught.value.trade
    assert values(pipeline, [*trades[:at], *trades[at + 1 :]]) == logged(pipeline)


def test_trades_without_space_in_the_queue_are_given_back(pipeline, some_trades):
    trades = some_trades(12)
    producer = pipeline.producer(kafka=SLOW, close_timeout=0.1)
    producer.produce(trades[0])  # connects, however long it takes

    with pytest.raises(BrokerUnavailable, match="producer queue for topic .* is full") as caught:
        producer.produce_many(trades[1:], timeout=0.3)

    assert trades[5:] == list(caught.value.unsent)
    with pytest.raises(DeliveryFailed) as failed:
        producer.close()
    assert trades[:5] == [trade for trade, _ in failed.value.unknown]


def test_a_full_queue_blocks_the_call_and_loses_nothing(pipeline, some_trades):
    with pipeline.producer(kafka={"queue.buffering.max.messages": 10}) as producer:
        producer.produce_many(some_trades(500))

    assert 500 == len(log(pipeline))
