"""Writers of values of any type in Avro's encoding, with the schema's order of symbols and branches."""

from collections.abc import Callable, Mapping
from functools import partial
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
    prefixes = [encode_varint(index) for index in range(len(schema.branches))]
    if len(prefixes) == 1:
        return partial(_write_after, prefixes[0], write)
    null = next(index for index, branch in enumerate(schema.branches) if branch.kind == "null")
    return partial(_write_nullable, prefixes[null], prefixes[1 - null], write)


def writer_of(schema: SchemaType, type_: Type) -> Writer:  # noqa: PLR0911 - one case for each kind of type
    """
    Return the writer of a type.

    Raises:
        ValueError: by the writer, for a member of an enum whose symbol the schema lacks.
    """
    match type_.kind:
        case "array":
            return partial(_write_array, member_writer(schema.inner[0], type_.item))
        case "map":
            return partial(_write_map, member_writer(schema.inner[0], type_.item))
        case "record":
            members = zip(schema.fields, type_.members, strict=True)
            return partial(_write_record, tuple(member_writer(field.type, member) for field, member in members))
        case "enum":
            return partial(_write_symbol, encoded_symbols(schema, type_))
        case "decimal":
            write: Writer = partial(decimal_bytes, type_)
            return write if type_.base == "fixed" else partial(_write_sized, write)
        case "uuid":
            return _uuid_bytes if type_.base == "fixed" else _write_uuid
    return _WRITERS.get(type_.kind) or partial(_write_number, type_)


def encoded_symbols(schema: SchemaType, type_: Type) -> dict[Any, bytes]:
    """Return the bytes of an enum's members, by member."""
    return {type_.python(symbol): encode_varint(index) for index, symbol in enumerate(schema.symbols)}


def _write_after(prefix: bytes, write: Writer, value: Any) -> bytes:
    return prefix + write(value)


def _write_nullable(null: bytes, prefix: bytes, write: Writer, value: Any) -> bytes:
    return null if value is None else prefix + write(value)


def _write_array(write: Writer, values: list[Any]) -> bytes:
    return _blocks(len(values), b"".join(map(write, values)))


def _write_map(write: Writer, values: dict[str, Any]) -> bytes:
    return _blocks(len(values), b"".join(_write_text(key) + write(value) for key, value in values.items()))


def _blocks(count: int, items: bytes) -> bytes:
    return encode_varint(count) + items + b"\0" if count else b"\0"


def _write_record(writers: tuple[Writer, ...], values: tuple[Any, ...]) -> bytes:
    return b"".join(write(value) for write, value in zip(writers, values, strict=True))


def _write_symbol(symbols: Mapping[Any, bytes], value: Any) -> bytes:
    encoded = symbols.get(value)
    if encoded is None:
        raise ValueError("is not a symbol of the current schema")
    return encoded


def _write_sized(write: Writer, value: Any) -> bytes:
    return _write_bytes(write(value))


def _write_bytes(value: bytes) -> bytes:
    return encode_varint(len(value)) + value


def _write_text(value: str) -> bytes:
    return _write_bytes(value.encode())


def _write_uuid(value: Any) -> bytes:
    return _write_text(str(value))


def _uuid_bytes(value: Any) -> bytes:
    found: bytes = value.bytes
    return found


def _write_number(type_: Type, value: Any) -> bytes:
    return encode_varint(to_number(type_, value))


_WRITERS: Final[Mapping[str, Writer]] = {
    "boolean": lambda value: b"\1" if value else b"\0",
    "float": _pack_float,
    "double": _pack_double,
    "bytes": _write_bytes,
    "fixed": bytes,
    "string": _write_text,
}
