"""Types of declared fields: the Avro type, the column, the check of a value, and defaults."""

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import avro.schema
import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trade.all_types import EVERY, EVERYTHING, Colour, Every, Leg, values
from tradepipe.trade.avro_types import from_default, record_schema, to_default, type_schema
from tradepipe.trade.constraints import Digits, Pattern
from tradepipe.trade.json_values import from_json, to_json
from tradepipe.trade.type_checks import MAX_INT, MAX_LONG, type_problem_finder
from tradepipe.trade.types import Avro, read_annotation

FIELDS = {field.name: field for field in EVERY.fields}


def type_of(annotation):
    return read_annotation("Trade.field", annotation).type


@pytest.mark.parametrize(
    ("annotation", "schema", "column"),
    [
        (bool, "boolean", "boolean"),
        (int, "int", "integer"),
        (Annotated[int, Avro("long")], "long", "bigint"),
        (float, "double", "double precision"),
        (Annotated[float, Avro("float")], "float", "real"),
        (str, "string", "text"),
        (bytes, "bytes", "bytea"),
        (Annotated[bytes, Avro("fixed", 4)], {"type": "fixed", "name": "Fixed", "size": 4}, "bytea"),
        (UUID, {"type": "string", "logicalType": "uuid"}, "uuid"),
        (
            Annotated[UUID, Avro("fixed", 16)],
            {"type": "fixed", "name": "Fixed", "size": 16, "logicalType": "uuid"},
            "uuid",
        ),
        (
            Annotated[Decimal, Digits(18, 4)],
            {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4},
            "numeric(18, 4)",
        ),
        (date, {"type": "int", "logicalType": "date"}, "date"),
        (time, {"type": "long", "logicalType": "time-micros"}, "time"),
        (Annotated[time, Avro("time-millis")], {"type": "int", "logicalType": "time-millis"}, "time"),
        (datetime, {"type": "long", "logicalType": "timestamp-micros"}, "timestamptz"),
        (
            Annotated[datetime, Avro("local-timestamp-nanos")],
            {"type": "long", "logicalType": "local-timestamp-nanos"},
            "timestamp",
        ),
        (list[str | None], {"type": "array", "items": ["null", "string"]}, "jsonb"),
        (dict[str, bytes], {"type": "map", "values": "bytes"}, "jsonb"),
        (
            Colour,
            {"type": "enum", "name": "Colour", "symbols": ["UNKNOWN", "RED", "GREEN"], "default": "UNKNOWN"},
            "text",
        ),
    ],
    ids=str,
)
def test_an_annotation_has_one_avro_type_and_one_column(annotation, schema, column):
    assert (schema, column) == (type_schema(type_of(annotation), set()), type_of(annotation).postgres)


@pytest.mark.filterwarnings("ignore::avro.errors.IgnoredLogicalType")
def test_the_schema_of_every_type_is_valid_for_fastavro_and_avro():
    schema = json.dumps(record_schema("Every", (field.member for field in EVERY.fields)))

    assert Every._fields == tuple(field["name"] for field in fastavro.parse_schema(json.loads(schema))["fields"])
    assert list(Every._fields) == [field.name for field in avro.schema.parse(schema, validate_names=True).fields]


@given(EVERYTHING)
def test_a_value_of_the_declared_types_has_no_problem(record):
    found = [type_problem_finder(field.type)(value) for field, value in zip(EVERY.fields, record, strict=True) if value]

    assert [None] * len(found) == found


@given(st.sampled_from(EVERY.fields).flatmap(lambda field: st.tuples(st.just(field.type), values(field.type))))
def test_a_default_in_json_means_the_same_value(found):
    type_, value = found

    assert value == from_default(type_, json.loads(json.dumps(to_default(type_, value))))


@given(st.sampled_from(EVERY.fields).flatmap(lambda field: st.tuples(st.just(field.type), values(field.type))))
def test_a_value_in_json_is_the_same_value(found):
    type_, value = found

    assert value == from_json(type_, to_json(type_, value))


def test_json_is_what_a_reader_of_jsonb_expects():
    legs = [Leg(Decimal("1.50"), date(2025, 6, 1), Colour.RED), None]

    assert '[{"rate": 1.50, "starts": "2025-06-01", "colour": "RED"}, null]' == to_json(FIELDS["legs"].type, legs)
    assert '"\\\\x00ff"' == to_json(FIELDS["content"].type, b"\0\xff")


