"""Trades that are copied straight into the table: what conflicts, deadlocks and policies make of it."""

import itertools
import random
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from tests.postgres import batches
from tests.postgres.batches import connected, count, counts, execute, log, next_offset, places, refused, trade
from tradepipe.postgres.batch import Batch
from tradepipe.postgres.insert import CAUTIOUS_BATCHES, DirectCopy
from tradepipe.postgres.offsets import OffsetRange
from tradepipe.postgres.sink_store import ClaimRequest, SinkStore
from tradepipe.postgres.tables import TRADES
from tradepipe.trade.record import Code

ROW_SECURITY = """
    ALTER TABLE trades ENABLE ROW LEVEL SECURITY;
    CREATE POLICY everything ON trades USING (true) WITH CHECK (true);
    CREATE ROLE {0};
    GRANT USAGE ON SCHEMA public TO {0};
    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {0}
"""

FORBIDDEN = """
    CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF current_query() LIKE '{}' THEN RAISE 'an INSERT'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER forbidden BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION forbid()
"""


@pytest.fixture
def connection(migrated):
    with connected(migrated) as connection:
        yield connection


WATCHED = """
    CREATE TEMPORARY SEQUENCE filled_{0};
    CREATE FUNCTION pg_temp.note_{0}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM nextval('pg_temp.filled_{0}'); RETURN NULL; END $$;
    CREATE TRIGGER filled AFTER INSERT ON tradepipe_{0} FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.note_{0}()
"""


@pytest.fixture
def used(connection):
    """Return the temporary tables that were filled since the last call."""
    tables = ("keys", "staging")
    for table in tables:
        execute(connection, WATCHED.format(table))

    def used():
        filled = [table for table in tables if connection.scalar(text(f"SELECT is_called FROM filled_{table}"))]
        for table in tables:
            connection.execute(text(f"SELECT setval('filled_{table}', 1, false)"))
        connection.commit()
        return filled

    return used


def test_after_a_conflict_keys_are_looked_up_until_some_batches_had_none(connection, used):
    direct, offsets = DirectCopy(), itertools.count()

    def store(*ids):
        batches.store(connection, *log(*map(trade, ids), first=next(offsets) * 10), direct=direct)
        return used()

    assert [[], [], ["keys", "staging"]] == [store("T0"), store("T1", "T2"), store("T3", "T1", "T5")]
    assert [["keys"]] * CAUTIOUS_BATCHES == [store(f"A{number}") for number in range(CAUTIOUS_BATCHES)]
    assert [[], ["keys", "staging"]] == [store("T4"), store("T4")]
    assert TRADES_STORED == set(places(connection))


def test_a_batch_is_staged_at_once_while_most_trades_are_stored_already(connection, used):
    """Their rows must be compared, so looking up their keys first would be in vain."""
    direct, offsets = DirectCopy(), itertools.count()

    def store(*ids):
        batches.store(connection, *log(*map(trade, ids), first=next(offsets) * 10), direct=direct)
        return used()

    store("T1", "T2", "T3")
    assert ["keys", "staging"] == store("T1", "T2", "T4")
    assert [["staging"], ["staging"]] == [store("T1", "T2", "T5"), store("T6", "T7", "T1")]
    assert ["keys"] == store("T8")


TRADES_STORED = {
    (name, 1) for name in ("T0", "T1", "T2", "T3", "T4", "T5", *(f"A{number}" for number in range(CAUTIOUS_BATCHES)))
}


def test_a_batch_with_a_duplicate_a_collision_and_a_new_trade_has_each_counted(connection):
    batches.store(connection, *log(trade("T1"), trade("T2")))

    stored = batches.store(connection, *log(trade("T3"), trade("T1"), trade("T2", book_id="B2"), trade("T3"), first=10))

    assert (1, 2, 1) == counts(stored)
    assert {12: [Code.VERSION_COLLISION]} == refused(connection)


def test_two_new_trades_with_one_key_in_a_staged_batch_are_an_insert_and_a_duplicate(connection):
    """Their straight copy conflicts, after the stored trades were found."""
    direct = DirectCopy()
    batches.store(connection, *log(trade("T1"), trade("T2")), direct=direct)

    stored = batches.store(connection, *log(trade("T1"), trade("N"), trade("N"), trade("M"), first=10), direct=direct)

    assert (2, 2, 0) == counts(stored)
    assert {("T1", 1): 0, ("T2", 1): 1, ("N", 1): 11, ("M", 1): 13} == places(connection)


def test_new_trades_beside_duplicates_are_copied_straight(connection):
    """An INSERT from the staging table takes twice the time."""
    direct = DirectCopy()
    batches.store(connection, *log(trade("T1")), direct=direct)
    forbid_inserts_by(connection, "INSERT INTO trades%")

    assert (1, 1, 0) == counts(batches.store(connection, *log(trade("T1"), trade("T2"), first=10), direct=direct))


def forbid_inserts_by(connection, statement):
    """Let the database reject rows that come from a statement like this one."""
    execute(connection, FORBIDDEN.format(statement))


def test_a_refused_row_leaves_nothing_behind_in_the_table(connection):
    execute(connection, "ALTER TABLE trades ADD CHECK (book_id <> 'BAD')")

    stored = batches.store(connection, *log(trade("T1"), trade("T2", book_id="BAD"), trade("T3")))

    assert (2, 0, 1) == counts(stored)
    assert {("T1", 1): 0, ("T3", 1): 2} == places(connection)


def test_a_table_with_row_security_is_written_through_the_staging_table(migrated, connection):
    """PostgreSQL refuses COPY into it."""
    role = f"restricted_{uuid.uuid4().hex}"
    execute(connection, ROW_SECURITY.format(role))
    with connected(f"{migrated}?options=-crole={role}") as restricted:
        stored = batches.store(restricted, *log(trade("T1"), trade("T2")))

    assert (2, 0, 0) == counts(stored)
    assert 2 == count(connection, TRADES)
    execute(connection, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_sinks_that_store_the_same_trades_in_other_orders_store_each_once(migrated):
    """Their straight copies deadlock; staged rows are inserted in the order of the key."""
    trades = [trade(f"T{number}") for number in range(40)]

    def store(number):
        seconds = []
        sink = SinkStore(
            migrated, group=f"g{number}", owner="o", on_outage=seconds.append, on_recovery=lambda _seconds: None
        )
        order = random.Random(number)
        try:
            (granted,) = sink.claim([ClaimRequest(batches.TOPIC, 0, None, 0)], history=0)
            totals = [0, 0, 0]
            for start in range(0, 5 * len(trades), len(trades)):
                records = batches.validated(*log(*order.sample(trades, len(trades)), first=start))
                covered = OffsetRange(granted.result.ownership, start, start + len(trades))
                for stored in sink.store(
                    Batch(f"g{number}", None, (covered,), records), before_commit=lambda _result: None
                ):
                    totals = [total + each for total, each in zip(totals, counts(stored), strict=True)]
            return totals
        finally:
            sink.close()

    with ThreadPoolExecutor(4) as threads:
        totals = list(threads.map(store, range(4)))

    assert [40, 4 * 5 * 40 - 40, 0] == [sum(each) for each in zip(*totals, strict=True)]
    with connected(migrated) as connection:
        assert 40 == count(connection, TRADES)
        assert next_offset(connection) is None  # no sink stored under the group of the other tests
