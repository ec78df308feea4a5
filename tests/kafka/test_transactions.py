"""Transactions with slow or failed requests: the client is in doubt, and is replaced."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError, TopicPartition

from tests.eventually import eventually
from tests.kafka.proxy import (
    ADD_OFFSETS_TO_TXN,
    END_TXN,
    FIND_COORDINATOR,
    TXN_OFFSET_COMMIT,
    KafkaProxy,
)
from tests.proxy import port_of
from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka import transactions as transactions_module
from tradepipe.kafka.send import Destination
from tradepipe.kafka.transactions import GroupOffsets, Transactions
from tradepipe.trade.record import Record

PATIENCE = 1.0
"""Seconds that one request may take."""


@pytest.fixture
def proxy(kafka) -> Iterator[KafkaProxy]:
    """Run a proxy between the client and the broker."""
    with KafkaProxy(port_of(kafka["bootstrap.servers"])) as proxy:
        yield proxy


@pytest.fixture
def transactions(proxy, topic) -> Iterator[Callable[..., Transactions]]:
    """Open transactions through the proxy, with further settings."""
    made: list[Transactions] = []

    def transactions(**settings: int) -> Transactions:
        given = {key.replace("_", "."): value for key, value in settings.items()}
        address = {"bootstrap.servers": f"127.0.0.1:{proxy.port}"}
        made.append(Transactions({**address, **given}, transactional_id=topic))
        while not made[-1].is_open:
            with suppress(BrokerUnavailable):
                made[-1].open()
        return made[-1]

    yield transactions
    for each in made:
        each.close()


def record(value: bytes) -> list[Record]:
    return [Record("", 0, 0, b"k", value, 1)]


@pytest.mark.embedded
def test_a_slow_request_puts_the_client_in_doubt(proxy, transactions, topic, join):
    """Three requests, each of them in time: neither a callback nor librdkafka's log reports anything."""
    member = join()
    member.assigned(0, 1, 2, 3)
    writing = transactions(socket_timeout_ms=int(PATIENCE * 1000))
    for request in (ADD_OFFSETS_TO_TXN, FIND_COORDINATOR, TXN_OFFSET_COMMIT):
        proxy.hold_answer(request, seconds=0.4 * PATIENCE)
    offsets = GroupOffsets([TopicPartition(topic, 0, 1)], member.consumer.group_metadata())

    with pytest.raises(BrokerUnavailable, match="may or may not have been committed: a request took"):
        writing.write({Destination(topic): record(b"1")}, offsets)

    assert not writing.is_open


def test_a_client_with_an_error_while_idle_starts_no_transaction(proxy, transactions, topic):
    """librdkafka may not report the next error."""
    writing = transactions(topic_metadata_refresh_interval_ms=100)
    writing.write({Destination(topic): record(b"1")})
    made, before = writing.producers_created, proxy.greetings
    proxy.reset()
    eventually(lambda: proxy.greetings > before)

    writing.write({Destination(topic): record(b"2")})

    assert made + 1 == writing.producers_created


@pytest.fixture
def short_calls(monkeypatch) -> None:
    """Call librdkafka again after a third of a second."""
    monkeypatch.setattr(transactions_module, "REQUEST_TIMEOUT", 0.3)


@pytest.mark.embedded
@pytest.mark.usefixtures("short_calls")
def test_a_commit_that_had_to_be_called_again_puts_the_client_in_doubt(proxy, transactions, topic):
    """Its request may be sent again, and arrive during the next transaction."""
    writing = transactions()
    proxy.hold_answer(END_TXN, seconds=2.0)

    with pytest.raises(BrokerUnavailable, match="may or may not have been committed") as raised:
        writing.write({Destination(topic): record(b"1")})

    assert (BrokerUnavailable, False) == (type(raised.value), writing.is_open)


@pytest.mark.embedded
@pytest.mark.usefixtures("short_calls")
def test_an_abort_that_had_to_be_called_again_is_not_certain(proxy, transactions, topic, services, join):
    member = join()
    member.assigned(0, 1, 2, 3)
    writing = transactions()
    services.broker.fail_requests(TXN_OFFSET_COMMIT, KafkaError.ILLEGAL_GENERATION)
    proxy.hold_answer(END_TXN, seconds=2.0)
    offsets = GroupOffsets([TopicPartition(topic, 0, 1)], member.consumer.group_metadata())

    with pytest.raises(BrokerUnavailable) as raised:
        writing.write({Destination(topic): record(b"1")}, offsets)

    assert (BrokerUnavailable, False) == (type(raised.value), writing.is_open)
