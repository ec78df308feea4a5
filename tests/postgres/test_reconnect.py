"""Reconnection: errors that are retried at once, wait, or stop the caller."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.frozen import freeze
from tests.postgres.batches import count, trade
from tests.proxy import Proxy
from tradepipe.errors import ConfigurationError, DatabaseOutdated
from tradepipe.outage import Backoff
from tradepipe.postgres import reconnect as module
from tradepipe.postgres import session
from tradepipe.postgres.deadline import AnswerTimeout
from tradepipe.postgres.failures import RowsVanished
from tradepipe.postgres.reconnect import ReconnectingConnection, StopRequested, TransactionTooSlow
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import TRADES

SOURCE = {"source_topic": "trades", "source_partition": 0, "source_offset": 0, "schema_id": 1}
PID = text("SELECT pg_backend_pid()")


class OutageRecorder:
    """A ReconnectingConnection that records the outages and recoveries it reports."""

    def __init__(self, database, *, wait=0.01):
        self.outages, self.recoveries = [], []
        self.backoff = Backoff(first=wait, longest=wait)
        self.at_outage = lambda: None
        self.connection = ReconnectingConnection(
            create_engine_for(database, application_name="test"),
            backoff=self.backoff,
            on_outage=lambda reason: (self.outages.append(reason), self.at_outage()),
            on_recovery=self.recoveries.append,
        )

    def run_works(self, *works):
        """Works of one transaction after the other, each until it is done: the first try of it is the first work."""
        tries = iter(works)
        return self.connection.retry(lambda: self.connection.run_in_transaction(next(tries)))


@pytest.fixture
def recorder(migrated):
    recorder = OutageRecorder(migrated)
    yield recorder
    recorder.connection.close()


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
    freeze(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_work_is_one_transaction(recorder, other):
    assert "inserted" == recorder.connection.run_in_transaction(insert)
    assert 1 == count(other, TRADES)


def test_work_that_fails_leaves_nothing(recorder, other):
    def fail(connection):
        insert(connection)
        raise KeyError

    with pytest.raises(KeyError):
        recorder.connection.run_in_transaction(fail)

    assert 0 == count(other, TRADES)


def test_a_session_that_ends_is_replaced_and_the_work_done_again(recorder, other):
    assert "inserted" == recorder.run_works(end_itself, insert)

    assert 1 == count(other, TRADES)
    assert (1, 1) == (len(recorder.outages), len(recorder.recoveries))


def test_a_session_that_ended_between_two_transactions_is_replaced(recorder, other):
    pid = recorder.connection.run_in_transaction(lambda connection: connection.scalar(PID))
    other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    assert pid != recorder.run_works(*[lambda connection: connection.scalar(PID)] * 2)
    # libpq has dropped the server's message.
    assert [
        "PostgreSQL is unavailable: server closed the connection unexpectedly; its log has the reason"
    ] == recorder.outages


def test_an_outage_is_reported_once_and_its_end_once(recorder):
    recorder.run_works(end_itself, end_itself, end_itself, insert)

    assert (1, 1) == (len(recorder.outages), len(recorder.recoveries))


def test_the_delays_of_each_outage_begin_short(recorder):
    recorder.run_works(end_itself, end_itself, run("SELECT 1"))

    assert 0 == recorder.backoff.failures


def test_each_connection_is_checked_before_it_is_used(recorder, other):
    """A database may have changed during an outage so that nothing can be stored in it."""

    def downgrade():
        other.execute(text("UPDATE tradepipe_revision SET version_num = '0001_trades'"))
        other.commit()

    recorder.at_outage = downgrade

    with pytest.raises(DatabaseOutdated, match="0001_trades"):
        recorder.run_works(end_itself, insert)


def test_a_new_connection_is_set_up_like_the_first(recorder):
    recorder.run_works(end_itself, insert)

    assert "5s" == recorder.connection.run_in_transaction(
        lambda connection: connection.scalar(text("SHOW lock_timeout"))
    )
    assert 0 == recorder.connection.run_in_transaction(
        lambda connection: connection.scalar(text("SELECT count(*) FROM tradepipe_staging"))
    )


def test_a_frozen_backend_is_disconnected_at_the_deadline(recorder, monkeypatch, other):
    """Its transaction is rolled back when it resumes; the work is repeated on a new connection."""
    default = session.CLIENT_DEADLINE
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 0.5)
    pid = recorder.connection.run_in_transaction(lambda connection: connection.scalar(PID))
    began = time.monotonic()

    with frozen(pid):
        with pytest.raises(TransactionTooSlow):
            recorder.run_works(insert)
        assert time.monotonic() - began < default
        assert "inserted" == recorder.run_works(insert)

    assert 1 == count(other, TRADES)


def test_a_commit_without_an_answer_in_time_does_not_count_as_too_slow(recorder, monkeypatch):
    """It may still be committed: the caller finds out, over another connection."""
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 0.5)
    pid = recorder.connection.run_in_transaction(lambda connection: connection.scalar(PID))

    def insert_and_freeze(connection):
        insert(connection)
        freeze(pid)

    with pytest.raises(AnswerTimeout, match=r"no answer to COMMIT within 0\.5 s"):
        recorder.connection.run_in_transaction(insert_and_freeze)

    os.kill(pid, signal.SIGCONT)


def test_a_lost_race_is_retried_at_once_and_then_after_delays(recorder):
    """No outage to begin with: nothing is paused for it."""
    lost = run("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40P01'; END $$")

    recorder.run_works(*[lost] * module.IMMEDIATE_RETRIES, insert)
    at_once = (recorder.backoff.failures, list(recorder.outages))
    recorder.run_works(*[lost] * (module.IMMEDIATE_RETRIES + 2), run("SELECT 1"))

    assert (0, []) == at_once
    assert (["PostgreSQL is available, but another transaction is in the way: lost"], 1) == (
        recorder.outages,
        len(recorder.recoveries),
    )


def test_a_held_lock_is_waited_for(recorder, other):
    other.execute(text("LOCK TABLE trades"))

    def impatient(connection):
        connection.execute(text("SET LOCAL lock_timeout = '20ms'"))
        insert(connection)

    def patient(connection):
        other.rollback()
        return insert(connection)

    assert "inserted" == recorder.run_works(impatient, impatient, patient)


def test_a_held_lock_is_not_reported_as_an_unavailable_server(recorder, other):
    other.execute(text("LOCK TABLE trades"))
    recorder.at_outage = other.rollback

    def impatient(connection):
        connection.execute(text("SET LOCAL lock_timeout = '20ms'"))
        return insert(connection)

    recorder.run_works(*[impatient] * (module.IMMEDIATE_RETRIES + 2))

    reason = "PostgreSQL is available, but another transaction is in the way: the tables are locked: process "
    assert [True] == [each.startswith(reason) and ", other, in a" in each for each in recorder.outages]


def test_rows_that_vanished_are_a_lost_race_too(recorder):
    def vanished(connection):
        raise RowsVanished("gone")

    assert "inserted" == recorder.run_works(vanished, insert)
    assert [] == recorder.outages


def too_slow(connection):
    connection.execute(text("SET LOCAL statement_timeout = '20ms'"))
    connection.execute(text("SELECT pg_sleep(30)"))


def test_what_the_server_ends_for_its_length_is_too_much(recorder):
    with pytest.raises(TransactionTooSlow):
        recorder.run_works(too_slow)

    assert ("inserted", []) == (recorder.run_works(insert), recorder.outages)


def test_what_cannot_be_made_smaller_waits(recorder):
    tries = iter([too_slow, too_slow, insert])

    assert "inserted" == recorder.connection.retry_forever(lambda: recorder.connection.run_in_transaction(next(tries)))
    reason = "PostgreSQL took too long: canceling statement due to statement timeout"
    assert ([reason], 1) == (recorder.outages, len(recorder.recoveries))


def set_for_database(connection, setting, value):
    """Set a default for new sessions, as an administrator may."""
    name = connection.scalar(text("SELECT current_database()"))
    connection.execute(text(f"ALTER DATABASE {name} SET {setting} = '{value}'"))
    connection.commit()


def test_a_statement_timeout_that_is_too_short_to_connect_is_named(recorder, other):
    """Once it is open, a session has its own."""
    set_for_database(other, "statement_timeout", "1ms")
    recorder.at_outage = lambda: set_for_database(other, "statement_timeout", "0")
    # PostgreSQL connects in less time now and then.
    for _ in range(100):
        recorder.connection.retry_forever(recorder.connection.connect)
        recorder.connection.close()
        if recorder.outages:
            break

    assert [
        "PostgreSQL took too long: canceling statement due to statement timeout; "
        "check statement_timeout of the role and the database"
    ] == recorder.outages


def test_a_refusal_of_the_data_is_the_callers(recorder):
    """A batch refuses single records itself; any other data error is raised."""
    with pytest.raises(DBAPIError, match="TRADE_ID"):
        recorder.run_works(lambda connection: insert(connection, trade("a b")))


def test_a_missing_table_is_reported_with_advice(recorder, other):
    other.execute(text("ALTER TABLE trades RENAME TO elsewhere"))
    other.commit()

    with pytest.raises(ConfigurationError, match="tradepipe migrate upgrade"):
        recorder.run_works(insert)


def test_a_database_without_our_tables_is_reported(database):
    recorder = OutageRecorder(database)

    with pytest.raises(DatabaseOutdated):
        recorder.connection.retry(recorder.connection.connect)


def test_a_permanent_refusal_of_the_first_connection_is_reported(migrated):
    recorder = OutageRecorder(f"{migrated}_missing")

    with pytest.raises(ConfigurationError, match="does not exist; create it, or check the name in the database URL"):
        recorder.connection.retry(recorder.connection.connect)


def test_a_first_connection_to_an_unavailable_server_is_retried(migrated):
    server, _, name = migrated.rpartition("/")
    with Proxy(int(server.rpartition(":")[2])) as proxy:
        port = proxy.port
    recorder = OutageRecorder(f"{server.rpartition(':')[0]}:{port}/{name}", wait=60)
    threading.Timer(0.3, recorder.connection.stop).start()

    with pytest.raises(StopRequested):
        recorder.connection.retry(recorder.connection.connect)

    assert "refused" in recorder.outages[0]


@pytest.fixture
def administrator(migrated):
    """Connect to another database of the server, with autocommit."""
    with create_engine_for(f"{migrated.rpartition('/')[0]}/postgres", application_name="admin").connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def test_after_a_success_every_refusal_is_an_outage(recorder, migrated, administrator):
    """Even that the database does not exist: a restore may be under way."""
    name = migrated.rpartition("/")[2]
    recorder.run_works(insert)
    recorder.connection.close()
    administrator.execute(text(f"ALTER DATABASE {name} RENAME TO {name}_away"))
    recorder.at_outage = lambda: administrator.execute(text(f"ALTER DATABASE {name}_away RENAME TO {name}"))

    assert "inserted" == recorder.run_works(*[lambda connection: insert(connection, trade("T2"))] * 2)
    assert "does not exist" in recorder.outages[0]


def test_a_stop_ends_a_wait(migrated):
    recorder = OutageRecorder(migrated, wait=120)
    threading.Timer(0.3, recorder.connection.stop).start()
    began = time.monotonic()

    with pytest.raises(StopRequested):
        recorder.run_works(end_itself, insert)

    assert time.monotonic() - began < 100
    recorder.connection.close()


def test_after_a_stop_what_runs_may_finish(recorder, other):
    recorder.connection.stop()

    assert "inserted" == recorder.run_works(insert)


def test_a_cut_undoes_what_runs(recorder, other):
    def slow(connection):
        insert(connection)
        threading.Timer(0.2, recorder.connection.abort).start()
        connection.execute(text("SELECT pg_sleep(10)"))

    recorder.connection.stop()
    with pytest.raises(StopRequested):
        recorder.run_works(slow)

    assert 0 == count(other, TRADES)


def test_a_cut_with_nothing_to_cut_does_nothing(recorder):
    recorder.connection.abort()
    recorder.run_works(insert)
    recorder.connection.abort()

    recorder.run_works(run("SELECT 1"))
    assert [] == recorder.outages


def test_it_may_be_closed_twice_and_used_again(recorder):
    recorder.connection.close()
    recorder.run_works(insert)
    recorder.connection.close()
    recorder.connection.close()

    assert 1 == recorder.run_works(lambda connection: connection.scalar(text("SELECT count(*) FROM trades")))


def test_a_reset_connection_is_replaced(migrated):
    server, _, name = migrated.rpartition("/")
    with Proxy(int(server.rpartition(":")[2])) as proxy:
        recorder = OutageRecorder(f"{server.rpartition(':')[0]}:{proxy.port}/{name}")

        def reset(connection):
            insert(connection)
            proxy.reset()
            connection.execute(text("SELECT 1"))

        assert "inserted" == recorder.run_works(reset, insert)
        recorder.connection.close()
