"""What a message of librdkafka is as a record."""

from itertools import groupby

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from tests.kafka.group_member import Member
from tests.kafka.raw_headers import send_with_header
from tests.properties import examples
from tradepipe.kafka import consumer
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.messages import UNREADABLE, read


@pytest.fixture
def member_with_headers(kafka, topic):
    """Join as a member that receives timestamps and headers, and reads partition 0."""
    member = Member(Consumer(kafka, topic=topic, group=f"{topic}-group", with_headers=True))
    member.consumer.open()
    member.assigned(0, 1, 2, 3)
    member.start(0, 0)
    yield member
    member.consumer.close()


def test_a_record_has_its_timestamp_where_it_is_asked_for(member_with_headers, produce):
    produce(b"1", timestamp=1_234_567_890_123)
    produce(b"2", timestamp=-1)

    member_with_headers.until(lambda: len(member_with_headers.records) == 2)

    assert [1_234_567_890_123, None] == [record.timestamp for record in member_with_headers.records]


def test_header_names_that_are_not_utf8_do_not_stop_the_consumer(
    kafka, topic, member_with_headers, produce, monkeypatch
):
    """Anybody may write them. A hundred: what is called often, Python calls in another way."""
    # How large they are is not known, and the member would join again to fetch less.
    monkeypatch.setattr(consumer, "UNCOUNTED_BYTES", 1 << 30)
    send_with_header(kafka["bootstrap.servers"], topic, b"bad\xff\xfe", count=100)
    produce(b"after them")

    member_with_headers.until(lambda: len(member_with_headers.records) == 101)

    assert [b"value"] * 100 + [b"after them"] == member_with_headers.values
    assert all(record.headers is UNREADABLE for record in member_with_headers.records[:100])
    assert () == member_with_headers.records[100].headers


@examples(100)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_messages_of_several_partitions_are_records_in_their_order(partitions):
    messages = [
        Message(topic="trades", partition=partition, offset=offset, key=None if offset % 2 else b"key", value=b"value")
        for offset, partition in enumerate(partitions)
    ]

    records = read(messages, "trades", None)

    assert [(each.partition(), each.offset(), each.key()) for each in messages] == [each[1:4] for each in records]
    assert [partition for partition, _ in groupby(partitions)] == [run.partition for run in records.runs]
    assert sum(each.payload_bytes for each in records) == records.payload_bytes
