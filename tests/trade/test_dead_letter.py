"""Filters of dead letters."""

from datetime import UTC, datetime, timedelta

import pytest

from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter
from tradepipe.trade.record import Record, Refusal, Violation

AT = datetime(2025, 6, 1, 8, tzinfo=UTC)
RECORD = Record("trades", 3, 42, b"T1", b"\x00\x00\x00\x00\x01\x04T2")
DEAD_LETTER = DeadLetter(
    Refusal(RECORD, (Violation("VERSION", "it is 0"), Violation("BOOK_ID", "it is empty"))), "id", "g", AT
)


@pytest.mark.parametrize(
    "dead_letter_filter",
    [
        DeadLetterFilter(),
        DeadLetterFilter(codes=("BOOK_ID", "OTHER")),
        DeadLetterFilter(since=AT, until=AT + timedelta(seconds=1)),
        DeadLetterFilter(topics=("trades",), partitions=(1, 3), first=42, last=42),
        DeadLetterFilter(coordinates=("trades", 3, 42)),
        DeadLetterFilter(trade_id="T1"),
        DeadLetterFilter(trade_id="T2"),
    ],
    ids=str,
)
def test_a_filter_matches_a_refusal_that_satisfies_every_condition(dead_letter_filter):
    assert dead_letter_filter.matches(DEAD_LETTER)


@pytest.mark.parametrize(
    "dead_letter_filter",
    [
        DeadLetterFilter(codes=("OTHER",)),
        DeadLetterFilter(since=AT + timedelta(seconds=1)),
        DeadLetterFilter(until=AT),
        DeadLetterFilter(topics=("trades.clean",)),
        DeadLetterFilter(partitions=(1,)),
        DeadLetterFilter(first=43),
        DeadLetterFilter(last=41),
        DeadLetterFilter(coordinates=("trades", 3, 41)),
        DeadLetterFilter(trade_id="T3"),
        DeadLetterFilter(codes=("VERSION",), partitions=(1,)),
    ],
    ids=str,
)
def test_a_filter_does_not_match_a_refusal_that_violates_a_condition(dead_letter_filter):
    assert not dead_letter_filter.matches(DEAD_LETTER)


def test_a_replayed_dead_letter_matches_only_on_request():
    replayed = DEAD_LETTER._replace(replayed_at=AT)

    assert (False, True) == (DeadLetterFilter().matches(replayed), DeadLetterFilter(replayed=True).matches(replayed))


def test_a_dead_letter_without_a_time_matches_no_time_filter():
    timeless = DEAD_LETTER._replace(refused_at=None)

    assert (True, False) == (DeadLetterFilter().matches(timeless), DeadLetterFilter(since=AT).matches(timeless))


def test_a_dead_letter_matches_by_its_own_coordinates_too():
    in_topic = DEAD_LETTER._replace(topic_record=RECORD._replace(topic="trades.dlq", partition=0, offset=7))

    assert DeadLetterFilter(coordinates=("trades.dlq", 0, 7)).matches(in_topic)
    assert DeadLetterFilter(coordinates=("trades", 3, 42)).matches(in_topic)


def test_a_topic_record_that_is_its_own_refused_record_is_foreign():
    assert DEAD_LETTER._replace(topic_record=RECORD).is_foreign
    assert not DEAD_LETTER._replace(topic_record=RECORD._replace(offset=43)).is_foreign
    assert not DEAD_LETTER.is_foreign


def test_a_refusal_without_a_topic_id_has_an_identity():
    assert (("trades", "id", 3, 42), ("trades", "", 3, 42)) == (
        DEAD_LETTER.identity,
        DEAD_LETTER._replace(topic_id=None).identity,
    )
