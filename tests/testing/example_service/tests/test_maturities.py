"""Maturities are read out of the records of a topic."""

from datetime import date
from importlib import resources

import pytest
from booking.maturities import SCHEMA, Maturity, Reader, last_days

from tradepipe import SchemaRegistry
from tradepipe.testing import assert_compatible


@pytest.fixture
def reader(tradepipe_registry):
    with SchemaRegistry(tradepipe_registry.url) as registry:
        yield Reader(registry)


def test_a_book_ends_with_the_last_of_its_trades(reader, publish, make_trade, produced):
    publish(
        make_trade(book_id="RATES", maturity_date=date(2031, 3, 20)),
        make_trade(book_id="RATES", maturity_date=date(2030, 6, 1)),
        make_trade(book_id="FX", maturity_date=date(2026, 1, 9)),
    )

    maturities = [reader(record.value) for record in produced.records()]

    assert {"RATES": date(2031, 3, 20), "FX": date(2026, 1, 9)} == last_days(maturities)


def test_our_schema_reads_every_version_of_the_trade_schema():
    assert_compatible(resources.files("tradepipe.schemas.trade"), SCHEMA, level="BACKWARD_TRANSITIVE")


def test_our_reader_reads_every_version_that_was_ever_written(reader, assert_every_version_decodes):
    assert_every_version_decodes(
        reader, expected=lambda trade: Maturity(trade.trade_id, trade.book_id, trade.maturity_date)
    )
