"""High watermarks while fetching is paused or brokers do not answer."""

import pytest
from confluent_kafka import Producer

from tests.eventually import eventually
from tradepipe.embedded.broker import Broker
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.pipeline import topic_watch
from tradepipe.pipeline.topic_watch import HighWatermarks

pytestmark = pytest.mark.embedded


@pytest.fixture
def broker():
    """Run a broker with a topic of one partition and three records."""
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for _ in range(3):
            producer.produce("trades", b"a record")
        assert 0 == producer.flush(120)
        yield broker


@pytest.fixture
def ends(broker, monkeypatch):
    """Return watches with short intervals and timeouts."""
    monkeypatch.setattr(topic_watch, "WATERMARK_INTERVAL", 0.0)
    return HighWatermarks(TopicAdmin({"bootstrap.servers": broker.bootstrap_servers}, request_timeout=0.5), "trades")


def test_a_paused_sink_sees_how_the_log_grows(ends):
    eventually(lambda: ends.get({0: 1}, paused=True) == {0: 3})


def test_an_old_answer_does_not_make_the_log_shorter_than_a_newer_fetch_has_found_it(ends):
    eventually(lambda: ends.get({0: 1}, paused=True) == {0: 3})

    assert {0: 5} == ends.get({0: 5}, paused=False)


def test_brokers_that_do_not_answer_are_reported_until_they_do(ends, broker):
    broker.down()
    eventually(lambda: ends.get({0: 1}, paused=True) == {0: 1} and ends.unanswered)

    broker.up()

    eventually(lambda: ends.get({0: 1}, paused=True) == {0: 3} and not ends.unanswered)


def test_a_query_that_was_not_answered_is_repeated_when_fetching_goes_on(ends, broker):
    broker.down()
    eventually(lambda: ends.get({0: 1}, paused=True) and ends.unanswered)

    broker.up()

    eventually(lambda: ends.get({0: 1}, paused=False) == {0: 3} and not ends.unanswered)


def test_without_partitions_a_client_with_errors_finds_out_whether_brokers_answer(ends, broker):
    broker.down()
    eventually(lambda: ends.get({}, paused=False, errors=1) == {} and ends.unanswered)

    broker.up()

    eventually(lambda: ends.get({}, paused=False, errors=1) == {} and not ends.unanswered)


def test_partitions_are_unanswered_while_their_broker_is(monkeypatch):
    monkeypatch.setattr(topic_watch, "WATERMARK_INTERVAL", 0.0)
    with Broker(brokers=2) as broker:
        broker.create_topic("trades", partitions=2)
        topics = TopicAdmin({"bootstrap.servers": broker.bootstrap_servers}, request_timeout=0.5)
        ends = HighWatermarks(topics, "trades")
        eventually(lambda: ends.get({0: 0, 1: 0}, paused=True, errors=1) and not ends.unanswered)

        broker.down(1)
        eventually(lambda: ends.get({0: 0, 1: 0}, paused=False, errors=2) and len(ends.unanswered) == 1)

        broker.up()
        eventually(lambda: ends.get({0: 0, 1: 0}, paused=False, errors=2) and not ends.unanswered)
