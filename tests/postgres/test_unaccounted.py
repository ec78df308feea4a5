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
