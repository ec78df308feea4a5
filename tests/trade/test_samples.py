"""Sample trades and bad records."""

import doctest
from itertools import islice

import pytest

from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.history import current
from tradepipe.registry.serde import frame, unframe
from tradepipe.trade import samples
from tradepipe.trade.model import Side
from tradepipe.trade.record import CODES, Code
from tradepipe.trade.rules import violations
from tradepipe.trade.samples import bad_records, trades

KINDS = 15
NEED_MORE_THAN_A_RECORD = {
    "SIDE",  # of a value that is encoded: every symbol in a record is a Side
    Code.VERSION_COLLISION,
    Code.STALE_VERSION,
    Code.UNREADABLE,
    Code.TOO_LARGE,
    Code.DATABASE_REFUSED,
}


def framed(trade):
    return frame(1, Encoder().encode(trade))


def test_the_examples_in_the_docstrings_hold():
    assert 0 == doctest.testmod(samples).failed


def test_the_same_seed_makes_the_same_trades():
    assert list(islice(trades(7), 100)) == list(islice(trades(7), 100))


def test_every_trade_is_valid():
    assert [] == [trade for trade in islice(trades(1), 2_000) if violations(trade)]


def test_the_versions_of_a_trade_come_in_ascending_order_from_1():
    latest: dict[str, int] = {}
    for trade in islice(trades(2), 2_000):
        assert latest.get(trade.trade_id, 0) + 1 == trade.version
        latest[trade.trade_id] = trade.version
    assert max(latest.values()) > 3


def test_some_trades_have_an_amount_and_some_have_not():
    made = list(islice(trades(3), 2_000))

    assert {*Side} == {trade.side for trade in made}
    assert 1_200 < sum(trade.notional is not None for trade in made) < 1_800


def test_seeds_share_no_trade():
    ids = [{trade.trade_id for trade in islice(trades(seed), 2_000)} for seed in (-1, 0, 1, 11, 12345)]

    assert sum(map(len, ids)) == len(set().union(*ids))


def test_bad_records_are_the_same_for_the_same_seed():
    assert list(islice(bad_records(7, framed), 30)) == list(islice(bad_records(7, framed), 30))


def test_bad_records_come_in_every_kind_and_with_every_code_a_record_alone_can_have():
    codes = {record.code for record in islice(bad_records(3, framed), KINDS)}

    assert set(CODES) - NEED_MORE_THAN_A_RECORD == codes


@pytest.mark.parametrize("record", tuple(islice(bad_records(4, framed), 2 * KINDS)), ids=lambda record: record.kind)
def test_a_bad_record_is_refused_by_its_code_alone(record):
    assert [record.code] == codes_of(record)


def codes_of(record):
    """The codes a stage would refuse a record by."""
    decoder = Decoder(current().text, 1)
    try:
        schema_id, body = unframe(record.value)
        if schema_id != 1:
            return [Code.UNKNOWN_SCHEMA]
        trade = decoder.decode(body)
        other_key = [] if trade.trade_id.encode() == record.key else [Code.RECORD_KEY]
        return [violation.code for violation in violations(trade)] + other_key
    except UndecodableRecord as error:
        return [error.violation.code]
