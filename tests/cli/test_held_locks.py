"""Commands that wait for a lock of a table: their messages name the session that holds it."""

import re
from contextlib import closing

import psycopg2
import pytest

from tests.cli.commands import run_command, running
from tradepipe.postgres import migrate

IN_THE_WAY = "PostgreSQL is available, but another transaction is in the way: "
LOCKED = r"the tables are locked: process \d+ of user postgres, a-report, in a transaction since \d{4}-"


def hold(database, table):
    """Open a session that locks a table until it is closed."""
    holder = psycopg2.connect(database, application_name="a-report")
    holder.cursor().execute(f"LOCK TABLE {table}")
    return closing(holder)


@pytest.mark.parametrize(
    ("name", "arguments", "table"),
    [
        ("dlq", ["ls"], "trade_refusals"),
        ("dlq", ["stats"], "tradepipe_revision"),
        ("sink", ["offsets", "show"], "sink_offsets"),
    ],
)
def test_a_command_that_waits_for_a_lock_does_not_call_the_database_unavailable(ready, name, arguments, table):
    with hold(ready["DATABASE_URL"], table):
        done = run_command(name, *arguments, "--deadline=4", env=ready)

    assert 75 == done.code
    assert "is unavailable" not in done.err
    last = done.err.splitlines()[-1]
    assert re.match(f"Error: {IN_THE_WAY}{LOCKED}", last)
    assert last.endswith("gave up after 4 s: increase --deadline")


def test_a_migration_that_waits_for_a_lock_does_not_call_the_database_unavailable(ready):
    migrate.downgrade(ready["DATABASE_URL"], "0001_trades")
    with hold(ready["DATABASE_URL"], "trades"):
        done = run_command("migrate", "upgrade", "--deadline=4", env=ready)

    assert 75 == done.code
    assert "is unavailable" not in done.err
    assert re.match(f"Error: {LOCKED}", done.err.splitlines()[-1])


def test_a_sink_that_waits_for_a_lock_at_its_start_warns_of_the_holder_and_continues_after_it(ready):
    assert 0 == run_command("produce", "--count=3", env=ready).code
    with hold(ready["DATABASE_URL"], "sink_offsets") as holder, running("sink", "--until-end", env=ready) as sink:
        sink.says("retrying: ")
        warning = next(line for line in sink.err.splitlines() if "retrying: " in line)
        holder.close()
        done = sink.end()

    assert 0 == done.code
    assert re.search(f" WARNING .*: retrying: {IN_THE_WAY}{LOCKED}", warning)
    assert "is unavailable" not in done.err
