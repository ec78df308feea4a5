"""Transactional delivery whose requests are repeated, refused or lost."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.eventually import eventually
from tests.kafka.group_member import Member
from tests.pipeline.topic_contents import committed_records
from tests.proxy import Proxy
from tests.services.kafka import Kafka
from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.delivery import TransactionalDelivery
from tradepipe.kafka.send import Destination, Interrupted, do_nothing
from tradepipe.trade.record import Record

END_TXN = b"\x00\x1a\x00\x01"
"""How the request that ends a transaction begins: its number and version, as Kafka's protocol has them."""

pytestmark = pytest.mark.real


@pytest.fixture
def proxied() -> Iterator[Proxy]:
    """Run a Kafka that is reached through a proxy only."""
    with Proxy(0) as proxy, Kafka(advertised_port=proxy.port) as kafka:
        proxy.target = kafka.port
        for name in ("source", "target"):
            kafka.create_topic(name)
        yield proxy


@pytest.fixture
def target(services, topic) -> str:
    """Create the topic that the transactions write to."""
    name = f"{topic}-target"
    services.create_topic(name)
    return name


@pytest.fixture
def member(join) -> Member:
    """Join a group as its only member, with all partitions."""
    member = join()
    member.assigned(0, 1, 2, 3)
    return member


@pytest.fixture
def exactly_once(kafka, topic, member) -> Callable[..., TransactionalDelivery]:
    """Return a function that creates transactional deliveries of the member, with one id."""

    def exactly_once(**limits: int) -> TransactionalDelivery:
        made = TransactionalDelivery(kafka, member.consumer, topic=topic, transactional_id=topic, limits=limits)
        opened(made)
        return made

    return exactly_once


def opened(writing: TransactionalDelivery) -> None:
    """Open a delivery, retrying until the coordinator is available."""
    while not writing.is_open:
        with suppress(BrokerUnavailable):
            writing.open()


def records(*values: bytes) -> list[Record]:
    return [Record("", 0, 0, b"k", value, 1) for value in values]


def values(kafka, topic) -> list[bytes | None]:
    return [record.value for record in committed_records(kafka, topic)]


def test_records_and_offsets_are_committed_together(kafka, target, member, exactly_once):
    exactly_once().write({Destination(target): records(b"1", b"2")}, {0: 7, 3: 9}, do_nothing)

    assert [b"1", b"2"] == values(kafka, target)
    assert {0: 7, 3: 9} == member.consumer.committed(range(4))


def test_the_member_may_be_polled_only_when_the_group_has_its_offsets(kafka, target, topic, member, exactly_once):
    """From then on another owner of the partition waits for the transaction, and starts behind its records."""
    seen = []

    def look(is_over, may_poll):
        answers = [may_poll()]
        while not is_over():
            answers.append(may_poll())
        seen.append([*answers, may_poll()])

    # Several, since the group may have the offsets of one before the first look.
    delivery = exactly_once()
    for end in range(1, 6):
        delivery.write({Destination(target): records(b"1")}, {0: end}, look)

    assert False in [answers[0] for answers in seen]
    assert all(answers == sorted(answers) and answers[-1] for answers in seen)
    assert {0: 5} == member.consumer.committed(range(4))


def test_a_member_that_the_group_has_expelled_writes_nothing(kafka, target, topic, join):
    """It has not polled since; brokers accept offsets without a member id unchecked."""
    member = join(max_poll_interval_ms=6_000)
    member.assigned(0, 1, 2, 3)
    writing = TransactionalDelivery(kafka, member.consumer, topic=topic, transactional_id=topic, limits={})
    opened(writing)
    eventually(lambda: is_given_up(member))

    with pytest.raises(Interrupted, match="the session with group") as raised:
        writing.write({Destination(target): records(b"1")}, {0: 1}, do_nothing)

    assert raised.value.rolled_back
    assert [] == values(kafka, target)


def is_given_up(member: Member) -> bool:
    try:
        member.consumer.group_metadata()
    except BrokerUnavailable:
        return True
    return False


def test_a_record_the_topic_does_not_take_stops_with_what_to_change(services, topic, exactly_once):
    target = f"{topic}-small"
    services.kafka.create_topic(target, config={"max.message.bytes": "2000"})

    with pytest.raises(ConfigurationError, match="max.message.bytes"):
        exactly_once(**{"message.max.bytes": 1_000_000}).write(
            {Destination(target): records(os.urandom(16_000))}, {0: 1}, do_nothing
        )


def test_a_fenced_producer_takes_its_id_back_and_fails_in_the_end(target, topic, exactly_once):
    one, other = exactly_once(), exactly_once()

    def take_turns() -> None:
        for number in range(10):
            writing = (one, other)[number % 2]
            opened(writing)
            try:
                writing.write({Destination(target): records(b"%d" % number)}, {0: number}, do_nothing)
            except Interrupted:
                opened(writing)

    with pytest.raises(ConfigurationError, match=f"transactional.id {topic} was taken from this process 3 times"):
        take_turns()


def test_a_commit_without_an_answer_puts_the_producer_in_doubt(proxied):
    """
    librdkafka asks again over another connection, and calls no callback.

    The second time within half a minute it does not even log it, so a client
    that met trouble while it was idle is given up too.
    """
    address = {"bootstrap.servers": f"127.0.0.1:{proxied.port}"}
    member = Member(Consumer(address, topic="source", group="group"))
    member.consumer.open()
    member.assigned(0, 1, 2, 3)
    writing = TransactionalDelivery(address, member.consumer, topic="source", transactional_id="id", limits={})
    opened(writing)
    writing.write({Destination("target"): records(b"1")}, {0: 1}, do_nothing)

    for number in (2, 3):
        proxied.swallow_reply_after(END_TXN)
        with pytest.raises(Interrupted):
            writing.write({Destination("target"): records(b"%d" % number)}, {0: number}, do_nothing)
        assert not writing.is_open
        opened(writing)

    assert [b"1", b"2", b"3"] == values(address, "target")
    assert ({0: 3}, 3) == (member.consumer.committed([0]), writing.producers_created)
    member.consumer.close()
