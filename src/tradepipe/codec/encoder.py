"""Encoder of trades: generated code, and a slower encoder that explains each refusal."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import partial
from operator import attrgetter
from struct import Struct
from typing import Any, Final

from tradepipe.codec.codegen import CodeBuilder
from tradepipe.codec.fields import FieldCodec, RecordCodec
from tradepipe.codec.primitives import ENCODED_INTS, EPOCH, BoundedCache, encode_varint
from tradepipe.codec.steps import value_branch
from tradepipe.errors import InvalidTrade
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.avro_types import decimal_bytes, to_number
from tradepipe.trade.constraints import format_value
from tradepipe.trade.record import Violation
from tradepipe.trade.type_checks import member_problem_finder
from tradepipe.trade.types import Member, Type

DATE_CACHE: Final[BoundedCache[date, bytes]] = BoundedCache()
"""Encoded dates that were used before."""

Writer = Callable[[Any], bytes]
"""Encodes a value that has the declared type."""

_pack_float = Struct("<f").pack
_pack_double = Struct("<d").pack


def encode_slow(trade: Any, codec: RecordCodec) -> bytes:
    """Encode a trade, without a frame; `InvalidTrade` has each field whose value does not fit its type."""
    if not isinstance(trade, codec.record):
        raise TypeError(f"expected a {codec.record.__name__}, not {type(trade).__name__}")
    encoded_fields: dict[str, bytes] = {}
    found: list[Violation] = []
    for field, value in zip(codec.fields, trade, strict=True):
        try:
            encoded_fields[field.name] = _checked_writer(field.schema, field.member)(value)
            if field.kind == "date" and value is not None:
                DATE_CACHE.remember(value, encode_varint(to_number(field.type, value)))
        except ValueError as error:
            found.append(Violation(field.code, f"{field.name} is {format_value(value)}, which {error}"))
    if found:
        raise InvalidTrade(trade, found)  # type: ignore[arg-type]  # a Trade, but in tests of other shapes
    return b"".join(encoded_fields[field.name] for field in codec.in_schema)


def _checked_writer(schema: SchemaType, member: Member) -> Writer:
    find_problem = member_problem_finder(member, allow_nul=True)
    write = _member_writer(schema, member)

    def write_checked(value: Any) -> bytes:
        if problem := find_problem(value):
            raise ValueError(problem)
        return write(value)

    return write_checked


def exact_context(digits: int) -> Context:
    """Return a decimal context that raises for a number of more digits instead of rounding it."""
    return Context(prec=digits, Emax=digits - 1, traps=[Inexact, InvalidOperation])


FALLBACK_ERRORS: Final = (IndexError, KeyError, ValueError, TypeError, ArithmeticError)
"""Exceptions of generated code: an int beyond the table, a surrogate, a naive datetime, a decimal that does not fit."""

_TEMPLATES: Final[Mapping[str, str]] = {
    "string": """\
if _type({name}) is not _str:
    return _encode_slow(_trade)
_text = {name}.encode()
{name} = {prefix}_ENCODED_INTS[_len(_text)] + _text
""",
    # A negative index would read from the end of the table.
    "int": """\
if _type({name}) is not _int or {name} < 0:
    return _encode_slow(_trade)
{name} = {prefix}_ENCODED_INTS[{name}]
""",
    "date": """\
if _type({name}) is not _date:
    return _encode_slow(_trade)
_cached = _cached_date({name})
if _cached is None:
    return _encode_slow(_trade)
{name} = {prefix}_cached
""",
    # Timestamps from 1978 to 3111 take eight bytes. The number is split into groups of 28, 14 and then 7 bits,
    # and every byte but the last gets the continuation bit.
    "timestamp-micros": f"""\
if _type({{name}}) is not _datetime:
    return _encode_slow(_trade)
_since = {{name}} - _EPOCH
_bits = ((_since.days * 86400 + _since.seconds) * 1000000 + _since.microseconds) << 1
if not {1 << 49} <= _bits < {1 << 56}:
    return _encode_slow(_trade)
_bits = _bits & 0x000000000FFFFFFF | (_bits & 0x00FFFFFFF0000000) << 4
_bits = _bits & 0x00003FFF00003FFF | (_bits & 0x0FFFC0000FFFC000) << 2
_bits = _bits & 0x007F007F007F007F | (_bits & 0x3F803F803F803F80) << 1
{{name}} = {{prefix}}(_bits | 0x0080808080808080).to_bytes(8, "little")
""",
    # The context raises for too many digits, and to_integral_exact for decimals beyond the scale.
    "decimal": """\
if _type({name}) is not _Decimal:
    return _encode_slow(_trade)
_number = _int(_{name}_whole(_{name}_scaleb({name}, {scale})))
if _number < 0:
    return _encode_slow(_trade)
