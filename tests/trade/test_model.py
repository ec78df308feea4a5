"""Trades as values."""

import doctest
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tradepipe.trade import model as module
from tradepipe.trade.model import Side, Trade

TRADE = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=datetime(2025, 6, 1, tzinfo=UTC))


def test_two_trades_of_the_same_content_are_one_value():
    again = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=datetime(2025, 6, 1, tzinfo=UTC))

    assert again == TRADE
    assert {again} == {TRADE}


def test_equal_amounts_are_equal_content_regardless_of_trailing_zeros():
    short, long = (TRADE._replace(notional=Decimal(it), currency="EUR") for it in ("1.5", "1.5000"))

    assert short == long
    assert {short} == {long}


def test_side_and_amount_have_defaults():
    assert (Side.UNKNOWN, None, None) == TRADE[6:]


def test_the_examples_in_the_docstrings_hold():
    assert 0 == doctest.testmod(module).failed


def test_a_trade_is_immutable():
    with pytest.raises(AttributeError):
        TRADE.version = 2


def test_a_new_version_does_not_change_the_old_one():
    assert (1, 2) == (TRADE.version, TRADE._replace(version=2).version)
