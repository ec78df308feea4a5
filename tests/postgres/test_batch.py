"""A batch in one transaction: inserted, duplicate and refused records, and a count that includes every record."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from tests.eventually import eventually
from tests.postgres import batches
from tests.postgres.batches import (
    TOPIC,
    accepted,
    batch,
    claim,
    connected,
    count,
    counts,
    execute,
    is_waiting,
    log,
    next_offset,
    places,
    record,
    refusal,
    refused,
    trade,
    trades,
    validated,
)
from tests.properties import examples
from tradepipe.postgres.batch import Batch, store
from tradepipe.postgres.copy import STAGING
from tradepipe.postgres.failures import RowsVanished
from tradepipe.postgres.offsets import Fenced, OffsetRange, Ownership
from tradepipe.postgres.tables import TRADE_REFUSALS, TRADES
from tradepipe.trade.record import Code, Refusal, UnreadableBatch

OTHER = {"book_id": "B2"}
"""Changes of a trade that make it collide with another of its key."""

CHECKED = "ALTER TABLE trades ADD CONSTRAINT their_check CHECK (book_id <> 'BAD')"
RAISING = """
    CREATE FUNCTION no_bad() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.book_id = 'BAD' THEN RAISE EXCEPTION 'book BAD is closed'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER no_bad BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION no_bad()
"""
LATE = """
    CREATE FUNCTION no_bad() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.book_id = 'BAD' THEN RAISE EXCEPTION 'book BAD is closed'; END IF; RETURN NULL; END $$;
    CREATE TRIGGER no_bad AFTER INSERT ON trades FOR EACH ROW EXECUTE FUNCTION no_bad()
"""
DEFERRED = LATE.replace("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER").replace(
    "FOR EACH ROW", "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
)
SWALLOWING = """
    CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.book_id = 'GONE' THEN RETURN NULL; END IF; RETURN NEW; END $$;
    CREATE TRIGGER swallow BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION swallow()
"""


@pytest.fixture
def connection(migrated):
    with connected(migrated) as connection:
        yield connection


def test_new_trades_are_inserted(connection):
    stored = batches.store(connection, *log(trade("T1"), trade("T2"), trade("T1", 2)))

    assert (3, 0, 0) == counts(stored)
    assert [trade("T1"), trade("T1", 2), trade("T2")] == trades(connection)


def test_a_row_has_the_coordinates_of_its_record(connection):
    batches.store(connection, accepted(7, trade(), partition=3))

    row = connection.execute(TRADES.select()).one()

    assert (TOPIC, 3, 7, 1) == (row.source_topic, row.source_partition, row.source_offset, row.schema_id)


def test_the_same_trade_again_is_a_replay_and_changes_nothing(connection):
    batches.store(connection, *log(trade()))

    stored = batches.store(connection, *log(trade(), first=1))

    assert (0, 1, 0) == counts(stored)
    assert {("T1", 1): 0} == places(connection)


def test_the_same_trade_twice_in_one_batch_is_stored_once(connection):
    stored = batches.store(connection, *log(trade(), trade()))

    assert (1, 1, 0) == counts(stored)
    assert {("T1", 1): 0} == places(connection)


def test_another_trade_of_the_same_key_is_refused_and_the_stored_one_stays(connection):
    batches.store(connection, *log(trade()))

    stored = batches.store(connection, *log(trade(**OTHER), first=1))

    assert (0, 0, 1) == counts(stored)
    assert [trade()] == trades(connection)
    assert {1: [Code.VERSION_COLLISION]} == refused(connection)


def test_of_two_that_collide_in_one_batch_the_earlier_stays(connection):
    stored = batches.store(connection, *log(trade(**OTHER), trade()))

    assert (1, 0, 1) == counts(stored)
    assert [trade(**OTHER)] == trades(connection)
    assert {1: [Code.VERSION_COLLISION]} == refused(connection)


def test_the_earlier_is_the_one_read_earlier_whatever_its_offset(connection):
    """Two partitions hold the key; the batch's own order decides."""
    first, second = accepted(9, trade(), partition=1), accepted(3, trade(**OTHER), partition=0)

    stored = batches.store(connection, first, second)

    assert {("T1", 1): 9} == places(connection)
    assert [second.record] == [each.record for each in stored.refusals]


