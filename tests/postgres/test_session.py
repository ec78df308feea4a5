"""The connection on which batches are stored: what is set up on it."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.postgres.batches import connected, count, execute
from tradepipe.errors import DatabaseOutdated
from tradepipe.postgres import session
from tradepipe.postgres.copy import STAGING
from tradepipe.postgres.session import create_engine_for

APPLICATION = "test-session"


def connections(database):
    """How many sessions of ours the server has."""
    with create_engine_for(database, application_name="watch").connect() as watching:
        return watching.scalar(
            text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name"), {"name": APPLICATION}
        )


def test_every_wait_has_an_end_and_each_its_own(migrated):
    """A lock, a statement, an idle transaction, a frozen server: each ends before the next could be meant."""
    with connected(migrated) as connection:
        limits = [
            connection.scalar(text("SELECT extract(epoch FROM current_setting(:name)::interval)"), {"name": name})
            for name in ("lock_timeout", "statement_timeout")
        ]

    assert [5, 15] == limits
    assert limits[-1] < session.CLIENT_DEADLINE


def test_the_staging_table_is_there_and_empty(migrated):
    with connected(migrated) as connection:
        assert 0 == count(connection, STAGING)


def test_two_sessions_stage_apart(migrated):
    with connected(migrated) as one, connected(migrated) as other:
        assert [0, 0] == [count(connection, STAGING) for connection in (one, other)]


def test_a_database_without_tables_is_told_and_left(database):
    with pytest.raises(DatabaseOutdated, match="tradepipe migrate upgrade"):
        session.open_session(create_engine_for(database, application_name=APPLICATION))

    assert 0 == connections(database)


def test_setting_up_has_a_deadline_too(migrated, monkeypatch):
    """A server may freeze at any moment; here the version table is locked."""
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 0.3)
    with create_engine_for(migrated, application_name="watch").connect() as locking:
        locking.execute(text("LOCK TABLE tradepipe_revision"))

        with pytest.raises(DBAPIError) as raised:
            session.open_session(create_engine_for(migrated, application_name=APPLICATION))

    assert raised.value.orig.pgcode is None


def test_a_table_of_that_name_in_the_database_is_not_in_the_way(migrated):
    with connected(migrated) as connection:
        execute(connection, "CREATE TABLE public.tradepipe_staging (kept int)")
    with connected(migrated) as connection:
        assert 0 == count(connection, STAGING)
