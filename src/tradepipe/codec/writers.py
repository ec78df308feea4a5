"""Writers of values of any type in Avro's encoding, with the schema's order of symbols and branches."""

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from struct import Struct
from typing import Any, Final

from tradepipe.codec.primitives import encode_varint
from tradepipe.codec.steps import value_branch
from tradepipe.evolution.schema_tree import SchemaType
from tradepipe.trade.avro_types import decimal_bytes, to_number
from tradepipe.trade.types import Member, Type

Writer = Callable[[Any], bytes]
"""Encodes a value that has the declared type."""

_pack_float = Struct("<f").pack
_pack_double = Struct("<d").pack


def member_writer(schema: SchemaType, member: Member) -> Writer:
    """Return the writer of a member, whose value may be None if its type says so."""
    write = writer_of(value_branch(schema), member.type)
    if not schema.branches:
        return write
    null = next((encode_varint(index) for index, branch in enumerate(schema.branches) if branch.kind == "null"), None)
    before = next(encode_varint(index) for index, branch in enumerate(schema.branches) if branch.kind != "null")
    if null is None:
        return lambda value: before + write(value)
    return lambda value: null if value is None else before + write(value)


def writer_of(schema: SchemaType, type_: Type) -> Writer:  # noqa: PLR0911 - one case for each kind of type
    """
    Return the writer of a type.

    Raises:
        ValueError: by the writer, for a member of an enum whose symbol the schema lacks.
    """
    write: Writer
    match type_.kind:
        case "array":
            write = member_writer(schema.inner[0], type_.item)
            return lambda values: _blocks(len(values), b"".join(map(write, values)))
        case "map":
            write = member_writer(schema.inner[0], type_.item)
            return lambda values: _blocks(
                len(values), b"".join(_write_text(key) + write(value) for key, value in values.items())
            )
        case "record":
            members = zip(schema.fields, type_.members, strict=True)
            writers = tuple(member_writer(field.type, member) for field, member in members)
            return lambda values: b"".join(write(value) for write, value in zip(writers, values, strict=True))
        case "enum":
            return partial(_write_symbol, encoded_symbols(schema, type_))
        case "decimal" if type_.base == "fixed":
            return partial(decimal_bytes, type_)
        case "decimal":
            return lambda value: _write_bytes(decimal_bytes(type_, value))
        case "uuid" if type_.base == "fixed":
            return attrgetter("bytes")
        case "uuid":
            return lambda value: _write_text(str(value))
    return _WRITERS.get(type_.kind) or (lambda value: encode_varint(to_number(type_, value)))


def encoded_symbols(schema: SchemaType, type_: Type) -> dict[Any, bytes]:
    """Return the bytes of an enum's members, by member."""
    return {type_.python(symbol): encode_varint(index) for index, symbol in enumerate(schema.symbols)}


def _blocks(count: int, items: bytes) -> bytes:
    return encode_varint(count) + items + b"\0" if count else b"\0"


def _write_symbol(symbols: Mapping[Any, bytes], value: Any) -> bytes:
    encoded = symbols.get(value)
    if encoded is None:
        raise ValueError("is not a symbol of the current schema")
    return encoded


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
