"""What stands in a file as a trade, value by value."""

import json
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given

from tests.trade.all_types import EVERY, EVERYTHING, Colour, Leg
from tradepipe.files import errors, fields, values
from tradepipe.files.fields import DECODER, json_value
from tradepipe.files.formats import Formats
from tradepipe.trade.json_values import to_json
from tradepipe.trade.model import Side, Trade
from tradepipe.trade.type_checks import MAX_INT


def test_every_field_of_a_trade_can_be_read_in_its_order():
    assert Trade._fields == tuple(fields.FIELDS)


@pytest.mark.parametrize("text", ["0", "1", "73", "-5", "2147483648", "9" * 19])
def test_a_whole_number_is_plain_digits(text):
    assert int(text) == values.whole_number(text, 1, MAX_INT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "1.0",
        "1e3",
        "1_000",
        "1,000",
        "01",
        "0x1",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "true",
        "-",
        "--1",
        "9" * 20,
        "1\n",
    ],
)
def test_anything_else_is_no_whole_number(text):
    with pytest.raises(ValueError, match="is not a whole number from 1 to 2147483647 in plain digits"):
        values.whole_number(text, 1, MAX_INT)


def test_a_date_is_year_month_day():
    assert date(2030, 1, 31) == values.calendar_date("2030-01-31")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2030-1-31",
        "20300131",
        "2030-W05-4",
        "31.01.2030",
        "01/31/2030",
        " 2030-01-31",
        "2030-01-31T00:00:00",
        "2030-01-3\N{FULLWIDTH DIGIT ONE}",
    ],
)
def test_a_date_is_written_in_no_other_way(text):
    with pytest.raises(ValueError, match="is not a date as YYYY-MM-DD"):
        values.calendar_date(text)


@pytest.mark.parametrize("text", ["2030-02-30", "2030-13-01", "0000-01-01"])
def test_a_date_is_in_the_calendar(text):
    with pytest.raises(ValueError, match="is not a date: "):
        values.calendar_date(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-06-01T08:00:00Z", datetime(2025, 6, 1, 8, tzinfo=UTC)),
        ("2025-06-01 08:00:00Z", datetime(2025, 6, 1, 8, tzinfo=UTC)),
        ("2025-06-01T08:00:00+00", datetime(2025, 6, 1, 8, tzinfo=UTC)),
        ("2025-06-01T10:00:00+02:00", datetime(2025, 6, 1, 8, tzinfo=UTC)),
        ("2025-06-01T03:30:00-04:30", datetime(2025, 6, 1, 8, tzinfo=UTC)),
        ("2025-06-01T08:00:00.1Z", datetime(2025, 6, 1, 8, 0, 0, 100_000, UTC)),
        ("2025-06-01T08:00:00.123456Z", datetime(2025, 6, 1, 8, 0, 0, 123_456, UTC)),
        ("0001-01-01T00:00:00+01:00", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    ],
)
def test_an_instant_is_iso_8601_with_an_offset(text, expected):
    assert expected == values.instant(text)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("2025-06-01T08:00:00", "has no offset: append Z"),
        ("2025-06-01T08:00:00.1234567Z", "has more than six fractional digits"),
        ("2025-06-01T08:00Z", "is not a timestamp such as"),
        ("2025-06-01", "is not a timestamp such as"),
        ("20250601T080000Z", "is not a timestamp such as"),
        ("2025-06-01T08:00:00,5Z", "is not a timestamp such as"),
        ("2025-06-01T08:00:00z", "is not a timestamp such as"),
        ("2025-06-01T08:00:00 UTC", "is not a timestamp such as"),
        ("1748764800", "is not a timestamp such as"),
        (" 2025-06-01T08:00:00Z", "is not a timestamp such as"),
        ("2025-06-01T08:00:60Z", "is not a timestamp: "),
        ("2025-06-01T24:00:00Z", "is not a timestamp: "),
        ("2025-02-30T08:00:00Z", "is not a timestamp: "),
        ("2025-06-01T08:00:00+99:00", "is not a timestamp: "),
    ],
)
def test_an_instant_in_another_form_is_an_error(text, reported):
    with pytest.raises(ValueError, match=reported):
        values.instant(text)


