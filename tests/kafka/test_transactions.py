"""Transactions whose requests took long or met trouble: the client is in doubt, and another one takes its place."""

from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition

from tests.eventually import eventually
from tests.kafka.proxy import ADD_OFFSETS_TO_TXN, FIND_COORDINATOR, TXN_OFFSET_COMMIT, KafkaProxy
from tests.proxy import port_of
from tradepipe.contract.record import Record
from tradepipe.errors import BrokerAway
from tradepipe.kafka.transactions import Offsets, Transactions
from tradepipe.kafka.writing import Place

PATIENCE = 1.0
"""Seconds that one request may take."""


@pytest.fixture
def proxy(kafka) -> Iterator[KafkaProxy]:
    """Stands between the client and the broker."""
    with KafkaProxy(port_of(kafka["bootstrap.servers"])) as proxy:
        yield proxy


@pytest.fixture
def transactions(proxy, topic) -> Iterator[Transactions]:
    """Transactions behind the proxy, ready to write."""
    settings = {"socket.timeout.ms": int(PATIENCE * 1000), "topic.metadata.refresh.interval.ms": 100}
    transactions = Transactions({"bootstrap.servers": f"127.0.0.1:{proxy.port}", **settings}, transactional_id=topic)
    transactions.open()
    yield transactions
    transactions.close()


def record(value: bytes) -> list[Record]:
    return [Record("", 0, 0, b"k", value, 1)]


def test_a_request_that_took_long_puts_the_client_in_doubt(proxy, transactions, topic, join):
    """It is three, each of them in time, so that neither a callback nor librdkafka's log tells of anything."""
    member = join()
    member.assigned(0, 1, 2, 3)
    for request in (ADD_OFFSETS_TO_TXN, FIND_COORDINATOR, TXN_OFFSET_COMMIT):
        proxy.hold_answer(request, seconds=0.4 * PATIENCE)
    offsets = Offsets([TopicPartition(topic, 0, 1)], member.consumer.membership())

    with pytest.raises(BrokerAway, match="may have been committed, or not: a request took"):
        transactions.write({Place(topic): record(b"1")}, offsets)

    assert not transactions.is_open


def test_a_client_that_met_trouble_while_it_was_idle_begins_nothing(proxy, transactions, topic):
    """librdkafka may not tell of the next trouble."""
    transactions.write({Place(topic): record(b"1")})
    proxy.reset()
    before = proxy.greetings
    eventually(lambda: proxy.greetings > before)

    transactions.write({Place(topic): record(b"2")})

    assert 2 == transactions.made
