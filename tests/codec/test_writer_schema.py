"""What is lost between two schemas."""

import pytest

from tradepipe.codec.writer_schema import differences, parse


def record(kind, **attributes):
    return parse({"type": "record", "name": "R", "fields": [{"name": "f", "type": kind} | attributes]})


def enum(*symbols, **attributes):
    return {"type": "enum", "name": "E", "symbols": symbols} | attributes


def decimal(precision, scale):
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


@pytest.mark.parametrize(
    ("writes", "reads", "told"),
    [
        (enum("A", "B"), enum("A", "B", "C"), []),
        (enum("A", "B"), enum("A", default="A"), [("symbol B", False)]),
        (enum("A", "B"), enum("A"), [("symbol B", True)]),
        (enum("A"), enum("A") | {"name": "F"}, [("enum E is not F", True)]),
        ("string", ["null", "string"], []),
        (["string", "null"], ["null", "string"], []),
        (["null", "string", "int"], ["null", "string"], [("int is not null", True)]),
        (decimal(18, 4), decimal(18, 4), []),
        (decimal(18, 2), decimal(18, 4), [("logical type decimal(18,2) is not decimal(18,4)", True)]),
        (["null", decimal(18, 4)], ["null", "bytes"], [("logical type decimal(18,4)", False)]),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, []),
        ({"type": "map", "values": "string"}, {"type": "map", "values": "int"}, [("string is not int", True)]),
        (
            {"type": "fixed", "name": "F", "size": 2},
            {"type": "fixed", "name": "F", "size": 3},
            [("another fixed type", True)],
        ),
        ("int", "double", []),
        ("double", "int", [("double is not int", True)]),
    ],
    ids=str,
)
def test_differences_are_those_of_schema_resolution_and_of_logical_types(writes, reads, told):
    found = differences(record(writes), record(reads))

    assert told == [(difference.description, difference.is_fatal) for difference in found]


def test_a_field_the_writer_lacks_takes_its_default():
    writer, reader = parse({"type": "record", "name": "R", "fields": []}), record(["null", "string"], default=None)

    assert [] == list(differences(writer, reader))
