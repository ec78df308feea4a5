"""Trades made for tests."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from tradepipe import violations
from tradepipe.testing import TradeFactory
from tradepipe.trade.model import PRIMARY_KEY, Trade


def test_a_trade_is_valid(make_trade):
    assert () == violations(make_trade())


def test_each_trade_has_a_different_key(make_trade):
    made = [make_trade() for _ in range(1_000)]

    assert 1_000 == len({tuple(getattr(trade, field) for field in PRIMARY_KEY) for trade in made})


def test_the_same_calls_make_the_same_trades():
    one, other = TradeFactory(), TradeFactory()

    assert [one(), one(version=2)] == [other(), other(version=2)]


def test_ids_are_in_the_order_of_the_calls(make_trade):
    """As `produced` gives them."""
    ids = [make_trade().trade_id for _ in range(200)]

    assert sorted(ids) == ids


@pytest.mark.parametrize("field", Trade._fields)
def test_any_field_can_be_given(make_trade, field):
    """Of any type: a test may want to see what its service does with it."""
    given = object()

    assert given is getattr(make_trade(**{field: given}), field)


def test_a_field_that_a_trade_has_not_is_named_with_those_it_has(make_trade):
    with pytest.raises(TypeError, match="a Trade has no field 'trade'; it has trade_id, version, "):
        make_trade(trade="T7")


@pytest.mark.parametrize(
    "created_at",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(2400, 2, 29, tzinfo=UTC),
        datetime(2400, 2, 29, 23, tzinfo=timezone(-timedelta(hours=8))),
        datetime(9999, 12, 31, 23, 59, tzinfo=UTC),
    ],
    ids=str,
)
def test_a_trade_made_at_any_time_is_valid(make_trade, created_at):
    assert () == violations(make_trade(created_at=created_at))


def test_a_given_maturity_date_stays(make_trade):
    trade = make_trade(maturity_date=date(2020, 1, 1))

    assert ["MATURITY_DATE"] == [violation.code for violation in violations(trade)]
