"""Codecs of any declaration, and values in the form of fastavro and avro."""

import json
from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from typing import Any

import avro.io
import avro.schema
import fastavro

from tradepipe.codec import decoder, encoder, fields
from tradepipe.codec.admission import parse_writer_schema
from tradepipe.codec.fields import RecordCodec
from tradepipe.trade.avro_types import decimal_bytes, record_schema, to_number
from tradepipe.trade.declaration import Declaration
from tradepipe.trade.types import Member, Type


def schema_of(declaration: Declaration) -> dict[str, Any]:
    """The schema that a draft would write."""
    return record_schema(declaration.record.__name__, (field.member for field in declaration.fields))


def codec_of(declaration: Declaration) -> RecordCodec:
    return fields.record_codec(schema_of(declaration), declaration)


def make_decoder(codec: RecordCodec, writer: dict[str, Any]) -> Callable[[bytes], Any]:
    source = decoder.generate_decoder(parse_writer_schema(writer), codec, 1)
    return source.compile("decode", "decode any record")


def make_encoder(codec: RecordCodec) -> Callable[[Any], bytes]:
    return encoder.generate_encoder(codec).compile("encode", "encode any record")


def plain(type_: Type, value: Any) -> Any:
    """A value as fastavro writes and reads it: records are dicts, and it has no logical type of nanoseconds."""
    match type_.kind:
        case "array":
            return [plain_member(type_.item, each) for each in value]
        case "map":
            return {key: plain_member(type_.item, each) for key, each in value.items()}
        case "record":
            return {member.name: plain_member(member, each) for member, each in zip(type_.members, value, strict=True)}
        case "enum":
            return str(value.value)
        case "uuid":
            return value.bytes if type_.base == "fixed" else value
        case _:
            is_nanos = isinstance(value, datetime) and type_.kind.endswith("nanos")
            return to_number(type_, value) if is_nanos else value


def plain_member(member: Member, value: Any) -> Any:
    return None if value is None else plain(member.type, value)


def plain_record(declaration: Declaration, record: Any) -> dict[str, Any]:
    return {
        field.name: plain_member(field.member, value) for field, value in zip(declaration.fields, record, strict=True)
    }


def write(schema: Any, datum: Any) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema, {}), datum)
    return stream.getvalue()


def read(body: bytes, writer: Any, reader: Any = None) -> Any:
    parsed = None if reader is None else fastavro.parse_schema(reader, {})
    return fastavro.schemaless_reader(BytesIO(body), fastavro.parse_schema(writer, {}), parsed)


def avro_long(number: int) -> bytes:
    stream = BytesIO()
    avro.io.BinaryEncoder(stream).write_long(number)
    return stream.getvalue()


def bare(schema: Any) -> Any:
    """A schema without its logical types."""
    if isinstance(schema, list):
        return [bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: bare(value) for name, value in schema.items() if name not in ("logicalType", "precision", "scale")}


def bare_record(declaration: Declaration, record: Any) -> dict[str, Any]:
    """A record as it is in a schema without logical types: numbers, texts and bytes."""
    return {
        field.name: _bare_member(field.member, value) for field, value in zip(declaration.fields, record, strict=True)
    }


def _bare_member(member: Member, value: Any) -> Any:  # noqa: PLR0911 - one case for each kind of type
    type_ = member.type
    if value is None:
        return None
    match type_.kind:
        case "array":
            return [_bare_member(type_.item, each) for each in value]
        case "map":
            return {key: _bare_member(type_.item, each) for key, each in value.items()}
        case "record":
            found = zip(type_.members, value, strict=True)
            return {each.name: _bare_member(each, inner) for each, inner in found}
        case "decimal":
            return decimal_bytes(type_, value)
        case "uuid" if type_.base == "string":
            return str(value)
    return to_number(type_, plain(type_, value))


def read_by_avro(body: bytes, schema: Any) -> Any:
    """Decode a body with Apache's avro."""
    reader = avro.io.DatumReader(avro.schema.parse(json.dumps(schema)))
    return reader.read(avro.io.BinaryDecoder(BytesIO(body)))
