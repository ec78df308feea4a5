"""Apache Avro's Java library on records of any declaration: what it resolves, reads and writes, and what it refuses."""

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.every_type import codec_of, make_decoder, make_encoder, schema_of
from tests.codec.written_bodies import written_records
from tests.interop.trades import shown
from tests.properties import examples
from tests.trade.all_types import EVERY, EVERYTHING, SAMPLE
from tests.trade.declarations import declarations
from tradepipe.codec import fields
from tradepipe.codec.admission import parse_writer_schema
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.resolution import STRUCTURAL, find_mismatches
from tradepipe.evolution.schema_tree import build_schema_tree

pytestmark = pytest.mark.real

HEADER = b"\0\0\0\0\7"
SCHEMA = json.dumps(schema_of(EVERY))
ENCODE = make_encoder(codec_of(EVERY))
NANOS = {"fine_instant": SAMPLE.fine_instant, "fine_local": SAMPLE.fine_local}
FIXED = {"type": "fixed", "name": "F", "size": 1}


def read_by_java(peer, made, bodies):
    """What Java reads from bodies; None where it refuses one."""
    bodies = [body.hex() for body in bodies]
    answers = peer.ask("avro-resolve", writer=json.dumps(made.writer), reader=json.dumps(made.reader), bodies=bodies)
    return [answer.get("record") for answer in answers]


def read_by_us(decode, bodies):
    return [found and shown(found) for found in map(decoded(decode), bodies)]


def decoded(decode):
    def decode_or_refuse(body):
        try:
            return decode(body)
        except UndecodableRecord:
            return None

    return decode_or_refuse


@examples(50)
@given(data=st.data())
def test_records_of_any_writer_schema_are_read_as_java_reads_them(peer, data):
    declaration = data.draw(declarations())
    made = data.draw(written_records(declaration))
    decode = make_decoder(fields.record_codec(made.reader, declaration), made.writer)
    good = data.draw(st.lists(made.bodies, min_size=1, max_size=5))
    wrong = [] if made.wrong is None else data.draw(st.lists(made.wrong, min_size=1, max_size=5))

    assert read_by_us(decode, good + wrong) == read_by_java(peer, made, good + wrong)
    assert None not in read_by_us(decode, good)
    assert [None] * len(wrong) == read_by_us(decode, wrong)


@examples(50)
@given(data=st.data())
def test_a_writer_schema_resolves_where_java_says_so(peer, data):
    declaration = data.draw(declarations())
    made = data.draw(written_records(declaration))
    reader, writer = build_schema_tree(made.reader), parse_writer_schema(made.writer)
    mismatches = [each for each in find_mismatches(reader, writer) if each.rule in STRUCTURAL]
    pair = [json.dumps(made.reader), json.dumps(made.writer)]

    assert peer.ask("avro-can-read", pairs=[pair]) == [not mismatches]


@examples(50)
@given(data=st.data())
def test_a_damaged_record_is_refused_or_is_what_java_reads(peer, data):
    declaration = data.draw(declarations())
    made = data.draw(written_records(declaration))
    decode = make_decoder(fields.record_codec(made.reader, declaration), made.writer)
    damaged = [data.draw(damages(body)) for body in data.draw(st.lists(made.bodies, min_size=3, max_size=3))]

    for ours, javas in zip(read_by_us(decode, damaged), read_by_java(peer, made, damaged), strict=True):
        assert ours in (None, javas)


@st.composite
def damages(draw, body):
    """Draw a body with some bytes changed, removed or added."""
    damaged = bytearray(body)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(damaged)))
        damaged[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(damaged)


def test_java_alone_does_not_find_a_type_of_another_namespace_in_a_union(peer):
    """Avro 1.12, Schema Resolution: the unqualified names match. So say the registries, which compare as this does."""
    writer = {"type": "record", "name": "R", "fields": [{"name": "x", "type": {**FIXED, "namespace": "other"}}]}
    reader = {"type": "record", "name": "R", "fields": [{"name": "x", "type": ["null", FIXED]}]}
    answers = peer.ask("avro-resolve", writer=json.dumps(writer), reader=json.dumps(reader), bodies=["00"])
    mismatches = find_mismatches(build_schema_tree(reader), parse_writer_schema(writer))

    assert "expecting union[null, F]" in answers[0]["problem"]
    assert ["namespace"] == [each.rule for each in mismatches]


@examples(50)
@given(records=st.lists(EVERYTHING, min_size=1, max_size=5))
def test_java_reads_records_of_every_type(peer, records):
    values = [(HEADER + ENCODE(record)).hex() for record in records]

    assert [shown(record) for record in records] == peer.ask("avro-read", writer=SCHEMA, reader=SCHEMA, values=values)


@examples(50)
@given(records=st.lists(EVERYTHING.map(lambda record: record._replace(**NANOS)), min_size=1, max_size=5))
def test_java_writes_the_same_bytes_of_every_type(peer, records):
    written = peer.ask("avro-write", writer=SCHEMA, id=7, records=[shown(record) for record in records])

    assert [(HEADER + ENCODE(record)).hex() for record in records] == written


def test_java_alone_writes_other_nanoseconds_before_1970(peer):
    """Its conversion subtracts a millisecond where it should subtract a second; see "Types of fields" in schema.md."""
    moment = datetime(1969, 12, 31, 23, 59, 59, 500_000)
    record = SAMPLE._replace(fine_local=moment)
    (written,) = peer.ask("avro-write", writer=SCHEMA, id=7, records=[shown(record)])
    (read,) = peer.ask("avro-read", writer=SCHEMA, reader=SCHEMA, values=[written])

    assert "1970-01-01T00:00:00.499000" == read["fine_local"]