def test_three_of_one_key_are_an_insert_a_replay_and_a_collision(connection):
    stored = batches.store(connection, *log(trade(), trade(**OTHER), trade()))

    assert (1, 1, 1) == counts(stored)
    assert {1: [Code.VERSION_COLLISION]} == refused(connection)


def test_a_key_in_the_table_wins_over_all_of_the_batch(connection):
    batches.store(connection, *log(trade(**OTHER)))

    stored = batches.store(connection, *log(trade(), trade(**OTHER), trade(), first=1))

    assert (0, 1, 2) == counts(stored)
    assert {("T1", 1): 0} == places(connection)


def test_a_group_that_reads_the_log_again_counts_replays_alone(connection):
    """The coordinates are the same too, which must not make them count as inserted here."""
    entries = log(*(trade(f"T{number}") for number in range(20)))
    batches.store(connection, *entries)

    stored = batches.store(connection, *entries, group="fresh")

    assert (0, 20, 0) == counts(stored)


def test_a_group_that_continues_counts_new_trades_and_duplicates(connection):
    batches.store(connection, *log(trade("T1"), trade("T2")))

    stored = batches.store(connection, *log(trade("T1"), trade("T2"), trade("T3")), group="fresh")

    assert (1, 2, 0) == counts(stored)
    assert [trade("T3")] == list(stored.trades)


def test_stored_trades_are_reported_in_the_order_they_were_read(connection):
    batches.store(connection, *log(trade("T2")))

    stored = batches.store(connection, *log(trade("T3"), trade("T2"), None, trade("T1"), trade("T3", **OTHER), first=1))

    assert [trade("T3"), trade("T1")] == list(stored.trades)


def test_a_collision_names_every_field_that_differs_and_the_place_of_the_stored_one(connection):
    batches.store(connection, *log(trade()))

    other = trade(book_id="B2", maturity_date=date(2031, 2, 3))
    (found,) = batches.store(connection, *log(other, first=1)).refusals

    assert (
        "trade_id T1 version 1 is already stored, from trades[0]@0: book_id is 'B2', not 'B1'; "
        "maturity_date is 2031-02-03, not 2030-01-01",
    ) == found.details


def test_refusals_are_stored_with_their_bytes_and_all_violations(connection):
    batches.store(connection, refusal(4, partition=2, code="VERSION", detail="it is 0"))

    row = connection.execute(TRADE_REFUSALS.select()).one()

    assert (TOPIC, "an-id", 2, 4, b"key", b"value") == (
        row.topic,
        row.topic_id,
        row.partition,
        row.offset,
        bytes(row.key),
        bytes(row.value),
    )
    assert (["VERSION"], ["it is 0"], "tests", 1, None) == (
        row.codes,
        row.details,
        row.group_id,
        row.attempts,
        row.replayed_at,
    )


@pytest.mark.parametrize("theirs", [CHECKED, RAISING, LATE, DEFERRED], ids=["check", "trigger", "late", "deferred"])
@pytest.mark.parametrize(
    "bad", [{0}, {6}, {3}, {0, 1}, {2, 5}, set(range(7)), {1, 3, 5}], ids=lambda bad: "".join(map(str, sorted(bad)))
)
def test_what_the_database_refuses_is_refused_alone(connection, theirs, bad):
    execute(connection, theirs)
    books = ["BAD" if number in bad else "B1" for number in range(7)]

    entries = log(*(trade(f"T{n}", book_id=book) for n, book in enumerate(books)))
    stored = batches.store(connection, *entries, defer=theirs is not DEFERRED)

    assert (7 - len(bad), 0, len(bad)) == counts(stored)
    assert {number: [Code.DATABASE_REFUSED] for number in sorted(bad)} == refused(connection)
    assert {(f"T{n}", 1): n for n in range(7) if n not in bad} == places(connection)
    assert 7 == next_offset(connection)