@pytest.mark.parametrize(
    ("field", "value", "reported"),
    [
        ("trade_id", 1, "the number 1 is not a string"),
        ("trade_id", None, "null is not a string"),
        ("trade_id", ["T1"], "an array is not a string"),
        ("version", True, "true is not a whole number"),
        ("version", 1.0, "the number 1.0 is not a whole number"),
        ("version", "1", "the string '1' is not a whole number"),
        ("version", {}, "an object is not a whole number"),
        ("maturity_date", 20300101, "the number 20300101 is not a string"),
        ("maturity_date", "1.1.2030", "'1.1.2030' is not a date as YYYY-MM-DD"),
        ("created_at", 1748764800, "the number 1748764800 is not a string"),
        ("created_at", False, "false is not a string"),
        ("side", 1, "the number 1 is not a string"),
        ("side", "Buy", "'Buy' is not one of UNKNOWN, BUY, SELL"),
        ("notional", True, "true is not a number"),
        ("notional", "1,5", "'1,5' is not a decimal number in plain digits"),
        ("notional", [], "an array is not a number"),
        ("currency", 978, "the number 978 is not a string"),
    ],
)
def test_a_json_value_of_another_type_is_not_converted(field, value, reported):
    with pytest.raises(ValueError, match=reported):
        fields.FIELDS[field].from_json(value)


@pytest.mark.parametrize("text", ["0", "1250000.50", "-0.0001", "99999999999999.9999", "1." + "0" * 18, "0.10"])
def test_a_decimal_is_plain_digits_and_keeps_its_last_place(text):
    assert text == str(values.decimal(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "+1",
        "1.",
        ".5",
        "1e3",
        "1,000.00",
        "1.000,00",
        "01",
        "1_0",
        "NaN",
        "Infinity",
        "1\n",
        "\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_anything_else_is_no_decimal(text):
    with pytest.raises(ValueError, match="is not a decimal number in plain digits, such as 1250000.50"):
        values.decimal(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7, "7"), (Decimal("0.1"), "0.1"), (Decimal("1E+3"), "1E+3"), ("1250000.50", "1250000.50")],
)
def test_an_amount_of_json_is_a_number_or_a_string_of_one(value, expected):
    assert expected == str(fields.field_parsers(Formats())["notional"].from_json(value))


@pytest.mark.parametrize("text", ["buy", "B", "BUY ", "LONG", "1"])
def test_a_side_is_named_in_capitals(text):
    with pytest.raises(ValueError, match="is not one of UNKNOWN, BUY, SELL"):
        values.symbol(text, "side", Side)


@pytest.mark.parametrize("field", Trade._field_defaults)
def test_an_empty_cell_is_the_default_of_a_field_that_has_one(field):
    assert Trade._field_defaults[field] == fields.from_text(field, "")


def test_a_cell_keeps_its_blanks():
    """The rules refuse them; dropping them would make another trade of it."""
    assert " T1 " == fields.FIELDS["trade_id"].from_text(" T1 ")


def test_unreadable_values_are_reported_in_the_order_of_the_fields():
    cells = dict.fromkeys(Trade._fields, "x")

    found = fields.read({name: lambda name=name: fields.FIELDS[name].from_text(cells[name]) for name in cells})

    assert ["VERSION", "MATURITY_DATE", "CREATED_AT", "SIDE", "NOTIONAL"] == [violation.code for violation in found]
    assert "version: 'x' is not a whole number from 1 to 2147483647 in plain digits" == found[0].detail


def test_every_field_has_a_separate_code():
    assert list(Trade._fields) == [fields.code_of(field).lower() for field in Trade._fields]


