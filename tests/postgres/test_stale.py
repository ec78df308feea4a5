"""Stale versions: duplicate before collision before stale, by offset, however the records are split into batches."""

import pytest
from sqlalchemy import text

from tests.postgres import batches
from tests.postgres.batches import connected, counts, execute, log, places, refused, trade, trades
from tests.postgres.test_batch import CHECKED, OTHER
from tradepipe.trade.record import Code

STALE = [Code.STALE_VERSION]


@pytest.fixture
def connection(migrated):
    with connected(migrated) as connection:
        yield connection


def store(connection, *entries, **options):
    return batches.store(connection, *entries, stale="refuse", **options)


def versions(*numbers, first=0):
    return log(*(trade(version=number) for number in numbers), first=first)


def test_a_version_older_than_a_stored_one_is_refused(connection):
    store(connection, *versions(3))

    stored = store(connection, *versions(2, first=1))

    assert ((0, 0, 1), {1: STALE}) == (counts(stored), refused(connection))
    assert [trade(version=3)] == trades(connection)


def test_a_stale_version_is_stored_by_default(connection):
    batches.store(connection, *versions(3))

    assert (1, 0, 0) == counts(batches.store(connection, *versions(2, first=1)))


def test_a_refusal_names_the_newest_version_before_it(connection):
    store(connection, *versions(3))

    found = store(connection, *versions(1, 7, 2, first=1)).refusals

    assert [
        "trade_id T1 version 1 came after version 3, which is already stored",
        "trade_id T1 version 2 came after version 7, which is already stored",
    ] == [each.details[0] for each in found]


@pytest.mark.parametrize(
    ("numbers", "stale"),
    [
        ((1, 2, 3), ()),
        ((3, 2, 1), (1, 2)),
        ((2, 1, 3), (1,)),
        ((1, 3, 2, 4, 3), (2,)),
        ((2, 1, 1), (1, 2)),
        ((1, 2, 1), ()),
        ((5, 4, 6, 4, 5), (1, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in pieces"])
def test_within_a_batch_the_order_of_the_log_decides(connection, numbers, stale, whole):
    """A version that comes again is a replay if it was stored, and stale again if it was not."""
    execute(connection, CHECKED)
    bad = () if whole else log(trade("X", book_id="BAD"), first=len(numbers))

    store(connection, *versions(*numbers), *bad)

    assert set(stale) == {offset for offset, codes in refused(connection).items() if codes == STALE}
    assert {number for at, number in enumerate(numbers) if at not in stale} == {
        each.version for each in trades(connection)
    }


def test_versions_of_other_trades_do_not_count(connection):
    stored = store(connection, *log(trade("T1", 9), trade("T2", 1), trade("T11", 1)))

    assert (3, 0, 0) == counts(stored)


def test_a_stored_version_stays_a_replay_or_a_collision_when_newer_ones_are_there(connection):
    store(connection, *versions(1, 2))

    stored = store(connection, *log(trade(), trade(**OTHER), first=2))

    assert ((0, 1, 1), {3: [Code.VERSION_COLLISION]}) == (counts(stored), refused(connection))


def test_other_content_under_a_stale_version_is_stale_too(connection):
    """There is nothing stored that it collides with."""
    store(connection, *log(trade(version=2), trade(), trade(**OTHER)))

    assert {1: STALE, 2: STALE} == refused(connection)


def test_a_newer_version_that_the_database_refused_makes_nothing_stale(connection):
    execute(connection, CHECKED)

    stored = store(connection, *log(trade(version=3, book_id="BAD"), trade(version=2), trade(version=1)))

    assert {0: [Code.DATABASE_REFUSED], 2: STALE} == refused(connection)
    assert [trade(version=2)] == list(stored.trades)


def test_what_the_database_refuses_is_refused_for_that_even_if_it_is_stale(connection):
    execute(connection, CHECKED)

    store(connection, *log(trade(version=3), trade(version=2, book_id="BAD"), trade(version=1)))

    assert {1: [Code.DATABASE_REFUSED], 2: STALE} == refused(connection)


def test_what_a_new_group_reads_again_has_the_same_result(connection):
    entries = versions(2, 1, 3, 2)
    store(connection, *entries)
    execute(connection, "UPDATE trade_refusals SET details = '{first}'")

    stored = store(connection, *entries, group="fresh")

    assert ((0, 3, 1), {1: STALE}) == (counts(stored), refused(connection))
    assert {("T1", 2): 0, ("T1", 3): 2} == places(connection)
    assert ["first"] == connection.scalar(text("SELECT details FROM trade_refusals"))


def test_what_was_stored_before_versions_were_refused_stays_a_replay(connection):
    batches.store(connection, *versions(3, 1))

    assert (0, 2, 0) == counts(store(connection, *versions(3, 1), group="fresh"))


def test_ten_thousand_versions_of_one_trade_are_stored_within_the_usual_time(connection):
    """Each looks for its newest one only, however many there are."""
    connection.execute(text("SET statement_timeout = '5s'"))
    connection.commit()

    stored = store(connection, *versions(*range(1, 5_001), *range(5_000, 0, -1)))

    assert (5_000, 5_000, 0) == counts(stored)
