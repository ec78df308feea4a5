"""Encoder of trades: generated code, and a slower encoder that explains each refusal."""

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
"""Encoded dates that were used before."""


def encode_slow(trade: Any, codec: RecordCodec) -> bytes:
    """
    Encode a trade, without a frame.

    Raises:
        InvalidTrade: with each field whose value does not fit its type exactly.

        TypeError: the argument is not a trade.
    """
    if not isinstance(trade, codec.record):
        raise TypeError(f"expected a {codec.record.__name__}, not {type(trade).__name__}")
    encoded_fields: dict[str, bytes] = {}
    found: list[Violation] = []
    for field, value in zip(codec.fields, trade, strict=True):
        try:
            encoded_fields[field.name] = _encode_field(field, value)
        except ValueError as error:
            found.append(Violation(field.code, f"{field.name} is {_format_value(value)}, which {error}"))
    if found:
        raise InvalidTrade(trade, found)  # type: ignore[arg-type]  # a Trade, but in tests of other shapes
    return b"".join(encoded_fields[name] for name in codec.schema_order)


def encode_symbols(field: FieldCodec) -> dict[Any, bytes]:
    """Return the bytes of an enum's members, by member."""
    return {member: encode_varint(index) for index, member in enumerate(field.members.values())}


def exact_context(digits: int) -> Context:
    """Return a decimal context that raises for a number of more digits instead of rounding it."""
    return Context(prec=digits, Emax=digits - 1, traps=[Inexact, InvalidOperation])


def _encode_field(field: FieldCodec, value: Any) -> bytes:
    if value is None and "null" in field.branches:
        return encode_varint(field.branches.index("null"))
    encoded = _ENCODERS[field.kind](field, value)
    return encoded if len(field.branches) == 1 else encode_varint(field.branches.index("value")) + encoded


def _encode_string(_field: FieldCodec, value: Any) -> bytes:
    if type(value) is not str:
        raise ValueError("is not a string")
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None
    return encode_varint(len(encoded)) + encoded


def _encode_int(_field: FieldCodec, value: Any) -> bytes:
    if type(value) is not int or not MIN_INT <= value <= MAX_INT:
        raise ValueError("is not a 32-bit integer")
    return encode_varint(value)


def _encode_date(_field: FieldCodec, value: Any) -> bytes:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("is not a date")
    return DATE_CACHE.remember(value, encode_varint(value.toordinal() - EPOCH_ORDINAL))


def _encode_timestamp(_field: FieldCodec, value: Any) -> bytes:
    if not isinstance(value, datetime):
        raise ValueError("is not a datetime")
    if value.tzinfo is not UTC and value.utcoffset() is None:
        raise ValueError("has no time zone")
    since = value - EPOCH
    # Integer arithmetic: total_seconds() is a float and loses microseconds.
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not MIN_MICROS <= micros <= MAX_MICROS:
        raise ValueError("is outside the years 1 to 9999 in UTC")
    return encode_varint(micros)


def _encode_decimal(field: FieldCodec, value: Any) -> bytes:
    if not isinstance(value, Decimal):
        raise ValueError("is not a Decimal")
    if not value.is_finite():
        raise ValueError("is not a finite number")
    try:
        exact = exact_context(field.precision).quantize(value, quantum(field.scale))
    except (Inexact, InvalidOperation):
        raise ValueError(f"decimal({field.precision},{field.scale}) cannot hold exactly") from None
    number = int(exact.scaleb(field.scale, exact_context(field.precision)))
    # The fewest bytes of two's complement, as Java's BigInteger: one bit is for the sign.
    size = ((number if number >= 0 else ~number).bit_length() >> 3) + 1
    return encode_varint(size) + number.to_bytes(size, "big", signed=True)


def _encode_enum(field: FieldCodec, value: Any) -> bytes:
    (members,) = {type(member) for member in field.members.values()}
    if type(value) is not members:
        raise ValueError(f"is not a {members.__name__}")
    return encode_symbols(field)[value]


_ENCODERS: Final[dict[str, Callable[[FieldCodec, Any], bytes]]] = {
    "string": _encode_string,
    "int": _encode_int,
    "date": _encode_date,
    "timestamp": _encode_timestamp,
    "decimal": _encode_decimal,
    "enum": _encode_enum,
}


def _format_value(value: object) -> str:
    text = value.isoformat() if isinstance(value, (date, datetime)) else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}… ({len(text)} characters)"


FALLBACK_ERRORS: Final = (IndexError, ValueError, TypeError, ArithmeticError)
"""Exceptions of generated code: an int beyond the table, a surrogate, a naive datetime, a decimal that does not fit."""

_FALL_BACK: Final = "return _encode_slow(_trade)"

