"""Which refusals a selection means."""

from datetime import UTC, datetime, timedelta

import pytest

from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter
from tradepipe.trade.record import Record, Refusal, Violation

AT = datetime(2025, 6, 1, 8, tzinfo=UTC)
RECORD = Record("trades", 3, 42, b"T1", b"\x00\x00\x00\x00\x01\x04T2")
KEPT = DeadLetter(
    Refusal(RECORD, (Violation("VERSION", "it is 0"), Violation("BOOK_ID", "it is empty"))), "id", "g", AT
)


@pytest.mark.parametrize(
    "selection",
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
def test_it_means_a_refusal_for_which_all_holds(selection):
    assert selection.matches(KEPT)


@pytest.mark.parametrize(
    "selection",
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
def test_it_does_not_mean_one_for_which_anything_does_not_hold(selection):
    assert not selection.matches(KEPT)


def test_one_that_was_replayed_is_meant_only_when_asked_for():
    replayed = KEPT._replace(replayed_at=AT)

    assert (False, True) == (DeadLetterFilter().matches(replayed), DeadLetterFilter(replayed=True).matches(replayed))


def test_one_without_a_time_is_not_meant_by_a_time():
    timeless = KEPT._replace(refused_at=None)

    assert (True, False) == (DeadLetterFilter().matches(timeless), DeadLetterFilter(since=AT).matches(timeless))


def test_a_letter_is_meant_by_its_own_place_too():
    lying = KEPT._replace(topic_record=RECORD._replace(topic="trades.dlq", partition=0, offset=7))

    assert DeadLetterFilter(coordinates=("trades.dlq", 0, 7)).matches(lying)
    assert DeadLetterFilter(coordinates=("trades", 3, 42)).matches(lying)


def test_a_record_that_stands_for_itself_is_foreign():
    assert KEPT._replace(topic_record=RECORD).is_foreign
    assert not KEPT._replace(topic_record=RECORD._replace(offset=43)).is_foreign
    assert not KEPT.is_foreign


def test_a_refusal_of_a_topic_without_an_id_has_an_identity_too():
    assert (("trades", "id", 3, 42), ("trades", "", 3, 42)) == (KEPT.identity, KEPT._replace(topic_id=None).identity)
