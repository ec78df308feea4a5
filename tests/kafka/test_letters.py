"""Letters, markers, and what is open: of records as they lie in a dead-letter topic."""

import pytest
from confluent_kafka import Producer

from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Refusal, Violation
from tradepipe.errors import BrokerAway
from tradepipe.kafka import dead_letters
from tradepipe.kafka.letters import Letters, letters, markers
from tradepipe.kafka.topics import Extent, Topics

AT = 1_750_000_000_000


def letter(offset, *, of=7, partition=0, timestamp=AT, topic_id="id"):
    """A letter at an offset, of the record at another one."""
    refusal = Refusal(Record("trades", 3, of, b"T1", b"v"), (Violation("VERSION", "it is 0"),))
    written = dead_letters.headers(refusal, topic_id=topic_id, group="g")
    return Record("trades.dlq", partition, offset, b"T1", b"v", timestamp, written)


def marker(offset, *, of=7, partition=0, timestamp=AT + 1):
    """A marker at an offset, for the letters of a record."""
    headers = dead_letters.marker(dead_letters.read(letter(0, of=of)), 1)
    return Record("trades.dlq", partition, offset, b"T1", None, timestamp, headers)


def openness(*records):
    """Which letters are open."""
    return {kept.letter.offset: kept.replayed_at is None for kept, _ in letters(records, markers(records))}


def test_a_marker_closes_all_letters_of_its_record_before_it():
    assert {0: False, 1: False, 2: True} == openness(letter(0), letter(1), letter(2, of=8), marker(3))


def test_a_letter_behind_the_marker_is_open():
    """The record was read again, and refused again."""
    assert {0: False, 2: True} == openness(letter(0), marker(1), letter(2))


def test_a_marker_of_another_partition_closes_nothing():
    assert {0: True} == openness(letter(0), marker(1, partition=1))


def test_a_letter_of_a_topic_that_was_created_anew_is_another():
    assert {0: False, 1: True} == openness(letter(0), letter(1, topic_id="new"), marker(2))


def test_a_marker_without_a_time_closes_too():
    assert {0: False} == openness(letter(0), marker(1, timestamp=None))


@pytest.mark.parametrize("timestamp", [None, 10**18, -(10**18)], ids=str)
def test_a_letter_whose_time_is_none_is_read(timestamp):
    ((kept, _),) = letters([letter(0, timestamp=timestamp)], {})

    assert kept.refused_at is None


def test_a_record_that_is_no_letter_stands_for_itself():
    junk = Record("trades.dlq", 0, 5, b"k", b"v", AT)

    ((kept, read),) = letters([junk], {})

    assert (True, junk, None) == (kept.is_foreign, kept.record, read)


def test_a_topic_is_read_to_where_it_ended(kafka, topic, produce):
    produce(b"1", b"2")
    extents = Topics(kafka).extents(topic, range(4))
    produce(b"3")

    with Letters(kafka, topic=topic, wait=20) as reader:
        first = [record.value for record in reader.read(extents)]
        again = [record.value for record in reader.read(extents)]

    assert ([b"1", b"2"], [b"1", b"2"], {}) == (first, again, reader.hidden)


def test_headers_and_time_come_too(kafka, topic):
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"]})
    client.produce(topic, b"v", b"k", partition=1, timestamp=AT, headers=[("a", b"1"), ("a", None)])
    assert 0 == client.flush(20)

    with Letters(kafka, topic=topic, wait=20) as reader:
        (record,) = reader.read(Topics(kafka).extents(topic, range(4)))

    assert Record(topic, 1, 0, b"k", b"v", AT, (("a", b"1"), ("a", None))) == record


def test_an_empty_topic_holds_nothing(kafka, topic):
    with Letters(kafka, topic=topic, wait=20) as reader:
        assert [] == list(reader.read(Topics(kafka).extents(topic, range(4))))


def test_brokers_that_do_not_answer_are_away(topic):
    with (
        Letters({"bootstrap.servers": "127.0.0.1:1"}, topic=topic, wait=0.5) as reader,
        pytest.raises(BrokerAway, match=r"\[0\] could not be read within 0.5 s"),
    ):
        list(reader.read({0: Extent(0, 1)}))


@pytest.mark.real
def test_an_open_transaction_hides_what_follows_it(kafka, topic, produce):
    produce(b"1")
    client = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "transactional.id": topic})
    client.init_transactions(30)
    client.begin_transaction()
    client.produce(topic, b"2", partition=0)
    client.flush(20)
    produce(b"3")
    extents = Topics(kafka).extents(topic, range(4))
    with Letters(kafka, topic=topic, wait=2) as reader:
        before = [record.value for record in reader.read(extents)]
        hidden = dict(reader.hidden)
        client.commit_transaction(30)
        after = [record.value for record in reader.read(extents)]

    assert ([b"1"], {0: 1}, [b"1", b"2", b"3"], {}) == (before, hidden, after, reader.hidden)
