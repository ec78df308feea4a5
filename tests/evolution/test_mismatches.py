"""Mismatches between a writer schema and a reader schema."""

import pytest

from tests.evolution.schemas import decimal, enum, field, logical, record
from tradepipe.evolution.resolution import find_mismatches
from tradepipe.evolution.schema_tree import build_schema_tree


def mismatches(writer, reader):
    """Return the rule, the path and the dropped part of each mismatch."""
    found = find_mismatches(build_schema_tree(reader), build_schema_tree(writer))
    return [(each.rule, "".join(each.path), each.dropped) for each in found]


FIXED_UUID = {"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}


@pytest.mark.parametrize(
    ("writer", "reader", "expected"),
    [
        (enum("A", "B"), enum("A", "B", "C"), []),
        (enum("A", "B", "C"), enum("A", default="A"), [("symbol-dropped", "symbol B, C")]),
        (enum("A", "B"), enum("A"), [("enum-symbol", "")]),
        (enum("A"), enum("A") | {"name": "F"}, [("name", "")]),
        ("string", ["null", "string"], []),
        (["string", "null"], ["null", "string"], []),
        (["null", "string", "int"], ["null", "string"], [("union-branch", "")]),
        (decimal(18, 4), decimal(18, 4), []),
        (decimal(10, 4), decimal(18, 4), []),
        (decimal(18, 4), decimal(10, 4), [("decimal-precision", "")]),
        (decimal(18, 2), decimal(18, 4), [("decimal-scale", ""), ("decimal-precision", "")]),
        (["null", decimal(18, 4)], ["null", "bytes"], [("logical-type", "logical type decimal(18,4)")]),
        (logical("long", "timestamp-nanos"), "long", [("logical-type", "logical type timestamp-nanos")]),
        (logical("int", "timestamp-nanos"), "int", []),
        (logical("string", "uuid"), "string", [("uuid-dropped", "logical type uuid")]),
        (FIXED_UUID, FIXED_UUID | {"logicalType": "x"}, [("logical-type", "")]),
        ({"type": "fixed", "name": "F", "size": 16}, FIXED_UUID, []),
        ("string", logical("string", "uuid"), [("uuid", "")]),
        (FIXED_UUID | {"size": 2}, {"type": "fixed", "name": "F", "size": 2}, []),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, []),
        ({"type": "fixed", "name": "F", "size": 2}, {"type": "fixed", "name": "F", "size": 3}, [("fixed-size", "")]),
        ("int", "double", []),
        ("double", "int", [("type", "")]),
    ],
    ids=str,
)
def test_types_mismatch_where_schema_resolution_or_a_logical_type_does(writer, reader, expected):
    found = mismatches(record(field("f", writer)), record(field("f", reader)))

    assert [(rule, ".f", dropped) for rule, dropped in expected] == found


def test_a_field_the_writer_lacks_takes_its_default():
    assert [] == mismatches(record(), record(field("f", ["null", "string"], default=None)))


def test_a_field_the_reader_lacks_is_dropped():
    inner = {"type": "array", "items": record(field("g"), name="Leg")}
    reader = {"type": "array", "items": record(name="Leg")}

    assert [("field-dropped", ".f[].g", "field g")] == mismatches(record(field("f", inner)), record(field("f", reader)))