_size = (_number.bit_length() >> 3) + 1
{name} = {prefix}_ENCODED_INTS[_size] + _number.to_bytes(_size, "big")
""",
    "enum": """\
if _type({name}) is not _{name}_class:
    return _encode_slow(_trade)
{name} = {prefix}_{name}_encoded[{name}]
""",
}
"""The code that encodes a value other than None, by kind; other kinds are encoded by a function."""

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
        out.lines("if _type(_trade) is not _record:\n    return _encode_slow(_trade)")
        out.line(f"{', '.join(field.name for field in codec.fields)}, = _trade")
        with out.block("try:"):
            for field in codec.fields:
                out.line(f"# {field.name}: {field.kind}")
                _emit_field(out, field)
            out.line(f"return _join(({', '.join(field.name for field in codec.in_schema)},))")
        out.lines("except _FALLBACK_ERRORS:\n    return _encode_slow(_trade)")
    return out


def _emit_field(out: CodeBuilder, field: FieldCodec) -> None:
    name, type_ = field.name, field.type
    if field.kind not in _TEMPLATES or type_.base == "fixed":
        write = _checked_writer(field.schema, field.member)
        out.line(f"{name} = {out.bind(f'encode_{name}', write)}({name})")
        return
    if field.kind == "decimal":
        context = exact_context(type_.precision)
        out.names |= {f"_{name}_scaleb": context.scaleb, f"_{name}_whole": context.to_integral_exact}
    elif field.kind == "enum":
        symbols = _encoded_symbols(value_branch(field.schema), type_)
        out.names |= {f"_{name}_class": type_.python, f"_{name}_encoded": symbols}
    prefix = f"{encode_varint(field.branches.index('value'))!r} + " if field.schema.branches else ""
    code = _TEMPLATES[field.kind].format(name=name, prefix=prefix, scale=type_.scale)
    if "null" not in field.branches:
        out.lines(code)
        return
    with out.block(f"if {name} is None:"):
        out.line(f"{name} = {encode_varint(field.branches.index('null'))!r}")
    with out.block("else:"):
        out.lines(code)


def _member_writer(schema: SchemaType, member: Member) -> Writer:
    """Return the writer of a member, whose value may be None if its type says so."""
    write = _writer_of(value_branch(schema), member.type)
    if not schema.branches:
        return write
    null = next((encode_varint(index) for index, branch in enumerate(schema.branches) if branch.kind == "null"), None)
    before = next(encode_varint(index) for index, branch in enumerate(schema.branches) if branch.kind != "null")
    if null is None:
        return lambda value: before + write(value)
    return lambda value: null if value is None else before + write(value)


def _writer_of(schema: SchemaType, type_: Type) -> Writer:  # noqa: PLR0911 - one case for each kind of type
    """Return the writer of a type; it raises ValueError for a symbol of an enum that the schema lacks."""
    write: Writer
    match type_.kind:
        case "array":
            write = _member_writer(schema.inner[0], type_.item)
            return lambda values: _blocks(len(values), b"".join(map(write, values)))
        case "map":
            write = _member_writer(schema.inner[0], type_.item)
            return lambda values: _blocks(
                len(values), b"".join(_write_text(key) + write(value) for key, value in values.items())
            )
        case "record":
            members = zip(schema.fields, type_.members, strict=True)
            writers = tuple(_member_writer(field.type, member) for field, member in members)
            return lambda values: b"".join(write(value) for write, value in zip(writers, values, strict=True))
        case "enum":
            symbols = _encoded_symbols(schema, type_)

            def write_symbol(value: Any) -> bytes:
                if value not in symbols:
                    raise ValueError("is not a symbol of the current schema")
                return symbols[value]

            return write_symbol
        case "decimal" if type_.base == "fixed":
            return partial(decimal_bytes, type_)
        case "decimal":
            return lambda value: _write_bytes(decimal_bytes(type_, value))
        case "uuid" if type_.base == "fixed":
            return attrgetter("bytes")
        case "uuid":
            return lambda value: _write_text(str(value))
    return _WRITERS.get(type_.kind) or (lambda value: encode_varint(to_number(type_, value)))


def _encoded_symbols(schema: SchemaType, type_: Type) -> dict[Any, bytes]:
    """Return the bytes of an enum's members, by member."""
    return {type_.python(symbol): encode_varint(index) for index, symbol in enumerate(schema.symbols)}


def _blocks(count: int, items: bytes) -> bytes:
    return encode_varint(count) + items + b"\0" if count else b"\0"


def _write_bytes(value: bytes) -> bytes:
    return encode_varint(len(value)) + value


def _write_text(value: str) -> bytes:
    return _write_bytes(value.encode())


_WRITERS: Final[Mapping[str, Writer]] = {
    "boolean": lambda value: b"\1" if value else b"\0",
    "float": _pack_float,
    "double": _pack_double,
    "bytes": _write_bytes,
    "fixed": bytes,
    "string": _write_text,
}