def test_a_refusal_by_the_database_has_its_message(connection):
    execute(connection, RAISING)

    (found,) = batches.store(connection, *log(trade(book_id="BAD"))).refusals

    assert (("DATABASE_REFUSED",), ("P0001: book BAD is closed",)) == (found.codes, found.details)


def test_a_broken_check_of_ours_is_refused_with_its_code(connection):
    """Python finds violations first; the table refuses what Python would let pass."""
    (found,) = batches.store(connection, *log(trade("a b"))).refusals

    assert ("TRADE_ID",) == found.codes


def test_many_bad_trades_need_no_more_statements_than_one(connection):
    """Bisecting down to each of them would need thousands of statements."""
    batches.store(connection, *log(trade("T")))  # prepares a statement
    executed = []
    event.listen(connection, "after_cursor_execute", lambda *arguments: executed.append(arguments[2]))
    batches.store(connection, *log(trade("a b"), trade("T0"), first=1))
    of_one = len(executed)
    flood = [trade(f"bad {n}" if n % 2 else f"T{n}") for n in range(1, 501)]

    stored = batches.store(connection, *log(*flood, first=3))

    assert (250, 0, 250) == counts(stored)
    # Besides, many refusals are copied, which takes a savepoint.
    assert len(executed) == 2 * of_one + 1


def test_a_unique_index_of_the_users_own_refuses_the_later_one(connection):
    execute(connection, "CREATE UNIQUE INDEX one_book ON trades (book_id)")
    books = ["B1", "B2", "B1", "B3", "B2"]

    stored = batches.store(connection, *log(*(trade(f"T{n}", book_id=book) for n, book in enumerate(books))))

    assert (3, 0, 2) == counts(stored)
    assert {2: [Code.DATABASE_REFUSED], 4: [Code.DATABASE_REFUSED]} == refused(connection)


ONE_BOOK = "ALTER TABLE trades ADD CONSTRAINT one_book UNIQUE (book_id)"


@pytest.mark.parametrize("constraint", [ONE_BOOK, f"{ONE_BOOK} DEFERRABLE"], ids=["immediate", "deferrable"])
def test_of_two_trades_that_a_unique_index_takes_one_of_the_one_read_first_is_stored(connection, constraint):
    """Although its key is the later one."""
    execute(connection, constraint)

    stored = batches.store(connection, *log(trade("T9"), trade("T1"), trade("T5", book_id="B5")))

    assert [trade("T5", book_id="B5"), trade("T9")] == trades(connection)
    (found,) = stored.refusals
    detail = '23505: duplicate key value violates unique constraint "one_book"'
    assert ("T1", (Code.DATABASE_REFUSED,), (detail,)) == (
        stored.batch.records.valid_at(1).trade.trade_id,
        found.codes,
        found.details,
    )


def test_trades_that_a_unique_index_refuses_and_others_that_a_check_refuses_are_refused_alone(connection):
    execute(connection, ONE_BOOK)
    execute(connection, CHECKED)
    books = ["B1", "B1", "BAD", "B4"]

    stored = batches.store(connection, *log(*(trade(f"T{n}", book_id=book) for n, book in enumerate(books))))

    assert (2, 0, 2) == counts(stored)
    assert {1: [Code.DATABASE_REFUSED], 2: [Code.DATABASE_REFUSED]} == refused(connection)


