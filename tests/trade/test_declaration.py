"""Declarations of a record, and the errors for wrong ones."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

import pytest
from annotated_types import Ge

from tradepipe.trade.constraints import Digits, Identifier, Key, NotBefore, PartitionKey, Pattern, Together
from tradepipe.trade.declaration import REQUIRED, declare
from tradepipe.trade.model import DECLARATION, Side, Trade


def record(**fields):
    """A record with a valid key and these fields."""
    return NamedTuple("Record", [("id", Annotated[str, Key(), PartitionKey()]), *fields.items()])


def test_the_fields_of_a_trade_are_declared_once():
    assert Trade._fields == tuple(field.name for field in DECLARATION.fields)
    assert ("trade_id", "version") == DECLARATION.primary_key
    assert "trade_id" == DECLARATION.partition_key


def test_a_field_has_its_type_default_and_constraints():
    fields = {field.name: field for field in DECLARATION.fields}

    assert (str, False, REQUIRED) == fields["book_id"][1:4]
    assert (Side, False, Side.UNKNOWN) == fields["side"][1:4]
    assert (Decimal, True, None) == fields["notional"][1:4]
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
        "Record.book is part of a key, so it cannot be None: remove None from its type",
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
    "a bound of an enum": (record(side=Annotated[Side, Ge(1)]), (), "does not apply to Side: use Key, PartitionKey$"),
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


def test_a_decimal_may_have_any_size():
    (_, price) = declare(record(price=Annotated[Decimal, Digits(38, 9)])).fields

    assert (Digits(38, 9),) == price.constraints
