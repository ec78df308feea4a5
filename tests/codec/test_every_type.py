"""Every type in both directions: the bytes are Avro's, and the rows are PostgreSQL's."""

import io
import struct

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extras import register_uuid

from tests.codec.every_type import (
    avro_long,
    bare,
    bare_record,
    codec_of,
    make_decoder,
    make_encoder,
    plain_record,
    read,
    read_by_avro,
    schema_of,
    write,
)
from tests.properties import examples
from tests.trade.all_types import EVERY, EVERYTHING, SAMPLE, Every
from tests.trade.declarations import declarations, member_values
from tradepipe.codec.admission import check_limits, parse_writer_schema
from tradepipe.codec.copy_rows import fields_packer
from tradepipe.errors import InvalidTrade, UndecodableRecord
from tradepipe.trade.json_values import from_json

CODEC = codec_of(EVERY)
SCHEMA = schema_of(EVERY)
encode, decode = make_encoder(CODEC), make_decoder(CODEC, SCHEMA)
pack_fields = fields_packer(CODEC.declaration)


def test_the_schema_of_every_type_is_admitted():
    check_limits(parse_writer_schema(SCHEMA))


@given(EVERYTHING)
def test_a_record_of_every_type_is_encoded_as_fastavro_reads_it(record):
    assert plain_record(EVERY, record) == read(encode(record), SCHEMA)


@given(EVERYTHING)
def test_a_record_of_every_type_is_decoded_as_fastavro_wrote_it(record):
    assert record == decode(write(SCHEMA, plain_record(EVERY, record)))


@given(st.data())
def test_a_record_of_any_declaration_is_what_fastavro_reads_and_writes(data):
    declaration = data.draw(declarations())
    record = declaration.record(*(data.draw(member_values(field.member)) for field in declaration.fields))
    codec, schema = codec_of(declaration), schema_of(declaration)
    body = make_encoder(codec)(record)

    assert plain_record(declaration, record) == read(body, schema)
    assert record == make_decoder(codec, schema)(body)
    assert record == make_decoder(codec, schema)(write(schema, plain_record(declaration, record)))


@given(st.data())
def test_a_record_of_any_declaration_is_what_apaches_avro_reads(data):
    declaration = data.draw(declarations())
    record = declaration.record(*(data.draw(member_values(field.member)) for field in declaration.fields))
    body = make_encoder(codec_of(declaration))(record)

    assert bare_record(declaration, record) == read_by_avro(body, bare(schema_of(declaration)))


@given(EVERYTHING, st.data())
def test_a_damaged_record_of_every_type_is_refused_or_encoded_again(record, data):
    damaged = bytearray(encode(record))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    found = result_or_none(decode, bytes(damaged))
    # A damaged float may be infinite, which is decoded but not encoded.
    again = found and result_or_none(encode, found)

    assert again is None or found == decode(again)


def result_or_none(function, argument):
    try:
        return function(argument)
    except (UndecodableRecord, InvalidTrade):
        return None


@given(EVERYTHING, st.data())
def test_a_record_of_every_type_that_ends_early_is_refused(record, data):
    body = encode(record)
    with pytest.raises(UndecodableRecord, match="^UNDECODABLE: the body is not a trade: "):
        decode(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.fixture(scope="module")
def cursor(session_services):
    server = session_services.postgres.start()
    connection = psycopg2.connect(server.create_database("test_every_type"))
    with connection.cursor() as cursor:
        register_uuid(conn_or_curs=cursor)
        columns = ", ".join(f"{field.name} {field.type.postgres}" for field in EVERY.fields)
        cursor.execute(f"SET timezone = 'UTC'; CREATE TEMPORARY TABLE every ({columns})")
        yield cursor
    connection.close()
    server.drop_database("test_every_type")


def stored(cursor, rows):
    """Copy rows into the table; return its content as records."""
    head = struct.pack(">h", len(EVERY.fields))
    stream = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(head + row for row in rows) + b"\xff\xff"
    cursor.copy_expert(f"COPY every ({', '.join(Every._fields)}) FROM STDIN (FORMAT binary)", io.BytesIO(stream))
    casts = {"real": "::float8", "jsonb": "::text"}
    selected = (f"{field.name}{casts.get(field.type.postgres, '')}" for field in EVERY.fields)
    cursor.execute(f"SELECT {', '.join(selected)} FROM every")
    found = cursor.fetchall()
    cursor.execute("TRUNCATE every")
    return [Every(*(_value(field.type, each) for field, each in zip(EVERY.fields, row, strict=True))) for row in found]


def _value(type_, value):
    if value is None:
        return None
    if type_.is_nested:
        return from_json(type_, value)
    return bytes(value) if type_.postgres == "bytea" else type_.python(value) if type_.kind == "enum" else value


@examples(100)
@given(st.lists(EVERYTHING.filter(lambda record: record.instant.year < 9999), max_size=5))
def test_a_copied_row_of_every_type_is_read_as_the_record(cursor, records):
    assert records == stored(cursor, map(pack_fields, records))


@pytest.mark.parametrize(
    ("field", "body", "code", "problem"),
    [
        (
            "hour",
            avro_long(86_400_000_000),
            "HOUR",
            "is 86400000000 microseconds after midnight, which is not within",
        ),
        ("coarse_hour", b"\x01", "COARSE_HOUR", "is -1000 microseconds after midnight"),
        ("fine_instant", b"\x02", "FINE_INSTANT", "is 1 nanoseconds after 1970, of which a datetime holds whole"),
        ("coarse_instant", b"\xff" * 9 + b"\x01", "COARSE_INSTANT", "outside the years 1 to 9999"),
        ("flag", b"\x02", "UNDECODABLE", "flag holds a boolean that is neither 0 nor 1"),
        ("uuid", b"\x02x", "UNDECODABLE", "uuid is not a UUID"),
        ("tags", b"\x02\x02\xff\x00", "UNDECODABLE", "tags is not UTF-8"),
        ("tags", b"\x80\x80\x02", "UNDECODABLE", "tags has a block of"),
        ("fixed_amount", b"\x7f" + b"\xff" * 7, "UNDECODABLE", "fixed_amount has more digits than decimal(9,2) holds"),
    ],
    ids=str,
)
def test_a_value_that_python_does_not_hold_is_refused_by_its_field(field, body, code, problem):
    first = [each for each in SCHEMA["fields"] if each["name"] != field]
    last = [each for each in SCHEMA["fields"] if each["name"] == field]
    before = write(SCHEMA | {"fields": first}, plain_record(EVERY, SAMPLE))
    with pytest.raises(UndecodableRecord) as refused:
        make_decoder(CODEC, SCHEMA | {"fields": first + last})(before + body)

    assert code == refused.value.violation.code
    assert problem in refused.value.violation.detail