def test_an_error_that_refuses_no_trade_ends_the_transaction_also_after_a_unique_index_has_refused_one(connection):
    """Otherwise the rest of the batch would be stored statement by statement, each perhaps up to its timeout."""
    execute(connection, ONE_BOOK)
    # Only the statement that skips what a unique index refuses has no target.
    execute(
        connection,
        """
        CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF current_query() LIKE '%ON CONFLICT DO NOTHING%' THEN RAISE SQLSTATE '40001'; END IF; RETURN NEW; END
        $$;
        CREATE TRIGGER conflict BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION conflict()
        """,
    )

    with pytest.raises(DBAPIError) as raised:
        batches.store(connection, *log(trade("T1"), trade("T2"), trade("T3", book_id="B3")))

    assert ("40001", []) == (raised.value.orig.pgcode, trades(connection))


def test_a_trade_that_a_unique_index_refuses_is_not_compared_with_a_later_one_of_its_key(connection):
    execute(connection, ONE_BOOK)

    stored = batches.store(connection, *log(trade("T1"), trade("T2"), trade("T2", book_id="B2")))

    assert (2, 0, 1) == counts(stored)
    assert {1: [Code.DATABASE_REFUSED]} == refused(connection)


def test_a_version_is_stale_only_after_one_that_no_unique_index_refuses(connection):
    execute(connection, ONE_BOOK)
    of_t2 = [trade("T2", 2), trade("T2", 1, book_id="B2")]
    of_t3 = [trade("T3", 2, book_id="B3"), trade("T3", 1, book_id="B4")]

    stored = batches.store(connection, *log(trade("T1"), *of_t2, *of_t3), stale="refuse")

    assert (3, 0, 2) == counts(stored)
    assert {1: [Code.DATABASE_REFUSED], 4: [Code.STALE_VERSION]} == refused(connection)


def test_many_trades_that_a_unique_index_refuses_take_a_few_statements_each(connection):
    """Halving down to each of them takes twice as many, with hundreds of rows in some."""
    execute(connection, ONE_BOOK)
    executed = []
    event.listen(connection, "after_cursor_execute", lambda *arguments: executed.append(arguments[2]))

    stored = batches.store(connection, *log(*(trade(f"T{n}", book_id=f"B{n * (n % 2)}") for n in range(400))))

    assert (201, 0, 199) == counts(stored)
    assert len(executed) < 3 * 199 + 20


def test_a_trade_is_stored_if_the_database_refused_an_earlier_one_with_its_key(connection):
    execute(connection, CHECKED)

    stored = batches.store(connection, *log(trade(book_id="BAD"), trade(), trade(book_id="B7")))

    assert (1, 0, 2) == counts(stored)
    assert {0: [Code.DATABASE_REFUSED], 2: [Code.VERSION_COLLISION]} == refused(connection)
    assert {("T1", 1): 1} == places(connection)


def test_replays_and_collisions_are_found_across_the_pieces_of_a_bisected_batch(connection):
    execute(connection, CHECKED)
    bad = trade("X", book_id="BAD")

    stored = batches.store(connection, *log(trade(), trade("T2"), bad, trade(), bad, trade(**OTHER), trade("T2")))

    assert (2, 2, 3) == counts(stored)
    assert {2: [Code.DATABASE_REFUSED], 4: [Code.DATABASE_REFUSED], 5: [Code.VERSION_COLLISION]} == refused(connection)


def test_a_row_that_was_inserted_and_rolled_back_is_not_counted_as_inserted(connection):
    """Bisection inserts rows, rolls them back, and inserts them again: each counts once."""
    execute(connection, CHECKED)
    entries = log(trade("T1"), trade("T2"), trade("T3"), trade("X", book_id="BAD"))

    stored = batches.store(connection, *entries)

    assert [trade("T1"), trade("T2"), trade("T3")] == list(stored.trades) == trades(connection)


def test_any_other_failure_changes_nothing(connection):
    """The next owner starts with the very record that could not be stored."""
    with connection.begin():
        claimed = claim(connection)
    execute(connection, "ALTER TABLE trades RENAME TO elsewhere")

    with pytest.raises((DBAPIError, psycopg2.Error)), connection.begin():
        store(connection, batch(claimed, entries=log(trade(), None)))

    execute(connection, "ALTER TABLE elsewhere RENAME TO trades")
    assert (0, 0, 0) == (next_offset(connection), count(connection, TRADES), count(connection, TRADE_REFUSALS))


