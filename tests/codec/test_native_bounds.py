"""The compiled core passes what Python passes at the bounds of each type and rule."""

from datetime import date, datetime, time
from decimal import Decimal
from struct import pack
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import pytest

from tests.codec.every_type import codec_of, schema_of
from tests.codec.executors import Executors
from tradepipe.codec.codec import MAX_BODY
from tradepipe.codec.primitives import MAX_MICROS, MIN_MICROS, encode_varint
from tradepipe.trade.constraints import Digits, Key, NotBefore, PartitionKey, Together
from tradepipe.trade.declaration import declare
from tradepipe.trade.types import Avro

DAY = 86_400_000_000
DECIMAL = Annotated[Decimal, Digits(18, 4)]


def sized(content: bytes) -> bytes:
    return encode_varint(len(content)) + content


def unscaled(number: int, size: int = 20) -> bytes:
    return sized(number.to_bytes(size, "big", signed=True))


def executors(*hints: Any, rules: Any = (), more: Any = None) -> Executors:
    """Both executors of a record with a key and fields of some types; `more` is the type of a last, skipped field."""
    fields = [("id", Annotated[str, Key(), PartitionKey()]), *zip("ab", hints, strict=False)]
    declaration = declare(NamedTuple("Bounds", fields), rules)
    schema = schema_of(declaration)
    writer = schema if more is None else schema | {"fields": [*schema["fields"], {"name": "more", "type": more}]}
    return Executors(codec_of(declaration), writer)


def passing(both: Executors, values: list[bytes]) -> list[int]:
    """The places of the values that pass; both executors agree on each."""
    return [place for place, value in enumerate(values) if both.row(b"\x04T1" + value) is not None]


@pytest.mark.parametrize(
    ("hint", "numbers"),
    [
        (int, (-(2**31), 2**31 - 1, 2**31, -(2**31) - 1)),
        (Annotated[int, Avro("long")], (-(2**63), 2**63 - 1)),
        (date, (-719_162, 2_932_896, -719_163, 2_932_897)),
        (time, (0, DAY - 1, -1, DAY)),
        (Annotated[time, Avro("time-millis")], (0, DAY // 1_000 - 1, -1, DAY // 1_000)),
        (datetime, (MIN_MICROS, MAX_MICROS, MIN_MICROS - 1, MAX_MICROS + 1)),
        (
            Annotated[datetime, Avro("local-timestamp-millis")],
            (MIN_MICROS // 1_000, MAX_MICROS // 1_000, MIN_MICROS // 1_000 - 1, MAX_MICROS // 1_000 + 1, 2**63 - 1),
        ),
        (Annotated[datetime, Avro("timestamp-nanos")], (-(2**63) + 808, 2**63 - 808 + 1, 2**63 - 1, 1_001, -1)),
    ],
    ids=str,
)
def test_numbers_pass_within_the_bounds_of_their_type(hint, numbers):
    found = passing(executors(hint), [encode_varint(number) for number in numbers])

    assert found[:1] == [0]
    assert len(numbers) == 2 or len(found) < len(numbers)


@pytest.mark.parametrize(
    ("hint", "values", "expected"),
    [
        (bool, [b"\0", b"\1", b"\2", b"\xff"], [0, 1]),
        (int, [b"\x82\x80\x80\x80\x00", b"\x82\x80\x80\x80\x80\x00", b"\x80\x80\x80\x80\x10"], [0]),
        (str, [sized("é".encode()), sized(b"a\0"), sized(b"\xff"), sized(b"\xed\xa0\x80"), b"\x04a", b"\x01"], [0]),
        (bytes, [sized(b"\0\xff"), b"\x04a"], [0]),
        (float, [pack("<d", each) for each in (-0.0, float("inf"), float("nan"))], [0]),
        (Annotated[float, Avro("float")], [pack("<f", each) for each in (0.25, float("-inf"))], [0]),
        (DECIMAL, [unscaled(each) for each in (10**18 - 1, 1 - 10**18, 10**18, -(10**18), 10**40)], [0, 1]),
        (DECIMAL, [unscaled(each, 8) for each in (0, -1, 10**18 - 1, 10**18)], [0, 1, 2]),
        (DECIMAL, [sized(b""), sized(b"\0"), sized(b"\xff" * 300), sized(b"\x80" + b"\xff" * 300)], [1, 2]),
        (
            Annotated[Decimal, Digits(60, 3)],
            [unscaled(each, 30) for each in (10**60 - 1, 10**60, -(10**60) + 1)],
            [0, 2],
        ),
        (
            UUID,
            [sized(each) for each in (str(UUID(int=2**127)).encode(), b"g" * 36, b"0" * 36, b"0" * 32, b"")],
            [0],
        ),
    ],
    ids=str,
)
def test_values_pass_within_the_bounds_of_their_type(hint, values, expected):
    assert expected == passing(executors(hint), values)


def test_a_record_ends_with_its_last_field():
    assert [0] == passing(executors(int), [b"\x02", b"\x02\x00", b"", b"\x82"])


def test_a_time_may_be_equal_to_the_one_it_is_not_before():
    both = executors(datetime, datetime, rules=[NotBefore("a", "b")])
    pairs = [(5, 5), (6, 5), (5, 6)]

    assert [0, 1] == passing(both, [encode_varint(one) + encode_varint(other) for one, other in pairs])


def test_a_date_is_compared_with_the_date_of_a_time():
    both = executors(date, datetime, rules=[NotBefore("a", "b")])
    pairs = [(0, 0), (0, DAY - 1), (0, DAY), (-1, -1), (-2, -1), (-1, 0)]

    assert [0, 1, 3] == passing(both, [encode_varint(one) + encode_varint(other) for one, other in pairs])


def test_fields_are_given_together():
    both = executors(int | None, int | None, rules=[Together("a", "b")])

    assert [0, 1] == passing(both, [b"\0\0", b"\2\2\2\2", b"\0\2\2", b"\2\2\0"])


@pytest.mark.parametrize(
    ("more", "values", "expected"),
    [
        (
            {"type": "array", "items": "int"},
            [b"\0", b"\3\4\2\4\0", b"\3\6\2\4\0", b"\3\2\2\4\0", b"\x08\2\4\0"],
            [0, 1],
        ),
        ({"type": "map", "values": "int"}, [b"\2\2k\2\0", b"\2\2k\2", b"\2\1k\2\0"], [0]),
        (["null", "boolean"], [b"\0", b"\2\1", b"\2\2", b"\4"], [0, 1]),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, [b"\0", b"\2", b"\4", b"\1"], [0, 1]),
        ({"type": "fixed", "name": "F", "size": 2}, [b"ab", b"a", b"abc"], [0]),
    ],
    ids=str,
)
def test_the_structure_of_what_is_skipped_is_checked(more, values, expected):
    assert expected == passing(executors(more=more), values)


def test_the_longest_body_passes_and_a_longer_one_does_not():
    both = executors(int, more="string")
    start = b"\x02"
    longest = MAX_BODY - len(b"\x04T1" + start) - len(encode_varint(MAX_BODY - 100))

    assert [0] == passing(both, [start + sized(b"x" * length) for length in (longest, longest + 1)])
