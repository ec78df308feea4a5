"""Events of a writer whose COMMIT is not answered, or whose partition is claimed in between."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tests.pipeline.test_sink_writer import WriterWithEvents
from tests.postgres import batches
from tests.postgres.batches import connected, log, trade, trades
from tradepipe.pipeline.sink_writer import DatabaseDown
from tradepipe.postgres import migrate, session
from tradepipe.postgres.batch import BatchResult
from tradepipe.postgres.sink_store import OwnershipLost

# COMMIT waits for the holder of the lock.
HELD_UP = """
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON trades
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()
"""
# What more than two rows would take is too much for the server.
TOO_MUCH = """
    CREATE FUNCTION too_much() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF (SELECT count(*) FROM inserted) > 2 THEN RAISE EXCEPTION 'slow' USING ERRCODE = '57014'; END IF;
    RETURN NULL; END $$;
    CREATE TRIGGER too_much AFTER INSERT ON trades REFERENCING NEW TABLE AS inserted
        FOR EACH STATEMENT EXECUTE FUNCTION too_much()
"""
# As if another sink claimed the partition at the moment at which the offset is moved for the first time.
TAKEN = """
    CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.epoch := NEW.epoch + 1; RETURN NEW; END $$;
    CREATE TRIGGER take BEFORE UPDATE ON sink_offsets FOR EACH ROW
        WHEN (OLD.partition = 0 AND OLD.next_offset < NEW.next_offset) EXECUTE FUNCTION take()
"""


@pytest.fixture
def connection(database):
    migrate.upgrade(database)
    with connected(database) as connection:
        yield connection


@pytest.fixture
def sink_writer(connection, database) -> Iterator[WriterWithEvents]:
    sink_writer = WriterWithEvents(database)
    sink_writer.writer.start()
    yield sink_writer
    sink_writer.writer.stop(5.0)


def test_a_commit_that_takes_too_long_does_not_count_as_rolled_back(sink_writer, connection, database, monkeypatch):
    """The connection was cut and the COMMIT may still take effect, so the stored offsets decide."""
    batches.execute(connection, HELD_UP)
    claims = sink_writer.claim(0)
    with connected(database) as holder:
        batches.execute(holder, "SELECT pg_advisory_lock(7)")
        monkeypatch.setattr(session, "CLIENT_DEADLINE", 0.5)
        sink_writer.store(*claims, entries=log(trade()))
        sink_writer.until(lambda: sink_writer.of(DatabaseDown))
        monkeypatch.undo()
        batches.execute(holder, "SELECT pg_advisory_unlock(7)")
        sink_writer.rest()

    # Not that the server closed the connection: we did.
    assert [DatabaseDown("PostgreSQL is unavailable: no answer to COMMIT within 0.5 s")] == sink_writer.of(DatabaseDown)
    assert ([(1, 0, 0)], []) == (
        [batches.counts(stored) for stored in sink_writer.of(BatchResult)],
        sink_writer.of(OwnershipLost),
    )
    assert ([trade()], 1) == (trades(connection), batches.next_offset(connection))


def test_the_end_of_an_ownership_is_reported_once_for_all_halves_of_a_batch(sink_writer, connection):
    """Of eight records that are stored by twos the first two go in; nothing else is tried under an ended ownership."""
    batches.execute(connection, TOO_MUCH)
    (first, second) = sink_writer.claim(0, 1)
    batches.execute(connection, TAKEN)
    entries = [
        *log(*(trade(f"T{number}") for number in range(4))),
        *log(trade("T4"), partition=1),
        *log(*(trade(f"T{number}") for number in range(5, 8)), first=4),
    ]

    sink_writer.store(first, second, entries=entries)
    sink_writer.rest()

    assert [OwnershipLost(first.ownership)] == sink_writer.of(OwnershipLost)
    assert ["T0", "T1", "T4"] == [each.trade_id for each in trades(connection)]
    assert [2, 1] == [batches.next_offset(connection, partition) for partition in (0, 1)]


def test_a_batch_that_commit_refused_and_a_race_rolled_back_is_stored_by_the_next_try(sink_writer, connection):
    """The refused COMMIT does not affect the later tries."""
    batches.execute(
        connection,
        """
        CREATE SEQUENCE tries;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          CASE nextval('tries')
            WHEN 1 THEN RAISE EXCEPTION 'no' USING ERRCODE = 'P0001';
            WHEN 2 THEN RAISE EXCEPTION 'lost' USING ERRCODE = '40001';
            ELSE RETURN NULL;
          END CASE;
        END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON trades
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
        """,
    )
    sink_writer.store(*sink_writer.claim(0), entries=log(trade()))
    sink_writer.rest()

    assert [(1, 0, 0)] == [batches.counts(stored) for stored in sink_writer.of(BatchResult)]
    assert [3] == [connection.scalar(text("SELECT last_value FROM tries"))]
