"""Made-up trades and bad records."""

import doctest
from itertools import islice

import pytest

from tradepipe.contract import samples
from tradepipe.contract.history import current
from tradepipe.contract.refusal import Code
from tradepipe.contract.rules import violations
from tradepipe.contract.samples import bad_records, trades
from tradepipe.errors import UndecodableRecord
from tradepipe.wire.codec import Decoder, Encoder
from tradepipe.wire.framing import frame, unframe


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


def test_seeds_share_no_trade():
    ids = [{trade.trade_id for trade in islice(trades(seed), 2_000)} for seed in (-1, 0, 1, 11, 12345)]

    assert sum(map(len, ids)) == len(set().union(*ids))


def test_bad_records_are_the_same_for_the_same_seed():
    assert list(islice(bad_records(7, framed), 30)) == list(islice(bad_records(7, framed), 30))


def test_bad_records_come_in_every_kind_and_with_every_code_a_record_alone_can_have():
    codes = {record.code for record in islice(bad_records(3, framed), 11)}

    assert set(Code) - {Code.VERSION_COLLISION, Code.DATABASE_REFUSED} == codes


@pytest.mark.parametrize("record", tuple(islice(bad_records(4, framed), 22)), ids=lambda record: record.kind)
def test_a_bad_record_is_refused_by_its_code_alone(record):
    assert [record.code] == judged(record.value)


def judged(value):
    """The codes a stage would refuse a value by."""
    decoder = Decoder(current().text, 1)
    try:
        schema_id, body = unframe(value)
        if schema_id != 1:
            return [Code.UNKNOWN_SCHEMA]
        return [violation.code for violation in violations(decoder.decode(body))]
    except UndecodableRecord as error:
        return [error.violation.code]
