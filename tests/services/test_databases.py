"""Databases that are used again by another test."""

from contextlib import closing

import psycopg2
import pytest

from tests.embedded.programs import ask
from tests.services.databases import EMPTY, MIGRATED, Databases

pytestmark = pytest.mark.slow

INSERT = (
    "INSERT INTO sink_offsets (group_id, topic, partition, epoch, next_offset, owner) VALUES ('g', 't', 0, 1, 7, '')"
)
CHANGES = [
    "ALTER TABLE trades ADD COLUMN more integer",
    'ALTER TABLE trades DROP CONSTRAINT "NOTIONAL"',
    "ALTER TABLE trades RENAME TO others",
    "ALTER TABLE trades SET (fillfactor = 50)",
    "CREATE SCHEMA another",
    "CREATE TABLE another (number integer)",
    "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "DROP VIEW current_trades",
    "CREATE RULE none AS ON INSERT TO trades DO INSTEAD NOTHING",
    "ALTER TABLE trades DROP CONSTRAINT trades_pkey",
    "DROP TABLE tradepipe_revision",
    "GRANT SELECT ON trades TO public",
    "GRANT SELECT (book_id) ON trades TO public",
    "UPDATE tradepipe_revision SET version_num = '0001'",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''8MB''', current_database()); END $$",
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 3', current_database()); END $$",
]


@pytest.fixture(scope="module")
def own(session_services):
    databases = Databases(session_services.postgres)
    yield databases
    databases.close()


def change(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


def oid(url: str) -> int:
    return ask(url, "SELECT oid FROM pg_database WHERE datname = current_database()")[0][0]


def test_a_database_is_used_again_by_another_name_and_without_its_rows(own):
    first = own.create(MIGRATED)
    used = oid(first)
    change(first, INSERT)
    own.take_back(first)
    again = own.create(MIGRATED)

    assert used == oid(again)
    assert first != again
    assert [] == ask(again, "SELECT * FROM sink_offsets")
    own.take_back(again)


def test_a_session_that_a_test_left_open_is_ended(own):
    url = own.create(EMPTY)
    with closing(psycopg2.connect(url)) as left:
        own.take_back(url)

        with pytest.raises(psycopg2.OperationalError):
            left.cursor().execute("SELECT 1")
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        psycopg2.connect(url)


@pytest.mark.parametrize("statement", CHANGES)
def test_a_database_whose_definitions_were_changed_is_not_used_again(own, statement):
    url = own.create(MIGRATED)
    changed = oid(url)
    change(url, statement)
    own.take_back(url)
    other = own.create(MIGRATED)

    assert changed != oid(other)
    own.take_back(other)