def test_a_batch_that_was_rolled_back_can_be_stored_again(connection):
    with connection.begin() as transaction:
        store(connection, batch(claim(connection), entries=log(trade())))
        transaction.rollback()

    assert (1, 0, 0) == counts(batches.store(connection, *log(trade())))


def test_a_batch_of_an_owner_that_was_fenced_stores_nothing(connection):
    with connection.begin():
        claimed = claim(connection)
    with connection.begin():
        claim(connection)

    with pytest.raises(Fenced), connection.begin():
        store(connection, batch(claimed, entries=log(trade(), None)))

    assert (0, 0, 0) == (next_offset(connection), count(connection, TRADES), count(connection, TRADE_REFUSALS))


def test_a_trade_that_vanishes_while_it_is_stored_is_not_lost_unseen(connection):
    """As if another session deleted it between INSERT and count; here a trigger discards it."""
    execute(connection, SWALLOWING)
    with connection.begin():
        claimed = claim(connection)

    with pytest.raises(RowsVanished, match=r"trade \('T2', 1\) vanished"), connection.begin():
        store(connection, batch(claimed, entries=log(trade(), trade("T2", book_id="GONE"))))

    assert (0, 0) == (next_offset(connection), count(connection, TRADES))


def test_a_batch_without_entries_moves_the_offset(connection):
    """Over transaction markers, after the last record."""
    with connection.begin():
        stored = store(connection, batch(claim(connection), entries=[], after=5))

    assert ((0, 0, 0), 5) == (counts(stored), next_offset(connection))


def test_a_batch_that_waits_for_the_table_holds_no_offset(connection, migrated):
    with connection.begin():
        claimed = claim(connection)
    with connected(migrated) as locking, connected(migrated) as other, locking.begin():
        locking.execute(text("LOCK TABLE trades IN SHARE MODE"))
        with ThreadPoolExecutor() as threads, connection.begin():
            waiting = threads.submit(store, connection, batch(claimed, entries=log(trade())))
            eventually(lambda: is_waiting(other))
            with other.begin():
                other.execute(text("SET LOCAL lock_timeout = '100ms'"))
                taken = claim(other)
            locking.rollback()
            with pytest.raises(Fenced):
                waiting.result()

    assert claimed.ownership.epoch + 1 == taken.ownership.epoch


def test_a_batch_without_trades_does_not_wait_for_their_table(connection, migrated):
    with connection.begin():
        claimed = claim(connection)
    with connected(migrated) as locking, locking.begin():
        locking.execute(text("LOCK TABLE trades IN SHARE MODE"))
        with connection.begin():
            connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
            store(connection, batch(claimed, entries=[refusal(0)]))

    assert {0: ["BAD"]} == refused(connection)
    assert 1 == next_offset(connection)


def test_staging_is_empty_after_every_batch(connection):
    execute(connection, CHECKED)
    batches.store(connection, *log(trade(), trade("X", book_id="BAD"), trade()))

    assert 0 == count(connection, STAGING)


def test_a_refusal_without_key_and_value_and_with_any_text_is_stored(connection):
    """A detail may quote any byte of a record; a schema id in a frame has 32 bits, the column 31."""
    unfit = "NUL \0, a surrogate \ud800, a plain é"
    entry = refusal(0, detail=unfit)._replace(record=record(0)._replace(key=None, value=None), schema_id=2**32 - 1)

    batches.store(connection, entry)

    row = connection.execute(TRADE_REFUSALS.select()).one()
    assert (None, None, None) == (row.key, row.value, row.schema_id)
    assert ["NUL \\x00, a surrogate \\ud800, a plain é"] == row.details


