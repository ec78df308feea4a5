"""Agreement of the compiled core with Python, where it is built."""

from struct import pack
from typing import Final
from weakref import WeakKeyDictionary

from tradepipe._native import Executor
from tradepipe.codec.codec import Decoder
from tradepipe.codec.copy_fields import NULL, packer
from tradepipe.codec.fields import trade_codec
from tradepipe.codec.plan import make_plan
from tradepipe.registry.serde import frame
from tradepipe.trade.model import DECLARATION, Trade
from tradepipe.trade.record import Record
from tradepipe.trade.rules import violations

_HEADER: Final = frame(1, b"")
_PACKERS: Final = tuple(packer(field.type) for field in DECLARATION.fields)
_executors: Final = WeakKeyDictionary[Decoder, Executor]()


def has_agreed(decoder: Decoder, body: bytes, trade: Trade | None) -> bool:
    """Return whether the compiled core passes a body if Python does, with the same row; `trade` is what Python read."""
    executor = _executors.get(decoder) or _executors.setdefault(decoder, _make_executor(decoder))
    valid = None if trade is None or violations(trade) else trade
    record = Record("trades", 3, 5, valid and valid.trade_id.encode(), _HEADER + body)
    rows = executor.rows([record], 0, valid is not None)
    return rows == ([] if valid is None else [_row(valid, record)]) and executor.check([record], 0, False) == len(rows)


def _make_executor(decoder: Decoder) -> Executor:
    executor = Executor()
    executor.add(_HEADER, make_plan(decoder._writer, trade_codec()))
    return executor


def _row(trade: Trade, record: Record) -> bytes:
    fields = [NULL if value is None else pack_it(value) for pack_it, value in zip(_PACKERS, trade, strict=True)]
    start = pack(">hi", len(fields) + 4, len(record.topic)) + record.topic.encode()
    return start + b"".join(fields) + pack(">iiiqii", 4, record.partition, 8, record.offset, 4, 1)
