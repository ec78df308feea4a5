"""Declarations of a record, and the errors for wrong ones."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple
from uuid import UUID

import pytest
from annotated_types import Ge, Lt

from tradepipe.trade.constraints import Digits, Identifier, Key, NotBefore, PartitionKey, Pattern, Together
from tradepipe.trade.declaration import REQUIRED, declare
from tradepipe.trade.model import DECLARATION, Side, Trade
from tradepipe.trade.types import Avro


def record(**fields):
    """A record with a valid key and these fields."""
    return NamedTuple("Record", [("id", Annotated[str, Key(), PartitionKey()]), *fields.items()])


def record_with_default(default, **fields):
    """A record whose last field has a default."""
    made = record(**fields)
    made._field_defaults[made._fields[-1]] = default
    return made


def test_the_fields_of_a_trade_are_declared_once():
    assert Trade._fields == tuple(field.name for field in DECLARATION.fields)
    assert ("trade_id", "version") == DECLARATION.primary_key
    assert "trade_id" == DECLARATION.partition_key


def test_the_kafka_key_need_not_be_the_first_field():
    declared = declare(NamedTuple("Record", [("day", date), ("id", Annotated[str, Key(), PartitionKey()])]))

    assert ("id", ("id",)) == (declared.partition_key, declared.primary_key)


def test_a_field_has_its_type_default_and_constraints():
    fields = {field.name: field for field in DECLARATION.fields}

    assert ("string", False, REQUIRED) == (fields["book_id"].type.kind, *fields["book_id"][2:4])
    assert (Side, False, Side.UNKNOWN) == (fields["side"].type.python, *fields["side"][2:4])
    assert ("numeric(18, 4)", True, None) == (fields["notional"].type.postgres, *fields["notional"][2:4])
    assert (Ge(1),) == fields["version"].constraints
    assert "VERSION" == fields["version"].code


WRONG = {
    "no key": (
        NamedTuple("Record", [("id", str)]),
        (),
        r"Record has no primary key: annotate at least one field with Key\(\)",
    ),
    "no Kafka key": (
        NamedTuple("Record", [("id", Annotated[str, Key()])]),
        (),
        r"Record needs one Kafka key: .* with PartitionKey\(\), not none",
    ),
    "two Kafka keys": (
        record(book=Annotated[str, Key(), PartitionKey()]),
        (),
        "annotate exactly one field of the primary key .* not id and book",
    ),
    "a Kafka key outside the primary key": (
        NamedTuple("Record", [("id", Annotated[str, Key()]), ("book", Annotated[str, PartitionKey()])]),
        (),
        "one field of the primary key",
    ),
    "a key that may be None": (
        record(book=Annotated[str | None, Key()]),
        (),
        "Record.book is part of a key, which does not allow None: remove None from its type",
    ),
    "an unsupported type": (record(price=set), (), "Record.price has the type <class 'set'>, which is not supported"),
    "a union of two types": (record(price=int | str), (), r"Record.price has the type int \| str, which is not"),
    "an unknown annotation": (
        record(price=Annotated[int, "positive"]),
        (),
        "Record.price is annotated with 'positive', which does not apply to int: use Key, PartitionKey, Ge,",
    ),
    "a class instead of an instance": (
        record(book=Annotated[str, Identifier]),
        (),
        r"Record.book is annotated with the class Identifier: write Identifier\(\)",
    ),
    "a constraint of another type": (
        record(price=Annotated[int, Pattern("[0-9]+")]),
        (),
        "Record.price is annotated with Pattern.*, which does not apply to int",
    ),
    "a bound of an enum": (
        record(side=Annotated[Side, Ge(1)]),
        (),
        "does not apply to Side: use Key, PartitionKey, Avro$",
    ),
    "a decimal without a size": (
        record(price=Decimal),
        (),
        r"Record.price is a decimal without a size: annotate it with Digits\(precision, scale\)",
    ),
    "a rule about an unknown field": (
        record(due=date),
        (NotBefore("due", "made"),),
        "NotBefore.* names made, which is not a field of Record",
    ),
    "a comparison of something else": (
        record(due=date, made=int),
        (NotBefore("due", "made"),),
        "compares made, which is not a date or datetime",
    ),
    "a comparison of two kinds": (
        record(due=datetime, made=Annotated[datetime, Avro("local-timestamp-micros")]),
        (NotBefore("due", "made"),),
        "NotBefore.* compares due, a timestamp, with a local-timestamp: give both the same type",
    ),
    "a limit of another type": (
        record(due=Annotated[date, Ge(1)]),
        (),
        r"Record.due is annotated with Ge\(ge=1\), whose limit is not a date",
    ),
    "bounds that exclude each other": (
        record(price=Annotated[int, Ge(5), Lt(5)]),
        (),
        r"Record.price is annotated with Ge\(ge=5\) and Lt\(lt=5\), which no value satisfies: change one",
    ),
    "a default of another type": (
        record_with_default(1, price=float),
        (),
        "Record.price has the default 1, which is not a float",
    ),
    "a default that breaks a constraint": (
        record_with_default(0, lots=Annotated[int, Ge(1)]),
        (),
        "Record.lots has the default 0, which is less than 1",
    ),
    "None without its type": (
        record_with_default(None, lots=int),
        (),
        "Record.lots has the default None: add None to its type",
    ),
    "a key of a list": (
        record(tags=Annotated[list[str], Key()]),
        (),
        r"Record.tags is part of a key, which does not allow list\[str\]",
    ),
    "a Kafka key that is no text": (
        NamedTuple("Record", [("id", Annotated[int, Key(), PartitionKey()])]),
        (),
        "Record.id is the Kafka key, so it must be a str, not int",
    ),
    "a name that is not Avro's": (record(preiß=float), (), "Record.preiß is not a name in Avro"),
    "fields that are never missing": (
        record(due=date | None, made=datetime),
        (Together("due", "made"),),
        "Together.* names made, which is never missing: add None to its type",
    ),
}


@pytest.mark.parametrize(("wrong", "rules", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_declaration_is_one_clear_error(wrong, rules, message):
    with pytest.raises(TypeError, match=message):
        declare(wrong, rules)


@pytest.mark.parametrize(
    "annotation",
    [bool, str, bytes, Annotated[bytes, Avro("fixed", 4)], UUID, list[int], dict[str, int], Side],
    ids=str,
)
def test_a_bound_applies_to_numbers_and_times_only(annotation):
    with pytest.raises(TypeError, match=r"Record\.value is annotated with Ge\(ge=1\), which does not apply to"):
        declare(record(value=Annotated[annotation, Ge(1)]))


def test_a_decimal_may_have_any_size():
    (_, price) = declare(record(price=Annotated[Decimal, Digits(38, 9)])).fields

    assert (Digits(38, 9),) == price.constraints
