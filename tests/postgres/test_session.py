"""The session in which batches are stored."""

import pytest
from sqlalchemy import text

from tests.postgres.batches import connected, count, execute
from tradepipe.errors import DatabaseOutdated
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


def test_the_staging_table_exists_and_is_empty(migrated):
    with connected(migrated) as connection:
        assert 0 == count(connection, STAGING)


def test_two_sessions_have_their_own_staging_tables(migrated):
    with connected(migrated) as one, connected(migrated) as other:
        assert [0, 0] == [count(connection, STAGING) for connection in (one, other)]


def test_a_database_without_tables_is_reported_and_the_connection_closed(database):
    with pytest.raises(DatabaseOutdated, match="tradepipe migrate upgrade"):
        session.open_session(create_engine_for(database, application_name=APPLICATION))

    assert 0 == connections(database)


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
