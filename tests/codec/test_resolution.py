"""Schema resolution: records of any writer schema are read as fastavro and Apache's avro read them."""

import json
import struct
from typing import Annotated, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.every_type import (
    avro_long,
    codec_of,
    make_decoder,
    plain_record,
    read,
    schema_of,
    write,
)
from tests.codec.written_types import written_records
from tests.properties import examples
from tests.trade.all_types import member_values
from tests.trade.declarations import declarations
from tradepipe.codec.admission import check_limits, parse_writer_schema
from tradepipe.codec.steps import Missing, Read, Record, Scalar, Symbol, Union, resolve
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.resolution import STRUCTURAL, find_mismatches
from tradepipe.evolution.schema_tree import build_schema_tree
from tradepipe.trade.constraints import Key, PartitionKey
from tradepipe.trade.declaration import declare
from tradepipe.trade.types import REQUIRED, Avro


@examples(300)
@given(st.data())
def test_a_record_of_any_schema_that_resolves_is_read_as_fastavro_reads_it(data):
    declaration = data.draw(declarations())
    writer, datum = data.draw(written_records(declaration))
    tree, codec = parse_writer_schema(writer), codec_of(declaration)
    check_limits(tree)
    assert not [found for found in find_mismatches(codec.reader, tree) if found.rule in STRUCTURAL]
    body = write(writer, datum)
    record = make_decoder(codec, writer)(body)

    assert read(body, writer, schema_of(declaration)) == plain_record(declaration, record)


@given(st.data())
def test_a_field_of_any_type_that_is_not_written_has_its_default(data):
    declaration = data.draw(declarations())
    schema = schema_of(declaration)
    written = [field for field in schema["fields"] if "default" not in field]
    record = declaration.record(*(data.draw(member_values(field.member)) for field in declaration.fields))
    defaults = {field.name: field.default for field in declaration.fields if field.default is not REQUIRED}
    body = write(schema | {"fields": written}, plain_record(declaration, record))

    assert record._replace(**defaults) == make_decoder(codec_of(declaration), schema | {"fields": written})(body)


def of_one(annotation: Any, default: Any = ...) -> Any:
    """A declaration with one field besides its key."""

    class R(NamedTuple):
        id: Annotated[str, Key(), PartitionKey()]
        x: annotation  # type: ignore[valid-type]  # each test's

    if default is not ...:
        R._field_defaults["x"] = default
    return declare(R)


def read_one(annotation: Any, kind: Any, body: bytes) -> Any:
    """Read a field of a writer's type as a declared type."""
    writer = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}, {"name": "x", "type": kind}]}
    return make_decoder(codec_of(of_one(annotation)), writer)(b"\x00" + body).x


LONG = Annotated[int, Avro("long")]
FLOAT = Annotated[float, Avro("float")]
FIXED = {"type": "fixed", "name": "X", "size": 3}


@pytest.mark.parametrize(
    ("annotation", "kind", "body", "value"),
    [
        (LONG, "int", b"\x03", -2),
        (FLOAT, "int", b"\x03", -2.0),
        (FLOAT, "long", b"\x82\x80\x80\x10", 16777216.0),
        (float, "int", b"\x03", -2.0),
        (float, "long", b"\x03", -2.0),
        (float, "float", struct.pack("<f", 0.25), 0.25),
        (bytes, "string", b"\x04\xc3\xa9", b"\xc3\xa9"),
        (str, "bytes", b"\x04\xc3\xa9", "é"),
        (float | None, "null", b"", None),
        (float | None, ["int", "double", "null", "float"], b"\x00\x03", -2.0),
        (float | None, ["int", "double", "null", "float"], b"\x04", None),
        (float, ["string", "int"], b"\x02\x04", 2.0),
        (list[LONG], {"type": "array", "items": "int"}, b"\x03\x04\x02\x04\x00", [1, 2]),
        (dict[str, float], {"type": "map", "values": "int"}, b"\x03\x0c\x02a\x02\x02b\x04\x00", {"a": 1.0, "b": 2.0}),
    ],
    ids=str,
)
def test_a_promoted_value_is_read(annotation, kind, body, value):
    assert value == read_one(annotation, kind, body)


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_long_is_read_as_the_nearest_float(number):
    """As Java's cast, which rounds once."""
    found = read_one(FLOAT, "long", avro_long(number))
    step = struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack("<f", abs(found)))[0] + 1))[0]

    assert abs(int(found) - number) * 2 <= int(step) - int(abs(found)) or abs(number) < 2**24
    assert struct.unpack("<f", struct.pack("<f", found))[0] == found


@pytest.mark.parametrize(
    ("annotation", "kind", "body", "problem"),
    [
        (float, ["string", "int"], b"\x00\x02a", "x holds string, which does not resolve to double"),
        (float, ["null", "int"], b"\x00", "x holds null, which does not resolve to double"),
        (int | None, ["null", "long"], b"\x02\x02", "x holds long, which does not resolve to int"),
        (
            Annotated[bytes, Avro("fixed", 2)],
            {"type": "fixed", "name": "X", "size": 3},
            bytes(3),
            "x holds a fixed of 3",
        ),
    ],
    ids=str,
)
def test_a_branch_that_does_not_resolve_is_refused(annotation, kind, body, problem):
    with pytest.raises(UndecodableRecord) as refused:
        read_one(annotation, kind, body)

    assert problem in refused.value.violation.detail


def test_a_field_is_found_by_its_alias():
    schema = schema_of(of_one(int))
    reader, writer = json.loads(json.dumps(schema)), json.loads(json.dumps(schema))
    reader["fields"][1]["aliases"] = ["old"]
    writer["fields"][1]["name"] = "old"

    plan = resolve(build_schema_tree(reader), parse_writer_schema(writer))

    assert Record((Read("id", 0, Scalar("string", kind="string")), Read("old", 1, Scalar("int", kind="int")))) == plan


def test_a_plan_is_a_value_of_tuples_texts_and_numbers():
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["UP", "DOWN"], "default": "UP"}},
            {"name": "legs", "type": {"type": "array", "items": "long"}, "default": [1]},
        ],
    }
    side = {"type": "enum", "name": "Side", "symbols": ["FLAT", "DOWN"]}
    writer = schema | {"fields": [{"name": "side", "type": ["null", side]}, {"name": "more", "type": "long"}]}
    writer["fields"].append(schema["fields"][0])
    plan = resolve(parse_writer_schema(schema), parse_writer_schema(writer))
    mismatch = plan.reads[0].step.branches[0]

    expected = (
        Read("side", 1, Union((mismatch, Symbol(("UP", "DOWN"))))),
        Read("more", -1, Scalar("long")),
        Read("price", 0, Scalar("bytes", 0, "decimal", 9, 2)),
    )
    assert Record(expected, (Missing("legs", 2, [1]),)) == plan


def test_a_field_without_a_default_must_be_written():
    schema = schema_of(of_one(int))
    with pytest.raises(TypeError, match="field x has no default and is missing from the writer schema"):
        resolve(parse_writer_schema(schema), parse_writer_schema(schema | {"fields": schema["fields"][:1]}))


def test_a_missing_list_is_another_one_in_each_record():
    declaration = of_one(list[int], [1])
    schema = schema_of(declaration)
    decode = make_decoder(codec_of(declaration), schema | {"fields": schema["fields"][:1]})
    decode(b"\x00").x.append(2)

    assert [1] == decode(b"\x00").x
