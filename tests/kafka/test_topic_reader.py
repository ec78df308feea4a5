"""Topics read by themselves, to where they ended."""

import tracemalloc

import pytest
from confluent_kafka import Producer

from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka import malformed
from tradepipe.kafka.admin import TopicAdmin, Watermarks
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.trade.record import Record

AT = 1_750_000_000_000


def test_a_topic_is_read_up_to_the_end_that_it_had(kafka, topic, produce):
    produce(b"1", b"2")
    extents = TopicAdmin(kafka).watermarks(topic, range(4))
    produce(b"3")

    with TopicReader(kafka, topic=topic, timeout=120) as reader:
        first = [record.value for record in reader.read(extents)]
        again = [record.value for record in reader.read(extents)]

    assert ([b"1", b"2"], [b"1", b"2"], {}) == (first, again, reader.blocked_offsets)


def test_the_last_offsets_alone_are_read(kafka, topic, produce):
    produce(b"1", b"2", b"3")
    produce(b"4", partition=2)

    with TopicReader(kafka, topic=topic, timeout=120) as reader:
        values = {record.value for record in reader.read(TopicAdmin(kafka).watermarks(topic, range(4)), last=2)}

    assert {b"2", b"3", b"4"} == values


def test_headers_and_time_come_too(kafka, topic):
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"]})
    client.produce(topic, b"v", b"k", partition=1, timestamp=AT, headers=[("a", b"1"), ("a", None)])
    assert 0 == client.flush(120)

    with TopicReader(kafka, topic=topic, timeout=120) as reader:
        (record,) = reader.read(TopicAdmin(kafka).watermarks(topic, range(4)))

    assert Record(topic, 1, 0, b"k", b"v", AT, (("a", b"1"), ("a", None))) == record


def test_the_headers_of_one_record_at_a_time_are_in_memory(kafka, topic):
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "linger.ms": 100})
    for _ in range(40):
        client.produce(topic, b"v", partition=0, headers=[("name", b"value")] * 5_000)
    assert 0 == client.flush(120)

    tracemalloc.start()
    try:
        with TopicReader(kafka, topic=topic, timeout=120) as reader:
            sizes = [len(record.headers) for record in reader.read({0: Watermarks(0, 40)})]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [5_000] * 40 == sizes
    assert peak < 8_000_000


def test_an_empty_topic_holds_nothing(kafka, topic):
    with TopicReader(kafka, topic=topic, timeout=120) as reader:
        assert [] == list(reader.read(TopicAdmin(kafka).watermarks(topic, range(4))))


def test_brokers_that_do_not_respond_are_unavailable(topic, monkeypatch):
    monkeypatch.setattr(malformed, "SEARCH_SECONDS", 1.0)
    with (
        TopicReader({"bootstrap.servers": "127.0.0.1:1"}, topic=topic, timeout=0.5) as reader,
        pytest.raises(BrokerUnavailable, match=r"\[0\] could not be read within 0.5 s"),
    ):
        list(reader.read({0: Watermarks(0, 1)}))


@pytest.mark.real
def test_an_open_transaction_hides_what_follows_it(kafka, topic, produce):
    produce(b"1")
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "transactional.id": topic})
    client.init_transactions(120)
    client.begin_transaction()
    client.produce(topic, b"2", partition=0)
    client.flush(120)
    produce(b"3")
    extents = TopicAdmin(kafka).watermarks(topic, range(4))
    with TopicReader(kafka, topic=topic, timeout=2) as reader:
        before = [record.value for record in reader.read(extents)]
        hidden = dict(reader.blocked_offsets)
        client.commit_transaction(30)
        after = [record.value for record in reader.read(extents)]

    assert ([b"1"], {0: 1}, [b"1", b"2", b"3"], {}) == (before, hidden, after, reader.blocked_offsets)


@pytest.mark.real
def test_an_open_transaction_need_not_be_waited_for(kafka, topic, produce):
    produce(b"1")
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "transactional.id": topic})
    client.init_transactions(120)
    client.begin_transaction()
    client.produce(topic, b"2", partition=0)
    client.flush(120)

    with TopicReader(kafka, topic=topic, timeout=600, open_transaction_timeout=0) as reader:
        values = [record.value for record in reader.read(TopicAdmin(kafka).watermarks(topic, range(4)), last=10)]

    client.abort_transaction(30)
    assert ([b"1"], {0: 1}) == (values, reader.blocked_offsets)
