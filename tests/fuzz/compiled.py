"""Agreement of the compiled core with Python, where it is built."""

from typing import Final
from weakref import WeakKeyDictionary

from tradepipe._native import Executor
from tradepipe.codec.codec import Decoder
from tradepipe.codec.copy_rows import pack_row
from tradepipe.codec.fields import trade_codec
from tradepipe.codec.native import make_executor
from tradepipe.registry.serde import frame
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Record
from tradepipe.trade.records import Run
from tradepipe.trade.rules import violations

_ID: Final = 1
_HEADER: Final = frame(_ID, b"")
_executors: Final = WeakKeyDictionary[Decoder, Executor]()


def has_agreed(decoder: Decoder, body: bytes, trade: Trade | None) -> bool:
    """Return whether the compiled core makes of a body what Python does; `trade` is what Python read."""
    executor = _executors.get(decoder) or _executors.setdefault(decoder, _make_executor(decoder))
    if repr(executor.decode(_HEADER + body)) != repr(trade):
        return False
    valid = None if trade is None or violations(trade) else trade
    record = Record("trades", 3, 5, valid and valid.trade_id.encode(), _HEADER + body)
    run = Run.of([record])
    rows = executor.rows(run, 0, valid is not None)
    expected = [] if valid is None else [pack_row(record, _ID, valid)]
    return rows == expected and executor.check(run, 0, False) == len(rows)


def _make_executor(decoder: Decoder) -> Executor:
    executor = make_executor(trade_codec())
    assert executor is not None
    executor.add(_HEADER, decoder.plan)
    return executor
