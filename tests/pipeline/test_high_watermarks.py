"""High watermarks while fetching is paused or brokers do not answer."""

import itertools
import time

import pytest
from confluent_kafka import Producer

from tests.eventually import eventually
from tests.kafka.proxy import LIST_OFFSETS, KafkaProxy
from tests.proxy import port_of
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
    eventually(lambda: ends.get({0: 1}) == {0: 3})


def test_an_old_answer_does_not_make_the_log_shorter_than_a_newer_fetch_has_found_it(ends):
    eventually(lambda: ends.get({0: 1}) == {0: 3})

    assert {0: 5} == ends.get({0: 5})


def test_brokers_that_do_not_answer_are_reported_until_they_do(ends, broker):
    broker.down()
    eventually(lambda: ends.get({0: 1}) == {0: 1} and ends.unanswered)

    broker.up()

    eventually(lambda: ends.get({0: 1}) == {0: 3} and not ends.unanswered)


def test_a_query_without_an_answer_is_repeated_when_fetching_continues(ends, broker):
    broker.down()
    eventually(lambda: ends.get({0: 1}) and ends.unanswered)

    broker.up()

    eventually(lambda: ends.get({0: 1}) == {0: 3} and not ends.unanswered)


def test_without_partitions_a_client_with_errors_finds_out_whether_brokers_answer(ends, broker):
    broker.down()
    eventually(lambda: ends.get({}, errors=1) == {} and ends.unanswered)

    broker.up()

    eventually(lambda: ends.get({}, errors=1) == {} and not ends.unanswered)


def test_partitions_are_unanswered_while_their_broker_is(monkeypatch):
    monkeypatch.setattr(topic_watch, "WATERMARK_INTERVAL", 0.0)
    with Broker(brokers=2) as broker:
        broker.create_topic("trades", partitions=2)
        topics = TopicAdmin({"bootstrap.servers": broker.bootstrap_servers}, request_timeout=0.5)
        ends = HighWatermarks(topics, "trades")
        eventually(lambda: ends.get({0: 0, 1: 0}, errors=1) and not ends.unanswered)

        broker.down(1)
        eventually(lambda: ends.get({0: 0, 1: 0}, errors=2) and len(ends.unanswered) == 1)

        broker.up()
        eventually(lambda: ends.get({0: 0, 1: 0}, errors=2) and not ends.unanswered)


@pytest.fixture
def proxy(broker):
    """Run a proxy that delays the broker's answers."""
    with KafkaProxy(port_of(broker.bootstrap_servers)) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(broker, proxy, monkeypatch):
    """Return watches whose broker has a second to answer."""
    monkeypatch.setattr(topic_watch, "WATERMARK_INTERVAL", 0.0)
    monkeypatch.setattr(topic_watch, "SILENCE_SECONDS", 1.0)
    ends = HighWatermarks(TopicAdmin({"bootstrap.servers": proxy.instead_of(broker.bootstrap_servers)}), "trades")
    eventually(lambda: ends.get({0: 1}) == {0: 3})
    return ends


def test_a_broker_that_keeps_its_connections_and_answers_nothing_is_reported_until_it_does(through_proxy, proxy):
    """As when it is frozen: the client has no errors."""
    proxy.answers_after = 60.0
    eventually(lambda: through_proxy.get({0: 1}) and through_proxy.unanswered == (0,))

    proxy.answers_after = 0.0
    proxy.reset()

    eventually(lambda: through_proxy.get({0: 1}) and not through_proxy.unanswered)


def test_one_slow_answer_is_no_outage(through_proxy, proxy):
    late = proxy.hold_answer(LIST_OFFSETS, seconds=1.5)
    eventually(lambda: through_proxy.get({0: 1}) and late.over.is_set())
    answers = proxy.answers
    eventually(lambda: through_proxy.get({0: 1}) and proxy.answers > answers + 2)

    assert () == through_proxy.unanswered


def test_a_fetch_is_an_answer_too(through_proxy, proxy):
    """A broker under load may answer fetches, and nothing else in time."""
    proxy.answers_after = 60.0
    fetched = itertools.count(4)
    until = time.monotonic() + 4.0
    eventually(lambda: through_proxy.get({0: next(fetched)}) and time.monotonic() > until)

    assert () == through_proxy.unanswered


def test_a_refused_answer_is_no_outage(through_proxy, proxy):
    """A deleted topic and a right that was taken away have log lines of their own."""
    answers = proxy.answers
    eventually(lambda: through_proxy.get({0: 1, 7: 1}) and proxy.answers > answers + 4)

    assert () == through_proxy.unanswered
