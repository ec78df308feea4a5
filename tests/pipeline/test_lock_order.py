"""All sinks lock rows in one order, so that two of them wait for each other instead of deadlocking."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from tests.eventually import eventually
from tests.pipeline.test_sink_writer import WriterWithEvents
from tests.postgres import batches
from tests.postgres.batches import connected, log, next_offset, trade
from tradepipe.pipeline.sink_writer import ClaimGranted
from tradepipe.postgres import migrate
from tradepipe.postgres.batch import BatchResult
from tradepipe.postgres.offsets import ClaimResult

# Notes each row as it is locked: BEFORE triggers fire for rows that are there already too.
JOURNAL = """
    CREATE TABLE locked (number serial, of text, name text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO locked (of, name) VALUES (TG_TABLE_NAME, to_jsonb(NEW)->>TG_ARGV[0]); RETURN NEW; END $$;
    CREATE TRIGGER note BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION note('trade_id');
    CREATE TRIGGER note BEFORE UPDATE ON sink_offsets FOR EACH ROW EXECUTE FUNCTION note('partition')
"""
REFUSING = "ALTER TABLE trades ADD CONSTRAINT their_check CHECK (book_id <> 'BAD')"


@pytest.fixture
def connection(database):
    migrate.upgrade(database)
    with connected(database) as connection:
        yield connection


@pytest.fixture
def sink_writer(connection, database) -> Iterator[WriterWithEvents]:
    """Return a writer that owns four partitions."""
    sink_writer = WriterWithEvents(database)
    sink_writer.writer.start()
    sink_writer.claim(0, 1, 2, 3)
    yield sink_writer
    sink_writer.writer.stop(5.0)


@pytest.fixture
def claims(sink_writer) -> list[ClaimResult]:
    return [granted.result for granted in sink_writer.of(ClaimGranted)]


@pytest.fixture
def locked_names(claims, sink_writer, connection) -> Callable[[str], list[str]]:
    """Record the rows of a table that are locked from now on, in order."""
    batches.execute(connection, JOURNAL)

    def locked_names(table: str) -> list[str]:
        sink_writer.rest()
        with connection.begin():
            return list(
                connection.scalars(text("SELECT name FROM locked WHERE of = :table ORDER BY number"), {"table": table})
            )

    return locked_names


def test_partitions_are_claimed_in_order(sink_writer, locked_names):
    sink_writer.claim(2, 0, 3, 1)

    assert ["0", "1", "2", "3"] == locked_names("sink_offsets")


def test_the_offsets_of_a_batch_are_locked_in_order(sink_writer, claims, connection, database):
    """A sink that waits for partition 2 has locked 0 and 1, and not 3."""

    def unlocked():
        with connection.begin():
            query = "SELECT partition FROM sink_offsets ORDER BY partition FOR UPDATE SKIP LOCKED"
            return list(connection.scalars(text(query)))

    with connected(database) as other, other.begin():
        other.execute(text("SELECT FROM sink_offsets WHERE partition = 2 FOR UPDATE"))
        sink_writer.store(*(claims[partition] for partition in (3, 1, 2, 0)), entries=[], after=1)

        eventually(lambda: unlocked() == [3])
    sink_writer.rest()
    assert [1, 1, 1, 1] == [next_offset(connection, partition) for partition in range(4)]


def test_trades_go_in_by_their_keys_whatever_their_order_in_the_log(sink_writer, claims, locked_names):
    keys = [("T2", 1), ("T3", 1), ("T1", 2), ("T1", 1), ("T2", 1)]

    sink_writer.store(claims[0], entries=log(*(trade(*key) for key in keys)))

    assert ["T1", "T1", "T2", "T2", "T3"] == locked_names("trades")


def test_so_do_the_pieces_of_a_batch_of_which_a_trade_is_refused(sink_writer, claims, locked_names, connection):
    """What stays of the journal are the pieces that went in: of eight trades the first four, then two, then one."""
    batches.execute(connection, REFUSING)
    good = [trade(f"T{number}") for number in (4, 3, 2, 1, 6, 5, 7)]

    sink_writer.store(claims[0], entries=log(*good, trade("T8", book_id="BAD")))

    assert [f"T{number}" for number in range(1, 8)] == locked_names("trades")
    assert [(7, 0, 1)] == [batches.counts(stored) for stored in sink_writer.of(BatchResult)]
