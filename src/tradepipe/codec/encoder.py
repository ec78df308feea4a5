"""Encoder of trades: generated code, with a slower one that explains what it refuses."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final

from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.primitives import (
    ENCODED_INTS,
    EPOCH,
    EPOCH_ORDINAL,
    MAX_INT,
    MAX_MICROS,
    MIN_INT,
    MIN_MICROS,
    BoundedCache,
    encode_varint,
    quantum,
)
from tradepipe.errors import InvalidTrade
from tradepipe.trade.record import Violation

DATE_CACHE: Final[BoundedCache[date, bytes]] = BoundedCache()
"""The bytes of days met before."""


def encode_slow(trade: Any, shape: RecordCodec) -> bytes:
    """
    The trade as Avro, without a frame.

    Raises:
        InvalidTrade: with each field whose type cannot hold its value exactly.

        TypeError: it is no trade at all.
    """
    if not isinstance(trade, shape.record):
        raise TypeError(f"a {shape.record.__name__} is encoded, not {type(trade).__name__}")
    pieces: dict[str, bytes] = {}
    found: list[Violation] = []
    for column, value in zip(shape.fields, trade, strict=True):
        try:
            pieces[column.name] = _encode_field(column, value)
        except ValueError as problem:
            found.append(Violation(column.code, f"{column.name} is {_format_value(value)}, which {problem}"))
    if found:
        raise InvalidTrade(trade, found)  # type: ignore[arg-type]  # a Trade, but in tests of other shapes
    return b"".join(pieces[name] for name in shape.schema_order)


def encode_symbols(column: FieldCodec) -> dict[Any, bytes]:
    """The bytes of an enum's members, by the member."""
    return {member: encode_varint(index) for index, member in enumerate(column.members.values())}


def exact_context(digits: int) -> Context:
    """Arithmetic that raises for a number of more digits, before or behind the point, instead of losing any."""
    return Context(prec=digits, Emax=digits - 1, traps=[Inexact, InvalidOperation])


def _encode_field(column: FieldCodec, value: Any) -> bytes:
    if value is None and "null" in column.branches:
        return encode_varint(column.branches.index("null"))
    encoded = _ENCODERS[column.kind](column, value)
    return encoded if len(column.branches) == 1 else encode_varint(column.branches.index("value")) + encoded


def _encode_string(_column: FieldCodec, value: Any) -> bytes:
    if type(value) is not str:
        raise ValueError("is not a string")
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None
    return encode_varint(len(encoded)) + encoded


def _encode_int(_column: FieldCodec, value: Any) -> bytes:
    if type(value) is not int or not MIN_INT <= value <= MAX_INT:
        raise ValueError("is not a whole number of 32 bits")
    return encode_varint(value)


def _encode_date(_column: FieldCodec, value: Any) -> bytes:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("is not a date")
    return DATE_CACHE.remember(value, encode_varint(value.toordinal() - EPOCH_ORDINAL))


def _encode_timestamp(_column: FieldCodec, value: Any) -> bytes:
    if not isinstance(value, datetime):
        raise ValueError("is not a datetime")
    if value.tzinfo is not UTC and value.utcoffset() is None:
        raise ValueError("has no time zone")
    since = value - EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not MIN_MICROS <= micros <= MAX_MICROS:
        raise ValueError("lies outside the years 1 to 9999 in UTC")
    return encode_varint(micros)


def _encode_decimal(column: FieldCodec, value: Any) -> bytes:
    if not isinstance(value, Decimal):
        raise ValueError("is not a Decimal")
    if not value.is_finite():
        raise ValueError("is not a finite number")
    try:
        exact = exact_context(column.precision).quantize(value, quantum(column.scale))
    except (Inexact, InvalidOperation):
        raise ValueError(f"decimal({column.precision},{column.scale}) cannot hold exactly") from None
    number = int(exact.scaleb(column.scale, exact_context(column.precision)))
    size = ((number if number >= 0 else ~number).bit_length() >> 3) + 1
    return encode_varint(size) + number.to_bytes(size, "big", signed=True)


def _encode_enum(column: FieldCodec, value: Any) -> bytes:
    (kind,) = {type(member) for member in column.members.values()}
    if type(value) is not kind:
        raise ValueError(f"is not a {kind.__name__}")
    return encode_symbols(column)[value]


_ENCODERS: Final[dict[str, Callable[[FieldCodec, Any], bytes]]] = {
    "string": _encode_string,
    "int": _encode_int,
    "date": _encode_date,
    "instant": _encode_timestamp,
    "decimal": _encode_decimal,
    "symbol": _encode_enum,
}


def _format_value(value: object) -> str:
    text = value.isoformat() if isinstance(value, (date, datetime)) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}… ({len(text)} characters)"


FALLBACK_ERRORS: Final = (IndexError, ValueError, TypeError, ArithmeticError)
"""A number beyond the table; a surrogate, or no number; an instant without a zone; a decimal that does not fit."""

_FALL_BACK: Final = "return _encoded(_trade)"

