"""The sessions that a message about a held lock names."""

import re
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tradepipe.errors import DatabaseUnavailable
from tradepipe.postgres import offsets, refusals
from tradepipe.postgres.failures import translate
from tradepipe.postgres.locks import name_lock_holders
from tradepipe.postgres.session import create_engine_for, open_session, open_transaction

IN_THE_WAY = "PostgreSQL is available, but another transaction is in the way: "
HOLDER = r"process \d+ of user postgres, a-report, in a transaction since \d{4}-"


@contextmanager
def held(database, statement):
    """A session that holds the locks of a statement within the block."""
    with create_engine_for(database, application_name="a-report").connect() as holding:
        holding.execute(text(statement))
        yield


def read_refusals(database):
    with open_transaction(database, application_name="tradepipe-dlq", seconds=1) as connection:
        refusals.list_newest(connection, refusals.DeadLetterFilter(), 1)


def read_offsets(database):
    with open_transaction(database, application_name="tradepipe-offsets", seconds=1) as connection:
        offsets.list_offsets(connection, "group", "topic")


@pytest.mark.parametrize(
    ("table", "read"),
    [
        ("trade_refusals", read_refusals),
        ("sink_offsets", read_offsets),
        ("tradepipe_revision", read_refusals),
        ("tradepipe_revision", read_offsets),
    ],
)
def test_a_command_that_cannot_read_a_locked_table_names_the_session_that_locks_it(migrated, table, read):
    with held(migrated, f"LOCK TABLE {table}"), pytest.raises(DatabaseUnavailable) as raised:
        read(migrated)

    assert re.match(f"{IN_THE_WAY}the tables are locked: {HOLDER}", str(raised.value))
    assert raised.value.service is None


@pytest.fixture
def impatient(migrated):
    """A session that waits for no lock."""
    with open_session(create_engine_for(migrated, application_name="test")) as connection:
        connection.exec_driver_sql("SET lock_timeout = '1ms'")
        connection.commit()
        yield connection


def refuse(connection, statement):
    """Run a statement that waits for a lock, and return the message."""
    with pytest.raises(DBAPIError) as raised, name_lock_holders(connection), connection.begin():
        connection.exec_driver_sql(statement)
    return str(translate(raised.value, connected_before=True))


WRITE = "UPDATE sink_offsets SET owner = owner"


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE"])
def test_who_keeps_all_writers_out_is_named_and_who_only_reads_is_not(migrated, impatient, mode):
    reader = create_engine_for(migrated, application_name="a-reader")
    with reader.connect() as reading, held(migrated, f"LOCK TABLE sink_offsets IN {mode} MODE"):
        reading.execute(text("SELECT FROM trades"))
        refused = refuse(impatient, WRITE)

    assert re.match(f"{IN_THE_WAY}the tables are locked: {HOLDER}", refused)
    assert "a-reader" not in refused


def test_who_locks_a_row_is_named_as_the_probable_holder(migrated, impatient):
    impatient.exec_driver_sql(
        "INSERT INTO sink_offsets (group_id, topic, partition, epoch, next_offset, owner) "
        "VALUES ('g', 't', 0, 1, 0, 'o')"
    )
    impatient.commit()

    with held(migrated, "SELECT FROM sink_offsets FOR UPDATE"):
        refused = refuse(impatient, WRITE)

    assert re.match(f"{IN_THE_WAY}a row is locked, probably by {HOLDER}", refused)


def test_another_failure_has_no_note(impatient):
    with pytest.raises(DBAPIError) as raised, name_lock_holders(impatient), impatient.begin():
        impatient.exec_driver_sql("SELECT FROM no_such_table")

    assert not hasattr(raised.value, "__notes__")
