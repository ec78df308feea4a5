"""Replay of stored refusals."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date

import pytest
from sqlalchemy import text

from tests.eventually import eventually
from tests.postgres.batches import (
    GROUP,
    TOPIC_ID,
    accepted,
    connected,
    execute,
    places,
    refusal,
    refused,
    store,
    trade,
    trades,
)
from tests.proxy import Proxy, port_of
from tradepipe.errors import DatabaseOutdated, DatabaseUnavailable
from tradepipe.postgres import refusals, session
from tradepipe.postgres.replay import RefusalReplayer, ReplayResult
from tradepipe.trade.dead_letter import DeadLetterFilter
from tradepipe.trade.record import Code

DEFERRED = """
    CREATE FUNCTION no_bad() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.book_id = 'BAD' THEN RAISE EXCEPTION 'book BAD is closed'; END IF; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER no_bad AFTER INSERT ON trades
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no_bad()
"""
# COMMIT waits for the holder of the lock.
HELD_UP = """
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON trade_refusals
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()
"""


@pytest.fixture
def replayer(migrated):
    with RefusalReplayer(migrated) as replayer:
        yield replayer


@pytest.fixture
def keep(connection):
    """Store refusals at some offsets, and return them as they are stored."""

    def keep(*offsets):
        with connection.begin():
            refusals.store(connection, [refusal(offset) for offset in offsets], group=GROUP, topic_id=TOPIC_ID)
            return refusals.list_newest(connection, DeadLetterFilter(), None)

    return keep


def there(database, entry):
    """Let a sink have stored a trade before."""
    with connected(database) as connection:
        store(connection, entry)


def attempts_of(connection):
    """Return for each refusal the number of failed replays, and whether it was replayed."""
    with connection.begin():
        found = refusals.list_newest(connection, DeadLetterFilter(replayed=True), None)
    return {each.record.offset: (each.replay_count, each.replayed_at is not None) for each in found}


def test_a_replayed_trade_keeps_its_coordinates_and_its_refusal_is_marked(replayer, keep, connection):
    (one,) = keep(7)

    done = replayer.replay([(one, accepted(7, trade()))])

    assert ReplayResult(stored=(one,)) == done
    assert {("T1", 1): 7} == places(connection)
    assert {7: (0, True)} == attempts_of(connection)


def test_a_refusal_that_is_refused_again_stays_with_its_new_reason(replayer, keep, connection):
    (one,) = keep(7)

    done = replayer.replay([(one, refusal(7, code="WORSE"))])

    assert ReplayResult(refused=((one, refusal(7, code="WORSE")),)) == done
    assert {7: (1, False)} == attempts_of(connection)
    assert {7: ["WORSE"]} == refused(connection)


def test_a_trade_that_is_there_already_counts_as_replayed(replayer, keep, connection, migrated):
    there(migrated, accepted(3, trade()))
    (one,) = keep(7)

    done = replayer.replay([(one, accepted(7, trade()))])

    assert ReplayResult(already_stored=(one,)) == done
    assert ({("T1", 1): 3}, {7: (0, True)}) == (places(connection), attempts_of(connection))


def test_a_collision_is_refused_again_with_what_differs(replayer, keep, connection, migrated):
    there(migrated, accepted(3, trade()))
    (one,) = keep(7)

    done = replayer.replay([(one, accepted(7, trade(book_id="B2")))])

    ((_, again),) = done.refused
    assert (Code.VERSION_COLLISION,) == again.codes
    assert "book_id is 'B2', not 'B1'" in again.details[0]
    assert ([trade()], {7: (1, False)}) == (trades(connection), attempts_of(connection))


def test_of_two_with_one_key_the_first_is_stored(replayer, keep, connection):
    one, two = keep(7, 8)

    done = replayer.replay([(one, accepted(7, trade())), (two, accepted(8, trade(book_id="B2")))])

    assert ((one,), [two]) == (done.stored, [each for each, _ in done.refused])


def test_what_the_database_refuses_is_refused_again_and_the_rest_is_stored(replayer, keep, connection):
    one, two = keep(7, 8)

    done = replayer.replay([(one, accepted(7, trade(maturity_date=date(1999, 1, 1)))), (two, accepted(8, trade("T2")))])

    assert ((two,), ["MATURITY_DATE"]) == (done.stored, [code for _, each in done.refused for code in each.codes])


def test_records_that_another_replay_has_stored_are_skipped(replayer, keep, connection):
    one, two = keep(7, 8)
    replayer.replay([(one, accepted(7, trade()))])

    done = replayer.replay([(one, accepted(7, trade())), (two, accepted(8, trade("T2")))])

    assert ((two,), (one,)) == (done.stored, done.taken_by_other)


def test_without_keep_everything_is_reported_and_nothing_is_changed(replayer, keep, connection):
    one, two = keep(7, 8)

    done = replayer.replay([(one, accepted(7, trade())), (two, refusal(8, code="WORSE"))], keep=False)

    assert ((one,), 1) == (done.stored, len(done.refused))
    assert ([], {7: (0, False), 8: (0, False)}) == (trades(connection), attempts_of(connection))
    assert (one,) == replayer.replay([(one, accepted(7, trade()))]).stored


def test_a_commit_whose_answer_was_lost_counts_once(migrated, keep, connection):
    """The first call fails, and the second one finds out that its COMMIT took place."""
    (one,) = keep(7)
    server, _, name = migrated.rpartition("/")
    with (
        Proxy(int(server.rpartition(":")[2])) as proxy,
        RefusalReplayer(f"{server.rpartition(':')[0]}:{proxy.port}/{name}") as replayer,
    ):
        replayer.next_page(DeadLetterFilter(), None, 10)
        proxy.swallow_reply_after(b"COMMIT\0")
        with pytest.raises(DatabaseUnavailable):
            replayer.replay([(one, refusal(7))])

        assert ReplayResult(refused=((one, refusal(7)),)) == replayer.replay([(one, refusal(7))])
    assert {7: (1, False)} == attempts_of(connection)


def test_a_transaction_that_was_lost_before_its_commit_is_done_again(replayer, keep, connection):
    (one,) = keep(7)
    replayer.next_page(DeadLetterFilter(), None, 10)
    with connection.begin():
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'tradepipe-dlq' AND datname = current_database()"
        )
    with pytest.raises(DatabaseUnavailable):
        replayer.replay([(one, accepted(7, trade()))])

    assert (one,) == replayer.replay([(one, accepted(7, trade()))]).stored


def test_a_transaction_that_the_new_primary_has_not_received_is_done_again(replayer, keep, connection):
    """A standby that replicates asynchronously may lack it, and then also its number."""
    (one,) = keep(7)
    replayer._unconfirmed = 1 << 60, ReplayResult()

    assert (one,) == replayer.replay([(one, accepted(7, trade()))]).stored


def test_a_commit_that_is_still_under_way_is_neither_lost_nor_done(migrated, keep, connection, monkeypatch):
    """A call before the outcome is known fails; nothing counts twice, and nothing is left to another replay."""
    monkeypatch.setattr(session, "_CHECK", "SELECT 1")  # else the server ends, after a second, what has lost its client
    execute(connection, HELD_UP)
    (one,) = keep(7)
    validated = [(one, refusal(7, code="WORSE"))]
    with (
        Proxy(port_of(migrated)) as proxy,
        RefusalReplayer(proxy.instead_of(migrated)) as replayer,
        connected(migrated) as holder,
    ):
        execute(holder, "SELECT pg_advisory_lock(7)")
        with ThreadPoolExecutor() as threads:
            first = threads.submit(replayer.replay, validated)
            eventually(lambda: waits_for_the_holder(connection))
            proxy.reset()
            with pytest.raises(DatabaseUnavailable):
                first.result()
        with pytest.raises(
            DatabaseUnavailable, match="PostgreSQL has not yet finished a transaction whose COMMIT got no answer"
        ):
            replayer.replay(validated)
        execute(holder, "SELECT pg_advisory_unlock(7)")

        assert ReplayResult(refused=tuple(validated)) == eventually(lambda: settled(replayer, validated))
    assert {7: (1, False)} == attempts_of(connection)


def waits_for_the_holder(connection):
    """Return whether a COMMIT waits in the trigger that blocks it."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    with connection.begin():
        return connection.scalar(text(waits))


def settled(replayer, validated):
    """Return the outcome of refusals; None while it is unknown."""
    with suppress(DatabaseUnavailable):
        return replayer.replay(validated)


def test_a_deferred_constraint_refuses_single_records_again(replayer, keep, connection):
    """At COMMIT it would refuse the valid trades as well."""
    execute(connection, DEFERRED)
    one, two = keep(7, 8)

    done = replayer.replay([(one, accepted(7, trade(book_id="BAD"))), (two, accepted(8, trade("T2")))])

    assert ((two,), [one]) == (done.stored, [each for each, _ in done.refused])
    assert {7: (1, False), 8: (0, True)} == attempts_of(connection)


def test_a_trigger_that_discards_rows_is_no_success(replayer, keep, connection):
    execute(
        connection,
        "CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER discard BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION discard()",
    )
    (one,) = keep(7)

    with pytest.raises(DatabaseUnavailable, match="does a trigger on the table discard rows"):
        replayer.replay([(one, accepted(7, trade()))])

    assert {7: (0, False)} == attempts_of(connection)


def test_an_outdated_database_is_reported(database):
    with RefusalReplayer(database) as replayer, pytest.raises(DatabaseOutdated):
        replayer.next_page(DeadLetterFilter(), None, 10)