_NAMES: Final = {
    "_Decimal": Decimal,
    "_EPOCH": EPOCH,
    "_HESITATION": FALLBACK_ERRORS,
    "_WRITTEN": ENCODED_INTS,
    "_date": date,
    "_datetime": datetime,
    "_join": b"".join,
    "_known_day": DATE_CACHE.get,
}


def generate_encoder(shape: RecordCodec) -> CodeBuilder:
    """The source of `encode` for a shape."""
    out = CodeBuilder()
    out.names |= _NAMES | {"_record": shape.record, "_encoded": lambda trade: encode_slow(trade, shape)}
    with out.block("def encode(_trade):"):
        with out.block("if type(_trade) is not _record:"):
            out.line(_FALL_BACK)
        out.line(f"{', '.join(column.name for column in shape.fields)}, = _trade")
        with out.block("try:"):
            for column in shape.fields:
                out.line(f"# {column.name}: {column.kind}")
                _emit_field(out, column)
            out.line(f"return _join(({', '.join(shape.schema_order)},))")
        with out.block("except _HESITATION:"):
            out.line(_FALL_BACK)
    return out


def _emit_field(out: CodeBuilder, column: FieldCodec) -> None:
    write = _EMITTERS[column.kind]
    if len(column.branches) == 1:
        write(out, column, "")
        return
    with out.block(f"if {column.name} is None:"):
        out.line(f"{column.name} = {encode_varint(column.branches.index('null'))!r}")
    with out.block("else:"):
        write(out, column, f"{encode_varint(column.branches.index('value'))!r} + ")


def _emit_fall_back(out: CodeBuilder, condition: str) -> None:
    with out.block(f"if {condition}:"):
        out.line(_FALL_BACK)


def _emit_string(out: CodeBuilder, column: FieldCodec, head: str) -> None:
    name = column.name
    _emit_fall_back(out, f"type({name}) is not str")
    out.line(f"_text = {name}.encode()")
    out.line(f"{name} = {head}_WRITTEN[len(_text)] + _text")


def _emit_int(out: CodeBuilder, column: FieldCodec, head: str) -> None:
    name = column.name
    # A negative index would count from the table's end.
    _emit_fall_back(out, f"type({name}) is not int or {name} < 0")
    out.line(f"{name} = {head}_WRITTEN[{name}]")


def _emit_date(out: CodeBuilder, column: FieldCodec, head: str) -> None:
    name = column.name
    _emit_fall_back(out, f"type({name}) is not _date")
    out.line(f"_known = _known_day({name})")
    _emit_fall_back(out, "_known is None")
    out.line(f"{name} = {head}_known")


def _emit_timestamp(out: CodeBuilder, column: FieldCodec, head: str) -> None:
    """From 1978 to 3111, eight bytes: groups of 28, 14 and 7 bits are pulled apart, then all but the last go on."""
    name = column.name
    _emit_fall_back(out, f"type({name}) is not _datetime")
    out.line(f"_since = {name} - _EPOCH")
    out.line("_bits = ((_since.days * 86400 + _since.seconds) * 1000000 + _since.microseconds) << 1")
    _emit_fall_back(out, f"not {1 << 49} <= _bits < {1 << 56}")
    out.line("_bits = _bits & 0x000000000FFFFFFF | (_bits & 0x00FFFFFFF0000000) << 4")
    out.line("_bits = _bits & 0x00003FFF00003FFF | (_bits & 0x0FFFC0000FFFC000) << 2")
    out.line("_bits = _bits & 0x007F007F007F007F | (_bits & 0x3F803F803F803F80) << 1")
    out.line(f'{name} = {head}(_bits | 0x0080808080808080).to_bytes(8, "little")')


def _emit_decimal(out: CodeBuilder, column: FieldCodec, head: str) -> None:
    """The context raises for digits that it has no room for, and for decimals that are too many."""
    name = column.name
    context = exact_context(column.precision)
    out.names |= {f"_{name}_scaleb": context.scaleb, f"_{name}_whole": context.to_integral_exact}
    _emit_fall_back(out, f"type({name}) is not _Decimal")
    out.line(f"_number = int(_{name}_whole(_{name}_scaleb({name}, {column.scale})))")
    _emit_fall_back(out, "_number < 0")
    out.line("_size = (_number.bit_length() >> 3) + 1")
    out.line(f'{name} = {head}_WRITTEN[_size] + _number.to_bytes(_size, "big")')


def _emit_enum(out: CodeBuilder, column: FieldCodec, head: str) -> None:
    name = column.name
    (kind,) = {type(member) for member in column.members.values()}
    out.names |= {f"_{name}_class": kind, f"_{name}_written": encode_symbols(column)}
    _emit_fall_back(out, f"type({name}) is not _{name}_class")
    out.line(f"{name} = {head}_{name}_written[{name}]")


_EMITTERS: Final[dict[str, Callable[[CodeBuilder, FieldCodec, str], None]]] = {
    "string": _emit_string,
    "int": _emit_int,
    "date": _emit_date,
    "instant": _emit_timestamp,
    "decimal": _emit_decimal,
    "symbol": _emit_enum,
}
