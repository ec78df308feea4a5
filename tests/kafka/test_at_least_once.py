"""At-least-once delivery: offsets are committed after the records are acknowledged."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from tests.kafka.group_member import Member
from tests.kafka.proxy import INIT_PRODUCER_ID, PRODUCE, KafkaProxy
from tests.proxy import port_of
from tradepipe.errors import ConfigurationError
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.delivery import AtLeastOnceDelivery
from tradepipe.kafka.send import Destination, do_nothing
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.trade.record import Record


@pytest.fixture
def target(services, topic) -> str:
    """Create the topic that records are written to."""
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
def at_least_once(kafka, member) -> Callable[..., AtLeastOnceDelivery]:
    """Return a function that creates the delivery of the member, with further settings."""

    def at_least_once(**settings: Any) -> AtLeastOnceDelivery:
        given = {key.replace("_", "."): value for key, value in settings.items()}
        made = AtLeastOnceDelivery({**kafka, **given}, member.consumer, limits={})
        made.open()
        return made

    return at_least_once


@pytest.fixture
def proxy(kafka) -> Iterator[KafkaProxy]:
    """Run a proxy between a client and the broker."""
    with KafkaProxy(port_of(kafka["bootstrap.servers"])) as proxy:
        yield proxy


def records(*values: bytes, timestamp: int | None = 1) -> list[Record]:
    return [Record("", 0, 0, b"k", value, timestamp) for value in values]


def log(kafka, topic) -> list[Record]:
    """Return the records of a topic."""
    with TopicReader(kafka, topic=topic, timeout=120) as reader:
        return list(reader.read(TopicAdmin(kafka).watermarks(topic, range(4))))


def values(kafka, topic) -> list[bytes | None]:
    return [record.value for record in log(kafka, topic)]


def test_offsets_are_committed_after_their_records(kafka, target, member, at_least_once):
    """While the records are on their way, a crash would have them written again."""
    seen = []

    def look(is_over, may_poll):
        seen.append((may_poll(), member.consumer.committed(range(4))))

    at_least_once().write({Destination(target): records(b"1")}, {0: 7, 3: 9}, look)

    assert ([(False, {})], {0: 7, 3: 9}) == (seen, member.consumer.committed(range(4)))
    assert [b"1"] == values(kafka, target)


@pytest.mark.embedded
def test_offsets_stay_where_they_were_if_a_record_was_not_delivered(services, target, member, at_least_once):
    services.broker.fail_requests(PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED)

    with pytest.raises(ConfigurationError, match=f"cannot write records to {target}"):
        at_least_once().write({Destination(target): records(b"1")}, {0: 7}, do_nothing)

    assert {} == member.consumer.committed(range(4))


def test_offsets_stay_where_they_were_if_a_record_was_too_large(target, member, at_least_once):
    with pytest.raises(ConfigurationError, match=f"topic {target} rejected a record"):
        at_least_once(message_max_bytes=1_000).write({Destination(target): records(bytes(2_000))}, {0: 7}, do_nothing)

    assert {} == member.consumer.committed(range(4))


def test_a_discarded_client_sends_nothing_more(kafka, target, proxy, at_least_once):
    """Its records are written again by the next client; the raised exception may keep the first one alive."""
    late = proxy.hold_request(INIT_PRODUCER_ID)
    writing = at_least_once(message_max_bytes=1_000, bootstrap_servers=f"127.0.0.1:{proxy.port}")
    with pytest.raises(ConfigurationError) as raised:
        writing.write({Destination(target, 0): records(b"1", bytes(2_000))}, {0: 2}, do_nothing)
    late.release()

    writing.open()
    writing.write({Destination(target, 0): records(b"1")}, {0: 1}, do_nothing)

    assert [b"1"] == values(kafka, target), raised


def test_records_that_do_not_fit_into_the_queue_wait(kafka, target, at_least_once):
    sent = [b"%d" % number for number in range(20)]

    at_least_once(queue_buffering_max_messages=3).write({Destination(target, 0): records(*sent)}, {0: 20}, do_nothing)

    assert sent == values(kafka, target)


def test_a_record_without_a_timestamp_is_written_without_one(kafka, target, at_least_once):
    """librdkafka would give it the time of today."""
    sent = records(b"1", timestamp=None) + records(b"2", timestamp=1_234_567_890_123)

    at_least_once().write({Destination(target, 0): sent}, {0: 2}, do_nothing)

    assert [None, 1_234_567_890_123] == [record.timestamp for record in log(kafka, target)]