_NAMES: Final = {
    "_Decimal": Decimal,
    "_EPOCH": EPOCH,
    "_FALLBACK_ERRORS": FALLBACK_ERRORS,
    "_ENCODED_INTS": ENCODED_INTS,
    "_date": date,
    "_datetime": datetime,
    "_join": b"".join,
    "_cached_date": DATE_CACHE.get,
}


def generate_encoder(codec: RecordCodec) -> CodeBuilder:
    """Generate the source of `encode` for a record type."""
    out = CodeBuilder()
    out.names |= _NAMES | {"_record": codec.record, "_encode_slow": lambda trade: encode_slow(trade, codec)}
    with out.block("def encode(_trade):"):
        with out.block("if type(_trade) is not _record:"):
            out.line(_FALL_BACK)
        out.line(f"{', '.join(field.name for field in codec.fields)}, = _trade")
        with out.block("try:"):
            for field in codec.fields:
                out.line(f"# {field.name}: {field.kind}")
                _emit_field(out, field)
            out.line(f"return _join(({', '.join(codec.schema_order)},))")
        with out.block("except _FALLBACK_ERRORS:"):
            out.line(_FALL_BACK)
    return out


def _emit_field(out: CodeBuilder, field: FieldCodec) -> None:
    emit = _EMITTERS[field.kind]
    if len(field.branches) == 1:
        emit(out, field, "")
        return
    with out.block(f"if {field.name} is None:"):
        out.line(f"{field.name} = {encode_varint(field.branches.index('null'))!r}")
    with out.block("else:"):
        emit(out, field, f"{encode_varint(field.branches.index('value'))!r} + ")


def _emit_fall_back(out: CodeBuilder, condition: str) -> None:
    with out.block(f"if {condition}:"):
        out.line(_FALL_BACK)


def _emit_string(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    name = field.name
    _emit_fall_back(out, f"type({name}) is not str")
    out.line(f"_text = {name}.encode()")
    out.line(f"{name} = {prefix}_ENCODED_INTS[len(_text)] + _text")


def _emit_int(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    name = field.name
    # A negative index would read from the end of the table.
    _emit_fall_back(out, f"type({name}) is not int or {name} < 0")
    out.line(f"{name} = {prefix}_ENCODED_INTS[{name}]")


def _emit_date(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    name = field.name
    _emit_fall_back(out, f"type({name}) is not _date")
    out.line(f"_cached = _cached_date({name})")
    _emit_fall_back(out, "_cached is None")
    out.line(f"{name} = {prefix}_cached")


def _emit_timestamp(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    # Timestamps from 1978 to 3111 take eight bytes. The number is split into groups of 28, 14 and then 7 bits,
    # and every byte but the last gets the continuation bit.
    name = field.name
    _emit_fall_back(out, f"type({name}) is not _datetime")
    out.line(f"_since = {name} - _EPOCH")
    out.line("_bits = ((_since.days * 86400 + _since.seconds) * 1000000 + _since.microseconds) << 1")
    _emit_fall_back(out, f"not {1 << 49} <= _bits < {1 << 56}")
    out.line("_bits = _bits & 0x000000000FFFFFFF | (_bits & 0x00FFFFFFF0000000) << 4")
    out.line("_bits = _bits & 0x00003FFF00003FFF | (_bits & 0x0FFFC0000FFFC000) << 2")
    out.line("_bits = _bits & 0x007F007F007F007F | (_bits & 0x3F803F803F803F80) << 1")
    out.line(f'{name} = {prefix}(_bits | 0x0080808080808080).to_bytes(8, "little")')


def _emit_decimal(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    # The context raises for too many digits, and to_integral_exact for decimals beyond the scale.
    name = field.name
    context = exact_context(field.precision)
    out.names |= {f"_{name}_scaleb": context.scaleb, f"_{name}_whole": context.to_integral_exact}
    _emit_fall_back(out, f"type({name}) is not _Decimal")
    out.line(f"_number = int(_{name}_whole(_{name}_scaleb({name}, {field.scale})))")
    _emit_fall_back(out, "_number < 0")
    out.line("_size = (_number.bit_length() >> 3) + 1")
    out.line(f'{name} = {prefix}_ENCODED_INTS[_size] + _number.to_bytes(_size, "big")')


def _emit_enum(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    name = field.name
    (members,) = {type(member) for member in field.members.values()}
    out.names |= {f"_{name}_class": members, f"_{name}_encoded": encode_symbols(field)}
    _emit_fall_back(out, f"type({name}) is not _{name}_class")
    out.line(f"{name} = {prefix}_{name}_encoded[{name}]")


_EMITTERS: Final[dict[str, Callable[[CodeBuilder, FieldCodec, str], None]]] = {
    "string": _emit_string,
    "int": _emit_int,
    "date": _emit_date,
    "timestamp": _emit_timestamp,
    "decimal": _emit_decimal,
    "enum": _emit_enum,
}
