"""Encoder of trades: generated code, and a slower encoder that explains each refusal."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import partial
from typing import Any, Final

from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.primitives import ENCODED_INTS, EPOCH, BoundedCache, encode_varint
from tradepipe.codec.steps import value_branch
from tradepipe.codec.writers import encoded_symbols, member_writer, writer_of
from tradepipe.errors import InvalidTrade
from tradepipe.trade.constraints import format_value
from tradepipe.trade.record import Violation
from tradepipe.trade.type_checks import member_problem_finder

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
            found.append(Violation(field.code, f"{field.name} is {format_value(value)}, which {error}"))
    if found:
        raise InvalidTrade(trade, found)  # type: ignore[arg-type]  # a Trade, but in tests of other shapes
    return b"".join(encoded_fields[field.name] for field in codec.in_schema)


def _encode_field(field: FieldCodec, value: Any) -> bytes:
    if problem := member_problem_finder(field.member, allow_nul=True)(value):
        raise ValueError(problem)
    encoded = member_writer(field.schema, field.member)(value)
    if field.kind == "date" and value is not None:
        DATE_CACHE.remember(value, writer_of(value_branch(field.schema), field.type)(value))
    return encoded


def exact_context(digits: int) -> Context:
    """Return a decimal context that raises for a number of more digits instead of rounding it."""
    return Context(prec=digits, Emax=digits - 1, traps=[Inexact, InvalidOperation])


FALLBACK_ERRORS: Final = (IndexError, KeyError, ValueError, TypeError, ArithmeticError)
"""Exceptions of generated code: an int beyond the table, a surrogate, a naive datetime, a decimal that does not fit."""

_FALL_BACK: Final = "return _encode_slow(_trade)"

_NAMES: Final = {
    # A field may have the name of a built-in function.
    "_int": int,
    "_len": len,
    "_str": str,
    "_type": type,
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
        with out.block("if _type(_trade) is not _record:"):
            out.line(_FALL_BACK)
        out.line(f"{', '.join(field.name for field in codec.fields)}, = _trade")
        with out.block("try:"):
            for field in codec.fields:
                out.line(f"# {field.name}: {field.kind}")
                _emit_field(out, field)
            out.line(f"return _join(({', '.join(field.name for field in codec.in_schema)},))")
        with out.block("except _FALLBACK_ERRORS:"):
            out.line(_FALL_BACK)
    return out


def _emit_field(out: CodeBuilder, field: FieldCodec) -> None:
    is_fast = field.kind in _EMITTERS and field.type.base != "fixed"
    emit = _EMITTERS[field.kind] if is_fast else _emit_call
    if "null" not in field.branches:
        emit(out, field, f"{encode_varint(0)!r} + " if field.schema.branches else "")
        return
    with out.block(f"if {field.name} is None:"):
        out.line(f"{field.name} = {encode_varint(field.branches.index('null'))!r}")
    with out.block("else:"):
        emit(out, field, f"{encode_varint(field.branches.index('value'))!r} + ")


def _emit_fall_back(out: CodeBuilder, condition: str) -> None:
    with out.block(f"if {condition}:"):
        out.line(_FALL_BACK)


def _emit_call(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    """Emit a call that checks and encodes a value of any type."""
    member = field.member._replace(is_nullable=False)
    write = writer_of(value_branch(field.schema), field.type)
    encode = partial(_encode_checked, member_problem_finder(member, allow_nul=True), write)
    out.line(f"{field.name} = {prefix}{out.bind(f'encode_{field.name}', encode)}({field.name})")


def _encode_checked(find_problem: Callable[[Any], str | None], write: Callable[[Any], bytes], value: Any) -> bytes:
    if problem := find_problem(value):
        raise ValueError(problem)
    return write(value)


def _emit_string(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    name = field.name
    _emit_fall_back(out, f"_type({name}) is not _str")
    out.line(f"_text = {name}.encode()")
    out.line(f"{name} = {prefix}_ENCODED_INTS[_len(_text)] + _text")


def _emit_int(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    name = field.name
    # A negative index would read from the end of the table.
    _emit_fall_back(out, f"_type({name}) is not _int or {name} < 0")
    out.line(f"{name} = {prefix}_ENCODED_INTS[{name}]")


def _emit_date(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    name = field.name
    _emit_fall_back(out, f"_type({name}) is not _date")
    out.line(f"_cached = _cached_date({name})")
    _emit_fall_back(out, "_cached is None")
    out.line(f"{name} = {prefix}_cached")


def _emit_timestamp(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    # Timestamps from 1978 to 3111 take eight bytes. The number is split into groups of 28, 14 and then 7 bits,
    # and every byte but the last gets the continuation bit.
    name = field.name
    _emit_fall_back(out, f"_type({name}) is not _datetime")
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
    context = exact_context(field.type.precision)
    out.names |= {f"_{name}_scaleb": context.scaleb, f"_{name}_whole": context.to_integral_exact}
    _emit_fall_back(out, f"_type({name}) is not _Decimal")
    out.line(f"_number = _int(_{name}_whole(_{name}_scaleb({name}, {field.type.scale})))")
    _emit_fall_back(out, "_number < 0")
    out.line("_size = (_number.bit_length() >> 3) + 1")
    out.line(f'{name} = {prefix}_ENCODED_INTS[_size] + _number.to_bytes(_size, "big")')


def _emit_enum(out: CodeBuilder, field: FieldCodec, prefix: str) -> None:
    name = field.name
    symbols = encoded_symbols(value_branch(field.schema), field.type)
    out.names |= {f"_{name}_class": field.type.python, f"_{name}_encoded": symbols}
    _emit_fall_back(out, f"_type({name}) is not _{name}_class")
    out.line(f"{name} = {prefix}_{name}_encoded[{name}]")


_EMITTERS: Final[dict[str, Callable[[CodeBuilder, FieldCodec, str], None]]] = {
    "string": _emit_string,
    "int": _emit_int,
    "date": _emit_date,
    "timestamp-micros": _emit_timestamp,
    "decimal": _emit_decimal,
    "enum": _emit_enum,
}
