"""A trade is a value."""

from datetime import UTC, date, datetime

import pytest

from tradepipe.contract.trade import Trade

TRADE = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=datetime(2025, 6, 1, tzinfo=UTC))


def test_two_trades_of_the_same_content_are_one_value():
    again = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=datetime(2025, 6, 1, tzinfo=UTC))

    assert again == TRADE
    assert {again} == {TRADE}


def test_a_trade_cannot_be_changed():
    with pytest.raises(AttributeError):
        TRADE.version = 2


def test_a_new_version_leaves_the_old_one_as_it_was():
    assert (1, 2) == (TRADE.version, TRADE._replace(version=2).version)
