"""Which refusals a selection means."""

from datetime import UTC, datetime, timedelta

import pytest

from tradepipe.contract.kept import Kept, Selection
from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Refusal, Violation

AT = datetime(2025, 6, 1, 8, tzinfo=UTC)
RECORD = Record("trades", 3, 42, b"T1", b"\x00\x00\x00\x00\x01\x04T2")
KEPT = Kept(Refusal(RECORD, (Violation("VERSION", "it is 0"), Violation("BOOK_ID", "it is empty"))), "id", "g", AT)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(codes=("BOOK_ID", "OTHER")),
        Selection(since=AT, until=AT + timedelta(seconds=1)),
        Selection(topics=("trades",), partitions=(1, 3), first=42, last=42),
        Selection(place=("trades", 3, 42)),
        Selection(trade_id="T1"),
        Selection(trade_id="T2"),
    ],
    ids=str,
)
def test_it_means_a_refusal_for_which_all_holds(selection):
    assert selection.takes(KEPT)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(codes=("OTHER",)),
        Selection(since=AT + timedelta(seconds=1)),
        Selection(until=AT),
        Selection(topics=("trades.clean",)),
        Selection(partitions=(1,)),
        Selection(first=43),
        Selection(last=41),
        Selection(place=("trades", 3, 41)),
        Selection(trade_id="T3"),
        Selection(codes=("VERSION",), partitions=(1,)),
    ],
    ids=str,
)
def test_it_does_not_mean_one_for_which_anything_does_not_hold(selection):
    assert not selection.takes(KEPT)


def test_one_that_was_replayed_is_meant_only_when_asked_for():
    replayed = KEPT._replace(replayed_at=AT)

    assert (False, True) == (Selection().takes(replayed), Selection(replayed=True).takes(replayed))


def test_one_without_a_time_is_not_meant_by_a_time():
    timeless = KEPT._replace(refused_at=None)

    assert (True, False) == (Selection().takes(timeless), Selection(since=AT).takes(timeless))


def test_a_letter_is_meant_by_its_own_place_too():
    lying = KEPT._replace(letter=RECORD._replace(topic="trades.dlq", partition=0, offset=7))

    assert Selection(place=("trades.dlq", 0, 7)).takes(lying)
    assert Selection(place=("trades", 3, 42)).takes(lying)


def test_a_record_that_stands_for_itself_is_foreign():
    assert KEPT._replace(letter=RECORD).is_foreign
    assert not KEPT._replace(letter=RECORD._replace(offset=43)).is_foreign
    assert not KEPT.is_foreign


def test_a_refusal_of_a_topic_without_an_id_has_an_identity_too():
    assert (("trades", "id", 3, 42), ("trades", "", 3, 42)) == (KEPT.identity, KEPT._replace(topic_id=None).identity)
