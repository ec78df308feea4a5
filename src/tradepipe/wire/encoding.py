"""
Generates what encodes a trade: straight lines for values of the plainest kind.

Whatever hesitates (another type, a number out of the table, an exception)
hands the whole trade to `diagnosis`, which encodes it or tells what is wrong.
"""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from tradepipe.wire import diagnosis
from tradepipe.wire.columns import Column, Shape
from tradepipe.wire.numbers import WRITTEN, written
from tradepipe.wire.source import Source
from tradepipe.wire.values import EPOCH

HESITATION: Final = (IndexError, ValueError, TypeError, ArithmeticError)
"""A number beyond the table; a surrogate, or no number; an instant without a zone; a decimal that does not fit."""

_HESITATE: Final = "return _encoded(_trade)"

_NAMES: Final = {
    "_Decimal": Decimal,
    "_EPOCH": EPOCH,
    "_HESITATION": HESITATION,
    "_WRITTEN": WRITTEN,
    "_date": date,
    "_datetime": datetime,
    "_join": b"".join,
    "_known_day": diagnosis.DAYS.get,
}


def generated(shape: Shape) -> Source:
    """The source of `encode` for a shape."""
    out = Source()
    out.names |= _NAMES | {"_record": shape.record, "_encoded": lambda trade: diagnosis.encoded(trade, shape)}
    with out.block("def encode(_trade):"):
        with out.block("if type(_trade) is not _record:"):
            out.line(_HESITATE)
        out.line(f"{', '.join(column.name for column in shape.columns)}, = _trade")
        with out.block("try:"):
            for column in shape.columns:
                out.line(f"# {column.name}: {column.kind}")
                _column(out, column)
            out.line(f"return _join(({', '.join(shape.written)},))")
        with out.block("except _HESITATION:"):
            out.line(_HESITATE)
    return out


def _column(out: Source, column: Column) -> None:
    write = _WRITERS[column.kind]
    if len(column.branches) == 1:
        write(out, column, "")
        return
    with out.block(f"if {column.name} is None:"):
        out.line(f"{column.name} = {written(column.branches.index('null'))!r}")
    with out.block("else:"):
        write(out, column, f"{written(column.branches.index('value'))!r} + ")


def _hesitate(out: Source, condition: str) -> None:
    with out.block(f"if {condition}:"):
        out.line(_HESITATE)


def _string(out: Source, column: Column, head: str) -> None:
    name = column.name
    _hesitate(out, f"type({name}) is not str")
    out.line(f"_text = {name}.encode()")
    out.line(f"{name} = {head}_WRITTEN[len(_text)] + _text")


def _int(out: Source, column: Column, head: str) -> None:
    name = column.name
    # A negative index would count from the table's end.
    _hesitate(out, f"type({name}) is not int or {name} < 0")
    out.line(f"{name} = {head}_WRITTEN[{name}]")


def _date(out: Source, column: Column, head: str) -> None:
    name = column.name
    _hesitate(out, f"type({name}) is not _date")
    out.line(f"_known = _known_day({name})")
    _hesitate(out, "_known is None")
    out.line(f"{name} = {head}_known")


def _instant(out: Source, column: Column, head: str) -> None:
    """From 1978 to 3111, eight bytes: groups of 28, 14 and 7 bits are pulled apart, then all but the last go on."""
    name = column.name
    _hesitate(out, f"type({name}) is not _datetime")
    out.line(f"_since = {name} - _EPOCH")
    out.line("_bits = ((_since.days * 86400 + _since.seconds) * 1000000 + _since.microseconds) << 1")
    _hesitate(out, f"not {1 << 49} <= _bits < {1 << 56}")
    out.line("_bits = _bits & 0x000000000FFFFFFF | (_bits & 0x00FFFFFFF0000000) << 4")
    out.line("_bits = _bits & 0x00003FFF00003FFF | (_bits & 0x0FFFC0000FFFC000) << 2")
    out.line("_bits = _bits & 0x007F007F007F007F | (_bits & 0x3F803F803F803F80) << 1")
    out.line(f'{name} = {head}(_bits | 0x0080808080808080).to_bytes(8, "little")')


def _decimal(out: Source, column: Column, head: str) -> None:
    """The context raises for digits that it has no room for, and for decimals that are too many."""
    name = column.name
    context = diagnosis.bounded(column.precision)
    out.names |= {f"_{name}_scaleb": context.scaleb, f"_{name}_whole": context.to_integral_exact}
    _hesitate(out, f"type({name}) is not _Decimal")
    out.line(f"_number = int(_{name}_whole(_{name}_scaleb({name}, {column.scale})))")
    _hesitate(out, "_number < 0")
    out.line("_size = (_number.bit_length() >> 3) + 1")
    out.line(f'{name} = {head}_WRITTEN[_size] + _number.to_bytes(_size, "big")')


def _symbol(out: Source, column: Column, head: str) -> None:
    name = column.name
    (kind,) = {type(member) for member in column.members.values()}
    out.names |= {f"_{name}_class": kind, f"_{name}_written": diagnosis.symbols(column)}
    _hesitate(out, f"type({name}) is not _{name}_class")
    out.line(f"{name} = {head}_{name}_written[{name}]")


_WRITERS: Final[dict[str, Callable[[Source, Column, str], None]]] = {
    "string": _string,
    "int": _int,
    "date": _date,
    "instant": _instant,
    "decimal": _decimal,
    "symbol": _symbol,
}
