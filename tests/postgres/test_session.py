"""The session in which batches are stored."""

import pytest
from sqlalchemy import text

from tests.eventually import eventually
from tests.postgres.batches import connected, count, execute
from tradepipe.errors import ConfigurationError, DatabaseOutdated
from tradepipe.postgres import session
from tradepipe.postgres.copy import STAGING
from tradepipe.postgres.deadline import AnswerTimeout
from tradepipe.postgres.session import create_engine_for

APPLICATION = "test-session"


def connections(database):
    """Count the sessions of this test on the server."""
    with create_engine_for(database, application_name="watch").connect() as watching:
        return watching.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name"), {"name": APPLICATION}
        )


def test_the_timeouts_of_lock_statement_and_client_increase(migrated):
    """Their errors distinguish a held lock, a large statement and a stopped server."""
    with connected(migrated) as connection:
        limits = [
            connection.scalar(text("SELECT extract(epoch FROM current_setting(:name)::interval)"), {"name": name})
            for name in ("lock_timeout", "statement_timeout")
        ]

    assert [5, 15] == limits
    assert limits[-1] < session.CLIENT_DEADLINE


def test_timeouts_of_the_database_do_not_hold_for_batches(migrated):
    """They would end each try of a large batch; the client's deadline leads to a smaller one."""
    with create_engine_for(migrated, application_name="watch").connect() as watching:
        name = watching.scalar(text("SELECT current_database()"))
        timeouts = watching.scalars(
            # The last one since PostgreSQL 17.
            text("SELECT name FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')")
        ).all()
        for timeout in timeouts:
            watching.execute(text(f"ALTER DATABASE {name} SET {timeout} = '100ms'"))
        watching.commit()

    with connected(migrated) as connection, connection.begin():
        connection.execute(text("SELECT pg_sleep(0.2)"))
        assert "100ms" not in [connection.scalar(text(f"SHOW {timeout}")) for timeout in timeouts]


def test_an_idle_timeout_of_the_url_that_would_end_sessions_is_refused(migrated):
    option = "options=-cidle_in_transaction_session_timeout%3D{}"
    url = f"{migrated}{'&' if '?' in migrated else '?'}{option}"
    with pytest.raises(ConfigurationError, match="PGOPTIONS set idle_in_transaction_session_timeout to 10 ms"):
        session.open_session(create_engine_for(url.format("10"), application_name=APPLICATION))

    for allowed in ("0", "1s"):
        session.open_session(create_engine_for(url.format(allowed), application_name=APPLICATION)).close()


def test_the_staging_table_exists_and_is_empty(migrated):
    with connected(migrated) as connection:
        assert 0 == count(connection, STAGING)


def test_two_sessions_have_their_own_staging_tables(migrated):
    with connected(migrated) as one, connected(migrated) as other:
        assert [0, 0] == [count(connection, STAGING) for connection in (one, other)]


def test_a_database_without_tables_is_reported_and_the_connection_closed(database):
    with pytest.raises(DatabaseOutdated, match="tradepipe migrate upgrade"):
        session.open_session(create_engine_for(database, application_name=APPLICATION))

    # The server's process may outlive the connection by a moment.
    eventually(lambda: connections(database) == 0)


def test_opening_a_session_has_a_deadline(migrated, monkeypatch):
    """Here the version table is locked, and the server would wait."""
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 0.3)
    with create_engine_for(migrated, application_name="watch").connect() as locking:
        locking.execute(text("LOCK TABLE tradepipe_revision"))

        with pytest.raises(AnswerTimeout):
            session.open_session(create_engine_for(migrated, application_name=APPLICATION))


def test_a_table_with_the_name_of_the_staging_table_does_not_matter(migrated):
    with connected(migrated) as connection:
        execute(connection, "CREATE TABLE public.tradepipe_staging (kept int)")
    with connected(migrated) as connection:
        assert 0 == count(connection, STAGING)
