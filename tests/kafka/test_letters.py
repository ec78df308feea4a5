"""Open and closed dead letters of a topic."""

import pytest

from tradepipe.kafka import dead_letters
from tradepipe.kafka.dead_letters import iter_dead_letters, read_markers
from tradepipe.kafka.messages import UNREADABLE
from tradepipe.trade.record import Record, Refusal, Violation

AT = 1_750_000_000_000


def letter(offset, *, of=7, partition=0, timestamp=AT, topic_id="id"):
    """Return the dead letter at an offset, of the record at another one."""
    refusal = Refusal(Record("trades", 3, of, b"T1", b"v"), (Violation("VERSION", "it is 0"),))
    written = dead_letters.build_headers(refusal, topic_id=topic_id, group="g")
    return Record("trades.dlq", partition, offset, b"T1", b"v", timestamp, written)


def marker(offset, *, of=7, partition=0, timestamp=AT + 1):
    """Return the marker at an offset, for the dead letters of a record."""
    headers = dead_letters.marker_headers(dead_letters.parse(letter(0, of=of)), 1)
    return Record("trades.dlq", partition, offset, b"T1", None, timestamp, headers)


def openness(*records):
    """Return whether each dead letter is open."""
    return {
        kept.topic_record.offset: kept.replayed_at is None
        for kept, _ in iter_dead_letters(records, read_markers(records))
    }


def test_a_marker_closes_all_dead_letters_of_its_record_before_it():
    assert {0: False, 1: False, 2: True} == openness(letter(0), letter(1), letter(2, of=8), marker(3))


def test_a_marker_for_other_content_closes_nothing():
    """Coordinates can be guessed, the content cannot."""
    seen = dead_letters.parse(letter(0))
    guess = seen._replace(refusal=seen.refusal._replace(record=seen.refusal.record._replace(value=b"guess")))
    forged = marker(2)._replace(headers=dead_letters.marker_headers(guess, 1))

    assert {0: True} == openness(letter(0), forged)
    assert {0: False} == openness(letter(0), marker(1), forged)


def test_the_keys_of_markers_are_not_kept():
    (kept,) = read_markers([marker(1)._replace(key=bytes(1_000_000))]).values()

    assert (1, None) == (kept.record.offset, kept.record.key)


def test_a_dead_letter_after_the_marker_is_open():
    """The record was read again, and refused again."""
    assert {0: False, 2: True} == openness(letter(0), marker(1), letter(2))


def test_a_marker_of_another_partition_closes_nothing():
    assert {0: True} == openness(letter(0), marker(1, partition=1))


def test_a_dead_letter_of_a_recreated_topic_is_another():
    assert {0: False, 1: True} == openness(letter(0), letter(1, topic_id="new"), marker(2))


def test_a_marker_without_a_time_closes_too():
    assert {0: False} == openness(letter(0), marker(1, timestamp=None))


@pytest.mark.parametrize("timestamp", [None, 10**18, -(10**18)], ids=str)
def test_a_dead_letter_with_an_invalid_time_is_parsed(timestamp):
    ((kept, _),) = iter_dead_letters([letter(0, timestamp=timestamp)], {})

    assert kept.refused_at is None


def test_a_record_that_is_no_dead_letter_has_its_own_coordinates():
    junk = Record("trades.dlq", 0, 5, b"k", b"v", AT)

    ((kept, read),) = iter_dead_letters([junk], {})

    assert (True, junk, None) == (kept.is_foreign, kept.record, read)


def test_a_record_with_unreadable_headers_has_its_own_coordinates_and_no_headers():
    ((kept, read),) = iter_dead_letters([Record("trades.dlq", 0, 5, b"k", b"v", AT, UNREADABLE)], {})

    assert (True, (), None) == (kept.is_foreign, kept.record.headers, read)
