"""Letters, markers, and what is open: of records as they lie in a dead-letter topic."""

import pytest

from tradepipe.kafka import dead_letters
from tradepipe.kafka.dead_letters import iter_dead_letters, read_markers
from tradepipe.kafka.librdkafka import UNREADABLE
from tradepipe.trade.record import Record, Refusal, Violation

AT = 1_750_000_000_000


def letter(offset, *, of=7, partition=0, timestamp=AT, topic_id="id"):
    """A letter at an offset, of the record at another one."""
    refusal = Refusal(Record("trades", 3, of, b"T1", b"v"), (Violation("VERSION", "it is 0"),))
    written = dead_letters.build_headers(refusal, topic_id=topic_id, group="g")
    return Record("trades.dlq", partition, offset, b"T1", b"v", timestamp, written)


def marker(offset, *, of=7, partition=0, timestamp=AT + 1):
    """A marker at an offset, for the letters of a record."""
    headers = dead_letters.marker_headers(dead_letters.parse(letter(0, of=of)), 1)
    return Record("trades.dlq", partition, offset, b"T1", None, timestamp, headers)


def openness(*records):
    """Which letters are open."""
    return {
        kept.topic_record.offset: kept.replayed_at is None
        for kept, _ in iter_dead_letters(records, read_markers(records))
    }


def test_a_marker_closes_all_letters_of_its_record_before_it():
    assert {0: False, 1: False, 2: True} == openness(letter(0), letter(1), letter(2, of=8), marker(3))


def test_a_marker_by_one_who_has_not_seen_the_record_closes_nothing():
    """Its origin can be guessed, the record cannot."""
    seen = dead_letters.parse(letter(0))
    guess = seen._replace(refusal=seen.refusal._replace(record=seen.refusal.record._replace(value=b"guess")))
    forged = marker(2)._replace(headers=dead_letters.marker_headers(guess, 1))

    assert {0: True} == openness(letter(0), forged)
    assert {0: False} == openness(letter(0), marker(1), forged)


def test_a_dead_letter_after_the_marker_is_open():
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
    ((kept, _),) = iter_dead_letters([letter(0, timestamp=timestamp)], {})

    assert kept.refused_at is None


def test_a_record_that_is_no_letter_stands_for_itself():
    junk = Record("trades.dlq", 0, 5, b"k", b"v", AT)

    ((kept, read),) = iter_dead_letters([junk], {})

    assert (True, junk, None) == (kept.is_foreign, kept.record, read)


def test_one_whose_headers_cannot_be_read_stands_for_itself_without_them():
    ((kept, read),) = iter_dead_letters([Record("trades.dlq", 0, 5, b"k", b"v", AT, UNREADABLE)], {})

    assert (True, (), None) == (kept.is_foreign, kept.record.headers, read)
