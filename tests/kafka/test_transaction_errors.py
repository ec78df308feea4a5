"""Transactions: what each error of a broker means for the caller and for the client."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.eventually import eventually
from tradepipe.embedded.broker import QUICK_CONSUMER, Broker
from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka.send import Destination
from tradepipe.kafka.transactions import (
    Fenced,
    GroupOffsets,
    RecordRejected,
    TransactionAborted,
    Transactions,
)
from tradepipe.trade.record import Record

pytestmark = pytest.mark.embedded

PRODUCE, FIND_COORDINATOR, INIT_PRODUCER_ID, ADD_PARTITIONS, END_TXN, TXN_OFFSET_COMMIT = 0, 10, 22, 24, 26, 28
"""Requests, as Kafka's protocol numbers them."""


class Writing(NamedTuple):
    """A broker, and transactions that write to its topic `clean` and commit offsets of its topic `trades`."""

    broker: Broker
    transactions: Transactions
    offsets: GroupOffsets

    def write_records(self, offsets: GroupOffsets | None = None) -> None:
        """Write one record."""
        record = Record("trades", 0, 0, b"k", b"v", 1)
        self.transactions.write({Destination("clean"): [record]}, offsets)

    def write(self) -> None:
        """Write one record with the offsets."""
        self.write_records(self.offsets)

    def write_again(self) -> int | None:
        """Write one record, and return how many clients were created; None if librdkafka is not ready yet."""
        try:
            if not self.transactions.is_open:
                self.transactions.open()
            self.write()
        except (BrokerUnavailable, ConfigurationError):
            return None
        return self.transactions.producers_created


@pytest.fixture
def writing(topic: str) -> Iterator[Writing]:
    with Broker() as broker:
        broker.create_topic("trades", partitions=1)
        broker.create_topic("clean", partitions=1)
        address = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}
        member = Consumer({**address, **QUICK_CONSUMER, "group.id": "g"})
        member.subscribe(["trades"])
        eventually(lambda: (member.poll(0.05), member.assignment())[1])
        offsets = GroupOffsets([TopicPartition("trades", 0, 1)], member.consumer_group_metadata())
        transactions = Transactions({**address}, transactional_id="validator")
        yield Writing(broker, transactions, offsets)
        transactions.close()
        member.close()


def test_an_error_that_comes_before_all_records_are_enqueued_is_the_reason(writing):
    """librdkafka refuses the records after it, and names only the state of the transaction."""
    writing.transactions.open()
    writing.broker.fail_requests(TXN_OFFSET_COMMIT, KafkaError.GROUP_AUTHORIZATION_FAILED)
    record = Record("trades", 0, 0, b"k", b"v", timestamp=1)

    with pytest.raises(ConfigurationError, match="Group authorization failed"):
        writing.transactions.write({Destination("clean"): [record] * 50_000}, writing.offsets)


@pytest.mark.parametrize(
    ("request_key", "error", "raised", "stays_open"),
    [
        (TXN_OFFSET_COMMIT, KafkaError.GROUP_AUTHORIZATION_FAILED, ConfigurationError, True),
        (TXN_OFFSET_COMMIT, KafkaError.ILLEGAL_GENERATION, TransactionAborted, True),
        (TXN_OFFSET_COMMIT, KafkaError.UNKNOWN_MEMBER_ID, TransactionAborted, True),
        (END_TXN, KafkaError.INVALID_PRODUCER_EPOCH, Fenced, False),
        (END_TXN, KafkaError.PRODUCER_FENCED, Fenced, False),
        (END_TXN, KafkaError.INVALID_TXN_STATE, BrokerUnavailable, False),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_an_error_ends_the_transaction_and_the_next_one_succeeds(writing, request_key, error, raised, stays_open):
    """After a clean abort the client is used again; in every other case it is replaced."""
    writing.transactions.open()
    writing.broker.fail_requests(request_key, error)

    with pytest.raises(raised) as caught:
        writing.write()
    is_open = writing.transactions.is_open
    created = eventually(writing.write_again)

    assert (raised, stays_open) == (type(caught.value), is_open)
    assert (1 if stays_open else 2) == created


def test_a_rejected_record_names_its_topic(writing):
    writing.transactions.open()
    writing.broker.fail_requests(PRODUCE, KafkaError.MSG_SIZE_TOO_LARGE)

    with pytest.raises(RecordRejected, match="Message size too large") as rejected:
        writing.write_records()

    assert ("clean", True) == (rejected.value.topic, writing.transactions.is_open)


def test_a_denied_partition_ends_the_transaction(writing):
    """Without offsets, which may be the first to fail, with an error that names no reason."""
    writing.transactions.open()
    writing.broker.fail_requests(ADD_PARTITIONS, KafkaError.TOPIC_AUTHORIZATION_FAILED)

    with pytest.raises(ConfigurationError, match="Topic authorization failed"):
        writing.write_records()

    assert writing.transactions.is_open


def test_a_denied_partition_is_the_reason_whatever_fails_first(writing):
    """The offsets meet a transaction that has failed meanwhile, with an error that names no reason."""
    writing.transactions.open()
    writing.broker.fail_requests(ADD_PARTITIONS, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    writing.broker.fail_requests(FIND_COORDINATOR, *[KafkaError.COORDINATOR_NOT_AVAILABLE] * 2)

    with pytest.raises(ConfigurationError, match="Topic authorization failed"):
        writing.write()


def test_a_failure_names_the_topic_that_it_concerns(writing):
    writing.transactions.open()
    writing.broker.fail_requests(PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED)

    with pytest.raises(ConfigurationError, match="a transaction that writes to clean failed: .*authorization failed"):
        writing.write_records()

    assert writing.transactions.is_open


def test_a_taken_over_id_is_fenced_at_the_start_too(writing):
    writing.broker.fail_requests(INIT_PRODUCER_ID, KafkaError.INVALID_PRODUCER_EPOCH)

    with pytest.raises(Fenced, match=r"cannot start transactions with transactional\.id validator: "):
        writing.transactions.open()

    assert not writing.transactions.is_open


def test_a_coordinator_that_loads_is_waited_for_by_the_same_client(writing):
    """Its state is not in doubt: nothing was sent that a later request could end."""
    writing.broker.fail_requests(INIT_PRODUCER_ID, *[KafkaError.COORDINATOR_LOAD_IN_PROGRESS] * 12)

    assert 1 == eventually(writing.write_again)


def test_other_work_is_done_until_the_transaction_is_committed(writing):
    calls = []
    writing.transactions.open()

    def work(is_over, may_poll):
        eventually(is_over)
        calls.append(may_poll())

    writing.transactions.write({Destination("clean"): []}, None, work)

    assert [True] == calls