EAST = timezone(timedelta(hours=14))
WRONG: list[tuple[str, Any, str]] = [
    ("flag", 1, "is not a bool"),
    ("number", True, "is not an int"),
    ("number", MAX_INT + 1, "is greater than 2147483647"),
    ("quantity", MAX_LONG + 1, "is greater than 9223372036854775807"),
    ("price", 1, "is not a float"),
    ("price", float("nan"), "is not a finite number"),
    ("price", float("-inf"), "is not a finite number"),
    ("single", 0.1, "a float does not hold exactly; the nearest one is 0.10000000149011612"),
    ("single", 1e300, "is too large for a float"),
    ("text", "a\0", "holds the character NUL, which PostgreSQL does not store"),
    ("text", "\ud800", "holds a lone surrogate"),
    ("content", bytearray(b"x"), "is not a bytes"),
    ("digest", b"abc", "has 3 bytes, not 4"),
    ("colour", "RED", "is not a Colour"),
    ("amount", Decimal("NaN"), "is not a finite number"),
    ("uuid", "00000000-0000-0000-0000-000000000000", "is not a UUID"),
    ("day", datetime(2025, 6, 1), "is not a date"),
    ("hour", time(1, tzinfo=UTC), "has a time zone"),
    ("coarse_hour", time(1, microsecond=1), "has microseconds, but its type holds milliseconds"),
    ("instant", datetime(2025, 6, 1), "has no time zone"),
    ("instant", datetime.min.replace(tzinfo=EAST), "is outside the years 1 to 9999 in UTC"),
    ("coarse_instant", datetime(2025, 6, 1, microsecond=1, tzinfo=UTC), "has microseconds, but its type holds"),
    ("fine_instant", datetime(2263, 1, 1, tzinfo=UTC), "is outside the years 1677 to 2262"),
    ("local", datetime(2025, 6, 1, tzinfo=UTC), "has a time zone"),
    ("tags", ("a",), "is not a list[str]"),
    ("tags", ["a", 1], "has at [1] 1, which is not a str"),
    ("tags", [None], "has at [0] None, which is not a str"),
    ("rates", {1: Decimal(1)}, "has the key 1, which is not a str"),
    ("rates", {"a": Decimal("0.0000001")}, "has at ['a'] 1E-7, which has 7 decimal places, at most 6 are allowed"),
    ("leg", (Decimal(1), date(2025, 6, 1), None), "is not a Leg"),
    ("leg", Leg(Decimal(1), None), "has at .starts None, which is not a date"),  # type: ignore[arg-type]
    ("legs", [None, Leg(Decimal(1), date.min, "RED")], "has at [1] Leg("),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("field", "value", "problem"), WRONG, ids=lambda value: ascii(value)[:40])
def test_a_value_of_another_type_has_a_problem(field, value, problem):
    found = type_problem_finder(FIELDS[field].type)(value)

    assert found is not None
    assert found.startswith(problem)


class Node(NamedTuple):
    children: "list[Node]"


class Limited(NamedTuple):
    name: Annotated[str, Pattern("[A-Z]")]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (set, "has the type <class 'set'>, which is not supported: use one of bool, int, float, str, bytes, StrEnum,"),
        (list, "which is not supported"),
        (int | str, r"has the type int \| str, which is not supported"),
        (Annotated[int, Avro("double")], r"annotated with Avro\(.*, which is not an Avro type of int: use int, long"),
        (Annotated[datetime, Avro("date")], "not an Avro type of datetime: use timestamp-micros,"),
        (Annotated[datetime, Avro("long")], "not an Avro type of datetime"),
        (Annotated[bytes, Avro("fixed")], r'a fixed of 0 bytes: write Avro\("fixed", 16\), with its size'),
        (Annotated[UUID, Avro("fixed", 8)], "is a fixed of 8 bytes"),
        (Annotated[int, Avro("long", 8)], "only a fixed has a size"),
        (Annotated[list[int], Avro("array")], "which does not apply to list"),
        (Annotated[Decimal, Digits(4, 5)], "a scale from 0 to the precision"),
        (Annotated[Decimal, Digits(18, 4), Avro("fixed", 7)], "of which a fixed of 7 bytes does not hold all numbers"),
        (Annotated[Decimal, Digits(18, 4), Digits(9, 2)], "besides another one"),
        (dict[int, str], "the keys of a map are strings"),
        (Node, r"Trade.field.children\[\] has the type Node, which holds itself"),
        (Limited, "Trade.field.name is annotated with Pattern.* has only a type"),
    ],
    ids=str,
)
def test_a_wrong_type_is_one_clear_error(annotation, message):
    with pytest.raises(TypeError, match=message):
        type_of(annotation)
