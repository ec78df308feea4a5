"""Reconnection: errors that are retried at once, wait, or stop the caller."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.postgres.batches import count, trade
from tests.proxy import Proxy
from tradepipe.backoff import Backoff
from tradepipe.errors import ConfigurationError, DatabaseOutdated
from tradepipe.postgres import reconnect as module
from tradepipe.postgres import session
from tradepipe.postgres.deadline import AnswerTimeout
from tradepipe.postgres.insert import RowsVanished
from tradepipe.postgres.reconnect import ReconnectingConnection, StopRequested, TransactionTooSlow
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import TRADES

SOURCE = {"source_topic": "trades", "source_partition": 0, "source_offset": 0, "schema_id": 1}
PID = text("SELECT pg_backend_pid()")


class Heard:
    """A ReconnectingConnection that records the outages and recoveries it reports."""

    def __init__(self, database, *, wait=0.01, **options):
        self.away, self.healed = [], []
        self.backoff = Backoff(first=wait, longest=wait)
        self.on_away = lambda: None
        self.link = ReconnectingConnection(
            create_engine_for(database, application_name="test"),
            backoff=self.backoff,
            on_outage=lambda reason: (self.away.append(reason), self.on_away()),
            on_recovery=self.healed.append,
            **options,
        )

    def do(self, *works):
        """Works of one transaction after the other, each until it is done: the first try of it is the first work."""
        tries = iter(works)
        return self.link.retry(lambda: self.link.run_in_transaction(next(tries)))


@pytest.fixture
def heard(migrated):
    heard = Heard(migrated)
    yield heard
    heard.link.close()


@pytest.fixture
def other(migrated):
    """Open a second connection to the database."""
    with create_engine_for(migrated, application_name="other").connect() as connection:
        yield connection


def insert(connection, of=None):
    connection.execute(TRADES.insert(), {**(of or trade())._asdict(), **SOURCE})
    return "inserted"


def run(statement):
    return lambda connection: connection.execute(text(statement))


def end_itself(connection):
    """Terminate the session, as an administrator may."""
    insert(connection)
    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@contextmanager
def frozen(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_work_is_one_transaction(heard, other):
    assert "inserted" == heard.link.run_in_transaction(insert)
    assert 1 == count(other, TRADES)


def test_work_that_fails_leaves_nothing(heard, other):
    def fail(connection):
        insert(connection)
        raise KeyError

    with pytest.raises(KeyError):
        heard.link.run_in_transaction(fail)

    assert 0 == count(other, TRADES)


def test_a_session_that_ends_is_replaced_and_the_work_done_again(heard, other):
    assert "inserted" == heard.do(end_itself, insert)

    assert 1 == count(other, TRADES)
    assert (1, 1) == (len(heard.away), len(heard.healed))


def test_a_session_that_ended_between_two_transactions_is_replaced(heard, other):
    pid = heard.link.run_in_transaction(lambda connection: connection.scalar(PID))
    other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    assert pid != heard.do(*[lambda connection: connection.scalar(PID)] * 2)


def test_an_outage_is_reported_once_and_its_end_once(heard):
    heard.do(end_itself, end_itself, end_itself, insert)

    assert (1, 1) == (len(heard.away), len(heard.healed))


def test_the_delays_of_each_outage_begin_short(heard):
    heard.do(end_itself, end_itself, run("SELECT 1"))

    assert 0 == heard.backoff.failures


def test_each_connection_is_checked_before_it_is_used(migrated):
    """A database may have changed during an outage so that nothing can be stored in it."""
    looks = []

    def require(connection):
        looks.append(connection.scalar(PID))
        if len(looks) > 1:
            raise ConfigurationError("somebody dropped a constraint")

    heard = Heard(migrated, require=require)

    with pytest.raises(ConfigurationError, match="somebody dropped a constraint"):
        heard.do(end_itself, insert)

    assert 2 == len({*looks})


def test_a_new_connection_is_set_up_like_the_first(heard):
    heard.do(end_itself, insert)

    assert "5s" == heard.link.run_in_transaction(lambda connection: connection.scalar(text("SHOW lock_timeout")))
    assert 0 == heard.link.run_in_transaction(
        lambda connection: connection.scalar(text("SELECT count(*) FROM tradepipe_staging"))
    )


def test_a_frozen_backend_is_disconnected_at_the_deadline(heard, monkeypatch, other):
    """Its transaction is rolled back when it resumes; the work is repeated on a new connection."""
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 0.5)
    pid = heard.link.run_in_transaction(lambda connection: connection.scalar(PID))
    began = time.monotonic()

    with frozen(pid):
        with pytest.raises(TransactionTooSlow):
            heard.do(insert)
        assert time.monotonic() - began < 5
        assert "inserted" == heard.do(insert)

    assert 1 == count(other, TRADES)


def test_a_commit_without_an_answer_in_time_does_not_count_as_too_slow(heard, monkeypatch):
    """It may still be committed: the caller finds out, over another connection."""
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 0.5)
    pid = heard.link.run_in_transaction(lambda connection: connection.scalar(PID))

    def insert_and_freeze(connection):
        insert(connection)
        os.kill(pid, signal.SIGSTOP)

    with pytest.raises(AnswerTimeout, match=r"no answer to COMMIT within 0\.5 s"):
        heard.link.run_in_transaction(insert_and_freeze)

    os.kill(pid, signal.SIGCONT)


def test_a_lost_race_is_retried_at_once_and_then_after_delays(heard):
    """No outage to begin with: nothing is paused for it."""
    lost = run("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40P01'; END $$")

    heard.do(*[lost] * module.IMMEDIATE_RETRIES, insert)
    at_once = (heard.backoff.failures, list(heard.away))
    heard.do(*[lost] * (module.IMMEDIATE_RETRIES + 2), run("SELECT 1"))

    assert (0, []) == at_once
    assert (["PostgreSQL is available, but another transaction is in the way: lost"], 1) == (
        heard.away,
        len(heard.healed),
    )


def test_a_held_lock_is_waited_for(heard, other):
    other.execute(text("LOCK TABLE trades"))

    def impatient(connection):
        connection.execute(text("SET LOCAL lock_timeout = '20ms'"))
        insert(connection)

    def patient(connection):
        other.rollback()
        return insert(connection)

    assert "inserted" == heard.do(impatient, impatient, patient)


def test_rows_that_vanished_are_a_lost_race_too(heard):
    def vanished(connection):
        raise RowsVanished("gone")

    assert "inserted" == heard.do(vanished, insert)
    assert [] == heard.away


def too_slow(connection):
    connection.execute(text("SET LOCAL statement_timeout = '20ms'"))
    connection.execute(text("SELECT pg_sleep(30)"))


def test_what_the_server_ends_for_its_length_is_too_much(heard):
    with pytest.raises(TransactionTooSlow):
        heard.do(too_slow)

    assert ("inserted", []) == (heard.do(insert), heard.away)


def test_what_cannot_be_made_smaller_waits(heard):
    tries = iter([too_slow, too_slow, insert])

    assert "inserted" == heard.link.retry_forever(lambda: heard.link.run_in_transaction(next(tries)))
    assert (["PostgreSQL takes too long"], 1) == (heard.away, len(heard.healed))


def test_a_refusal_of_the_data_is_the_callers(heard):
    """A batch refuses single records itself; any other data error is raised."""
    with pytest.raises(DBAPIError, match="TRADE_ID"):
        heard.do(lambda connection: insert(connection, trade("a b")))


def test_a_missing_table_is_reported_with_advice(heard, other):
    other.execute(text("ALTER TABLE trades RENAME TO elsewhere"))
    other.commit()

    with pytest.raises(ConfigurationError, match="tradepipe migrate upgrade"):
        heard.do(insert)


def test_a_database_without_our_tables_is_reported(database):
    heard = Heard(database)

    with pytest.raises(DatabaseOutdated):
        heard.link.retry(heard.link.connect)


def test_a_permanent_refusal_of_the_first_connection_is_reported(migrated):
    heard = Heard(f"{migrated}_missing")

    with pytest.raises(ConfigurationError, match="does not exist; create it, or check the name in the database URL"):
        heard.link.retry(heard.link.connect)


def test_a_first_connection_to_an_unavailable_server_is_retried(migrated):
    server, _, name = migrated.rpartition("/")
    with Proxy(int(server.rpartition(":")[2])) as proxy:
        port = proxy.port
    heard = Heard(f"{server.rpartition(':')[0]}:{port}/{name}", wait=60)
    threading.Timer(0.3, heard.link.stop).start()

    with pytest.raises(StopRequested):
        heard.link.retry(heard.link.connect)

    assert "refused" in heard.away[0]


@pytest.fixture
def administrator(migrated):
    """Connect to another database of the server, with autocommit."""
    with create_engine_for(f"{migrated.rpartition('/')[0]}/postgres", application_name="admin").connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def test_after_a_success_every_refusal_is_an_outage(heard, migrated, administrator):
    """Even that the database does not exist: a restore may be under way."""
    name = migrated.rpartition("/")[2]
    heard.do(insert)
    heard.link.close()
    administrator.execute(text(f"ALTER DATABASE {name} RENAME TO {name}_away"))
    heard.on_away = lambda: administrator.execute(text(f"ALTER DATABASE {name}_away RENAME TO {name}"))

    assert "inserted" == heard.do(*[lambda connection: insert(connection, trade("T2"))] * 2)
    assert "does not exist" in heard.away[0]


def test_a_stop_ends_a_wait(migrated):
    heard = Heard(migrated, wait=60)
    threading.Timer(0.3, heard.link.stop).start()
    began = time.monotonic()

    with pytest.raises(StopRequested):
        heard.do(end_itself, insert)

    assert time.monotonic() - began < 10
    heard.link.close()


def test_after_a_stop_what_runs_may_finish(heard, other):
    heard.link.stop()

    assert "inserted" == heard.do(insert)


def test_a_cut_undoes_what_runs(heard, other):
    def slow(connection):
        insert(connection)
        threading.Timer(0.2, heard.link.abort).start()
        connection.execute(text("SELECT pg_sleep(10)"))

    heard.link.stop()
    with pytest.raises(StopRequested):
        heard.do(slow)

    assert 0 == count(other, TRADES)


def test_a_cut_with_nothing_to_cut_does_nothing(heard):
    heard.link.abort()
    heard.do(insert)
    heard.link.abort()

    heard.do(run("SELECT 1"))
    assert [] == heard.away


def test_it_may_be_closed_twice_and_used_again(heard):
    heard.link.close()
    heard.do(insert)
    heard.link.close()
    heard.link.close()

    assert 1 == heard.do(lambda connection: connection.scalar(text("SELECT count(*) FROM trades")))


def test_a_reset_connection_is_replaced(migrated):
    server, _, name = migrated.rpartition("/")
    with Proxy(int(server.rpartition(":")[2])) as proxy:
        heard = Heard(f"{server.rpartition(':')[0]}:{proxy.port}/{name}")

        def reset(connection):
            insert(connection)
            proxy.reset()
            connection.execute(text("SELECT 1"))

        assert "inserted" == heard.do(reset, insert)
        heard.link.close()
