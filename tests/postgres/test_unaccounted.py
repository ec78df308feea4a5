"""No batch is committed whose records do not add up."""

import pytest

from tests.postgres.batches import batch, claim, connected, count, execute, log, next_offset, trade
from tradepipe.postgres.batch import store
from tradepipe.postgres.failures import RowsVanished
from tradepipe.postgres.tables import TRADES

# As partitioning by inheritance does: the row is stored, and INSERT says that it stored none.
ROUTING = """
    CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF pg_trigger_depth() > 1 THEN RETURN NEW; END IF; INSERT INTO trades SELECT NEW.*; RETURN NULL; END $$;
    CREATE TRIGGER route BEFORE INSERT ON trades FOR EACH ROW WHEN (NEW.book_id = 'ROUTED') EXECUTE FUNCTION route()
"""


@pytest.fixture
def connection(migrated):
    with connected(migrated) as connection:
        yield connection


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "among others"])
def test_a_trade_that_a_trigger_stores_elsewhere_is_reported(connection, others):
    """Otherwise inserted, duplicate and refused records would not add up to those read."""
    execute(connection, ROUTING)
    with connection.begin():
        claimed = claim(connection)
    entries = log(*(trade(f"T{number}") for number in range(others)), trade("R", book_id="ROUTED"))

    with pytest.raises(RowsVanished), connection.begin():
        store(connection, batch(claimed, entries=entries))

    assert (0, 0) == (next_offset(connection), count(connection, TRADES))


DISCARDING = """
    CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER discard BEFORE INSERT ON trades FOR EACH ROW WHEN (NEW.book_id = 'GONE') EXECUTE FUNCTION discard()
"""


@pytest.mark.parametrize(
    "refusing",
    [
        "ALTER TABLE trades ADD CONSTRAINT no_bad CHECK (book_id <> 'BAD')",
        "CREATE UNIQUE INDEX one_bad ON trades (book_id) WHERE book_id = 'BAD'",
    ],
    ids=["check", "unique index"],
)
def test_a_trade_that_a_trigger_discards_is_named_beside_one_that_the_database_refuses(connection, refusing):
    execute(connection, DISCARDING)
    execute(connection, refusing)
    with connection.begin():
        claimed = claim(connection)
    books = {"T1": "BAD", "T2": "GONE", "T3": "BAD", "T4": "B1"}
    entries = log(*(trade(trade_id, book_id=book_id) for trade_id, book_id in books.items()))

    with pytest.raises(RowsVanished, match="'T2'.* vanished"), connection.begin():
        store(connection, batch(claimed, entries=entries))

    assert (0, 0) == (next_offset(connection), count(connection, TRADES))