def test_a_long_value_is_cut_in_a_message():
    assert f"'{'x' * 60}'… (5000 characters)" == errors.quote_cell("x" * 5000)


EVERY_FIELD = fields.field_parsers(Formats(), EVERY)

PLAIN = [
    ("flag", "true", True),
    ("quantity", str(2**62), 2**62),
    ("price", "1.5e-3", 0.0015),
    ("content", "0x00ff", b"\x00\xff"),
    ("content", "AP8=", b"\x00\xff"),
    ("colour", "RED", Colour.RED),
    ("uuid", "0b0e1c1a-52a3-4a6e-9f5e-2f0f6f3c1f77", UUID("0b0e1c1a-52a3-4a6e-9f5e-2f0f6f3c1f77")),
    ("hour", "08:30", time(8, 30)),
    ("local", "2025-06-01T08:00:00", datetime(2025, 6, 1, 8)),
    ("tags", '["a", "b"]', ["a", "b"]),
    ("rates", '{"EUR": 1.500000}', {"EUR": Decimal("1.500000")}),
    ("legs", '[null, {"rate": 1.5, "starts": "2025-01-02"}]', [None, Leg(Decimal("1.5"), date(2025, 1, 2))]),
]


@pytest.mark.parametrize(("field", "text", "expected"), PLAIN, ids=[f"{field} {text[:9]}" for field, text, _ in PLAIN])
def test_a_text_of_each_type_is_read(field, text, expected):
    assert expected == EVERY_FIELD[field].from_text(text)


WRONG = [
    ("flag", "yes", "'yes' is not true or false; map it with --value, as flag:yes=true"),
    ("quantity", "1.5", f"'1.5' is not a whole number from {-(2**63)} to {2**63 - 1} in plain digits"),
    ("price", "1,5", "'1,5' is not a number such as 1250.5 or 1.5e-3; name its signs, as --thousands , or --decimal ,"),
    ("content", "xyz", "'xyz' is not bytes in base64, or in hexadecimal as 0x00ff"),
    ("colour", "Green", "'Green' is not one of UNKNOWN, RED, GREEN; map it with --value, as colour:Green=GREEN"),
    ("uuid", "7", "'7' is not a UUID such as 0b0e1c1a-52a3-4a6e-9f5e-2f0f6f3c1f77"),
    ("hour", "25:00", "'25:00' is not a time of day: hour must be in 0..23"),
    ("local", "2025-06-01T08:00:00Z", "has an offset, but the field holds local times: remove the offset"),
    ("tags", "a,b", "'a,b' is not JSON such as [...]: Expecting value"),
    ("rates", "[]", "an array is not an object"),
    ("leg", '{"rate": 1}', ".starts is missing"),
    ("leg", '{"rat": 1}', "'rat' is not a field of Leg: use colour, rate, starts"),
    ("legs", '[null, {"rate": true, "starts": "2025-01-02"}]', "[1].rate: true is not a number"),
]


@pytest.mark.parametrize(("field", "text", "message"), WRONG, ids=[f"{field} {text[:9]}" for field, text, _ in WRONG])
def test_a_text_that_is_not_of_the_type_is_one_sentence(field, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        EVERY_FIELD[field].from_text(text)


@given(EVERYTHING)
def test_a_value_of_any_type_that_is_written_as_json_is_read_back(record):
    """`dlq export` writes trades so, for `produce --input`."""
    for field, value in zip(EVERY.fields, record, strict=True):
        if value is not None:
            assert value == EVERY_FIELD[field.name].from_json(DECODER.decode(json.dumps(json_value(value))))


@given(EVERYTHING)
def test_the_json_of_a_value_of_any_type_is_read_back(record):
    """In the form of jsonb, as a query may export it."""
    for field, value in zip(EVERY.fields, record, strict=True):
        if value is not None:
            text = to_json(field.type, value)
            assert value == EVERY_FIELD[field.name].from_json(DECODER.decode(text))
