"""Exceptions where a program handles them: in another process, and in a log."""

import copy
import inspect
import pickle

import pytest

from tradepipe import errors, violations
from tradepipe.errors import (
    DeliveryFailed,
    InvalidTrade,
    SchemaIdNotYetKnown,
    TooManyRefusals,
    TradepipeError,
    UndecodableRecord,
)
from tradepipe.testing import TradeFactory
from tradepipe.trade.record import Violation

TRADE = TradeFactory()(version=0)
VIOLATION = Violation("VERSION", "version is 0, which is less than 1")

WITH_ATTRIBUTES = [
    InvalidTrade(TRADE, violations(TRADE)),
    DeliveryFailed(refused=[(TRADE, "too large")], unknown=[]),
    UndecodableRecord(VIOLATION, schema_id=3),
    TooManyRefusals("too many refusals", partition=2),
    SchemaIdNotYetKnown(7, retry_after=5.0),
]
CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, TradepipeError)]
OTHERS = [kind("the reason") for kind in CLASSES if kind not in map(type, WITH_ATTRIBUTES)]


@pytest.mark.parametrize("error", [*WITH_ATTRIBUTES, *OTHERS], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "transfer", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickle", "copy"]
)
def test_an_error_passes_to_another_process(error, transfer):
    """A multiprocessing.Pool waits forever for a result that it cannot unpickle."""
    received = transfer(error)

    assert (type(error), str(error), vars(error)) == (type(received), str(received), vars(received))


def test_the_message_of_an_invalid_trade_is_short_even_if_its_id_is_not():
    trade = TRADE._replace(trade_id="T" * 1_000_000)

    assert len(str(InvalidTrade(trade, violations(trade)))) < 1_000