def test_what_another_group_has_refused_stays_as_it_is(connection):
    batches.store(connection, refusal(0, detail="first"))

    stored = batches.store(connection, refusal(0, detail="second"), group="fresh")

    assert (0, 0, 1) == counts(stored)
    assert ["first"] == connection.scalar(text("SELECT details FROM trade_refusals"))


def owned(partition):
    return Ownership(TOPIC, partition, 1)


def test_a_batch_without_an_ownership_has_all_but_that():
    entries = [*log(trade(), None), *log(trade("T2"), partition=1)]
    whole = Batch("g", None, (OffsetRange(owned(0), 0, 2), OffsetRange(owned(1), 0, 1)), validated(*entries))

    rest = whole.without_partition(owned(0))

    assert ((OffsetRange(owned(1), 0, 1),), [entries[2].record]) == (rest.ranges, list(rest.records.records))


def test_a_batch_without_an_earlier_ownership_is_the_same():
    whole = Batch("g", None, (OffsetRange(owned(0), 0, 1),), validated(*log(trade())))

    assert whole.ranges == whole.without_partition(owned(0)._replace(epoch=7)).ranges


@st.composite
def whole_batches(draw):
    """Batches of some partitions, interleaved, with gaps before, between and after their records."""
    spans, entries = [], []
    for partition in draw(st.sets(st.integers(0, 3), min_size=1)):
        before = draw(st.integers(0, 5))
        offsets = sorted(draw(st.sets(st.integers(before, before + 12), max_size=6)))
        after = max([before, *(offset + 1 for offset in offsets)]) + draw(st.integers(0 if offsets else 1, 3))
        spans.append(OffsetRange(owned(partition), before, after))
        entries += [(partition, offset) for offset in offsets]
    order = draw(st.randoms(use_true_random=False))
    shuffled = sorted(entries, key=lambda entry: (order.random(), entry))
    queues = {partition: sorted(offset for other, offset in entries if other == partition) for partition, _ in entries}
    mixed = [accepted(queues[partition].pop(0), trade(), partition) for partition, _ in shuffled]
    return Batch("g", "id", tuple(spans), validated(*mixed))


def covered(*parts):
    """Return consecutive offset ranges for batches."""
    found = {}
    for part in parts:
        for ownership, before, after in part.ranges:
            assert found.setdefault(ownership, before) == before < after
            found[ownership] = after
    return found


@examples(300)
@given(whole=whole_batches())
def test_the_halves_of_a_batch_cover_what_the_batch_covers(whole):
    """Each continues where the one before ends, and holds the records of just the offsets it covers."""
    first, second = whole.halves()

    assert covered(whole) == covered(first, second)
    assert list(whole.records.records) == [*first.records.records, *second.records.records]
    for part in (first, second):
        spans = {span.ownership.partition: range(span.start, span.end) for span in part.ranges}
        assert all(record.offset in spans[record.partition] for record in part.records.records)


def test_no_half_of_a_batch_ends_within_an_unreadable_one():
    """A sink that continued there would refuse the rest of it once more."""
    unreadable = UnreadableBatch(TOPIC, 0, 3, 7, "invalid compressed data")
    entries = [Refusal(unreadable, (unreadable.violation,)), accepted(8, trade())]
    whole = Batch("g", None, (OffsetRange(owned(0), 3, 9),), validated(*entries))

    assert [[(3, 8)], [(8, 9)]] == [[(span.start, span.end) for span in half.ranges] for half in whole.halves()]


def test_a_third_of_a_batch_that_the_database_refuses_is_refused_and_the_rest_is_stored(connection):
    """Below the refusal limit, each refused trade between two that are stored."""
    execute(connection, CHECKED)
    books = ["BAD" if number % 3 == 0 else "B1" for number in range(300)]

    stored = batches.store(connection, *log(*(trade(f"T{n}", book_id=book) for n, book in enumerate(books))))

    assert (200, 0, 100) == counts(stored)
