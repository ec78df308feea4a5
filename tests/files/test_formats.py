"""Dates, times and numbers as spreadsheets write them."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tradepipe.files.fields import field_parsers
from tradepipe.files.formats import DateFormat, Formats, NumberFormat


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("DD.MM.YYYY", "31.01.2030", datetime(2030, 1, 31)),
        ("dd.mm.yyyy", "1.2.2030", datetime(2030, 2, 1)),
        ("M/D/YYYY", "1/31/2030", datetime(2030, 1, 31)),
        ("YYYYMMDD", "20300131", datetime(2030, 1, 31)),
        ("DD-MMM-YY", "31-Jan-30", datetime(2030, 1, 31)),
        ("DD/MM/YYYY hh:mm", "06/12/2016 9:05", datetime(2016, 12, 6, 9, 5)),
        ("hh:mm:ss DD/MM/YYYY", "09:05:07 06/12/2016", datetime(2016, 12, 6, 9, 5, 7)),
        ("MM/DD/YYYY hh:mm:ss AM/PM", "12/06/2016 12:05:07 am", datetime(2016, 12, 6, 0, 5, 7)),
        ("MM/DD/YYYY hh:mm AM/PM", "12/06/2016 12:05 PM", datetime(2016, 12, 6, 12, 5)),
        ("YYYY-MM-DDThh:mm:ss.fff", "2016-12-06T09:05:07.5", datetime(2016, 12, 6, 9, 5, 7, 500_000)),
        ("DD.MM.YYYY hh:mm Z", "06.12.2016 09:05 +0130",
         datetime(2016, 12, 6, 9, 5, tzinfo=timezone(timedelta(hours=1, minutes=30)))),
        ("DD.MM.YYYY hh:mmZ", "06.12.2016 09:05Z", datetime(2016, 12, 6, 9, 5, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_a_date_format_reads_what_excel_writes_with_it(pattern, text, expected):
    assert expected == DateFormat(pattern).parse(text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("DD.MM.YYYY", "30.02.2030"),
        ("DD.MM.YYYY", "31/01/2030"),
        ("DD.MM.YYYY", "31.01.30"),
        ("DD.MM.YYYY", " 31.01.2030"),
        ("DD.MM.YYYY", "31.01.2030 09:00"),
        ("DD.MM.YYYY", "\N{ARABIC-INDIC DIGIT ONE}.01.2030"),
        ("YYYYMMDD", "2030131"),
        ("DD-MMM-YYYY", "31-Mai-2030"),
        ("MM/DD/YYYY hh:mm AM/PM", "12/06/2016 13:05 PM"),
    ],
)
def test_a_text_in_another_format_is_an_error(pattern, text):
    with pytest.raises(ValueError, match=r"it is not written as|day is out|is not a month|hour must"):
        DateFormat(pattern).parse(text)


@pytest.mark.parametrize("pattern", ["", "%d/%m/%Y", "DD/MM", "hh:mm", "DD/MM/YYYY x", "1/2/2030", "YYYY"])
def test_a_pattern_without_day_month_and_year_is_refused(pattern):
    with pytest.raises(ValueError, match="is not a format of dates such as DD/MM/YYYY"):
        DateFormat(pattern)


def test_a_pattern_names_each_part_once():
    with pytest.raises(ValueError, match="has the day twice"):
        DateFormat("DD/MM/YYYY DD")


@pytest.mark.parametrize(
    ("signs", "text", "expected"),
    [
        ((",", "."), "1.250.000,50", "1250000.50"),
        ((".", ","), "-1,250,000.50", "-1250000.50"),
        ((".", ","), "1250000.50", "1250000.50"),
        ((",", ""), "1250000,5", "1250000.5"),
        ((",", " "), "1\u202f250\u00a0000,50", "1250000.50"),
        ((".", "'"), "1\u2019250'000", "1250000"),
        ((",", "."), "0,10", "0.10"),
    ],
)
def test_a_number_format_reads_its_signs_exactly(signs, text, expected):
    assert expected == str(NumberFormat(*signs).parse(text))


@pytest.mark.parametrize(
    ("signs", "text"),
    [
        ((",", "."), "1,250,000.50"),
        ((",", "."), "1.2500"),
        ((".", ","), "12,50"),
        ((".", ","), ",250"),
        ((".", ","), "1,250,00"),
        ((".", ","), "(1,250)"),
        ((".", ","), "0,250"),
        ((",", ""), "1.250"),
        ((".", ","), "1,250,000.50 EUR"),
        ((".", ","), ""),
    ],
)
def test_a_number_with_other_signs_is_an_error(signs, text):
    with pytest.raises(ValueError, match="is not a number such as 1"):
        NumberFormat(*signs).parse(text)


def times(pattern, zone):
    return field_parsers(Formats(time=pattern and DateFormat(pattern), timezone=ZoneInfo(zone)))["created_at"].from_text


@pytest.mark.parametrize("pattern", [None, "YYYY-MM-DD hh:mm:ss"])
@pytest.mark.parametrize(
    ("text", "expected"), [("2025-01-15 08:00:00", (15, 8)), ("2025-06-15 08:00:00", (15, 7))], ids=["winter", "summer"]
)
def test_a_time_without_an_offset_is_in_the_named_zone(pattern, text, expected):
    found = times(pattern, "Europe/London")(text)

    assert UTC is found.tzinfo
    assert expected == (found.day, found.hour)


def test_a_time_that_clocks_showed_twice_or_never_is_an_error():
    read = times("DD.MM.YYYY hh:mm", "Europe/Berlin")

    with pytest.raises(
        ValueError, match="occurred twice in Europe/Berlin, where clocks were changed then: write it as"
    ):
        read("26.10.2025 02:30")
    with pytest.raises(ValueError, match="never occurred in Europe/Berlin"):
        read("30.03.2025 02:30")
    assert datetime(2025, 10, 26, 1, 30, tzinfo=UTC) == read("2025-10-26T02:30:00+01:00")


@pytest.mark.parametrize(
    ("text", "zone"), [("0001-01-01 00:00:00", "Asia/Tokyo"), ("9999-12-31 23:59:59", "America/New_York")]
)
def test_a_time_beyond_the_calendar_of_utc_is_an_error(text, zone):
    with pytest.raises(ValueError, match="is not a timestamp: date value out of range"):
        times(None, zone)(text)


def test_a_version_is_a_whole_number_in_every_format():
    read = field_parsers(Formats(number=NumberFormat(",", ".")))["version"].from_text

    assert [1, 1250] == [read("1"), read("1.250")]
    with pytest.raises(ValueError, match="'1,0' is not a whole number|'1.0' is not a whole number"):
        read("1,0")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("trade_id", 10045, "10045"),
        ("trade_id", 10045.0, "10045"),
        ("version", 3.0, 3),
        ("version", Decimal("3"), 3),
        ("notional", 1250000.1, Decimal("1250000.1")),
        ("notional", 7, Decimal(7)),
        ("maturity_date", datetime(2030, 1, 31), datetime(2030, 1, 31).date()),
    ],
)
def test_a_typed_cell_is_what_a_spreadsheet_shows(field, value, expected):
    assert expected == field_parsers(Formats())[field].from_cell(value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("trade_id", 1.5, "the number 1.5 is not a text"),
        ("trade_id", True, "true is not a text"),
        ("trade_id", datetime(2030, 1, 31), "2030-01-31 00:00:00 is not a text"),
        ("trade_id", None, "the cell is empty"),
        ("version", 1.5, "the number 1.5 is not a whole number"),
        ("notional", float("nan"), "NaN is not a number"),
        ("notional", True, "true is not a number"),
        ("maturity_date", datetime(2030, 1, 31, 9), "2030-01-31 09:00:00 has a time of day"),
        ("maturity_date", 47150, "the number 47150 is not a string"),
        ("created_at", datetime(2025, 6, 1, 9), "'2025-06-01 09:00:00' has no offset"),
        ("created_at", datetime(2025, 6, 1).date(), "2025-06-01 is a date without a time of day"),
        ("side", 1, "the number 1 is not a string"),
    ],
)
def test_a_typed_cell_of_another_kind_is_an_error(field, value, message):
    with pytest.raises(ValueError, match=message):
        field_parsers(Formats())[field].from_cell(value)
