"""Which trades of one key are the same, and which collide: NULL is a content like any other."""

from decimal import Decimal

import pytest

from tests.postgres import batches
from tests.postgres.batches import connected, counts, execute, log, refused, trade, trades
from tradepipe.trade.record import Code

WITHOUT = trade()
WITH = trade(notional=Decimal("1000000.0000"), currency="EUR")


@pytest.fixture
def connection(migrated):
    with connected(migrated) as connection:
        yield connection


@pytest.fixture(params=["a whole batch", "a batch that is halved"])
def rest(request, connection):
    """Return trades besides the tested one: if the database refuses one of them, the batch is bisected."""
    if request.param == "a whole batch":
        return []
    execute(connection, "ALTER TABLE trades ADD CONSTRAINT their_check CHECK (book_id <> 'BAD')")
    return [trade("X", book_id="BAD")]


@pytest.mark.parametrize(("first", "second"), [(WITHOUT, WITH), (WITH, WITHOUT)], ids=["NULL first", "NULL second"])
def test_a_trade_without_an_amount_collides_with_one_of_its_key_that_has_it(connection, rest, first, second):
    batches.store(connection, *log(first))

    stored = batches.store(connection, *log(second, *rest, first=1))

    assert (0, 0, 1 + len(rest)) == counts(stored)
    assert [Code.VERSION_COLLISION] == refused(connection)[1]
    assert [first] == trades(connection)


def test_two_trades_of_one_key_without_an_amount_are_the_same(connection, rest):
    batches.store(connection, *log(WITHOUT))

    assert (0, 1, len(rest)) == counts(batches.store(connection, *log(WITHOUT, *rest, first=1)))
