"""Mapping files, and the options that override them."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tradepipe.files.errors import InvalidOption
from tradepipe.files.mapping import MAX_MAPPING_BYTES, read_mapping
from tradepipe.trade.model import Side


@pytest.fixture
def load(tmp_path):
    """Reads a mapping file with this content."""

    def read(content, options=(), **tables):
        path = tmp_path / "m.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_mapping(path, dict(options), *(tables.get(name, ()) for name in ("columns", "defaults", "values")))

    return read


FULL = """
delimiter = ";"
encoding = "Windows-1252"
date-format = "DD.MM.YYYY"
time-format = "DD.MM.YYYY hh:mm"
timezone = "Europe/Berlin"
decimal = ","
thousands = "."
sheet = "Trades"
trim = true
[columns]
trade_id = "Trade Ref"
[defaults]
version = 1
maturity_date = 2030-01-31
notional = 0.10
[values.side]
Kauf = "BUY"
"""


def test_a_mapping_file_can_hold_every_option(load):
    found = load(FULL)
    parsers = {field: parser.from_text for field, parser in found.parsers().items()}

    assert (";", "cp1252", "Trades") == (found.delimiter, found.encoding, found.sheet)
    assert "Trade Ref" == found.header("trade_id")
    assert {"version": 1, "maturity_date": date(2030, 1, 31), "notional": Decimal("0.10")} == found.defaults
    assert (date(2031, 2, 1), 1) == (parsers["maturity_date"]("01.02.2031"), parsers["version"](""))
    assert datetime(2025, 6, 1, 7, tzinfo=UTC) == parsers["created_at"](" 01.06.2025 09:00 ")
    assert (Side.BUY, Decimal("1250.50")) == (parsers["side"]("Kauf"), parsers["notional"]("1.250,50"))


def test_a_file_from_windows_is_read(load):
    assert ";" == load(b"\xef\xbb\xbf" + b'delimiter = ";"\r\n').delimiter


def test_options_override_the_file_key_by_key(load):
    found = load(
        FULL, {"delimiter": "tab", "thousands": None}, columns=["trade_id=ID"], values=["side:Kauf=SELL", "side:X=BUY"]
    )

    assert ("\t", "cp1252", "ID") == (found.delimiter, found.encoding, found.header("trade_id"))
    assert {"Kauf": Side.SELL, "X": Side.BUY} == found.values["side"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("delimeter = ';'", "delimeter: is not a key of a mapping; did you mean delimiter?"),
        ("[headers]", "headers: is not a key of a mapping"),
        ("delimiter = ';;'", "delimiter: ';;' is not a delimiter: one character such as ; or the word tab"),
        ("delimiter = 1", "delimiter: must be a text in quotes"),
        ("encoding = 'utf-16'", "encoding: 'utf-16' is not an encoding such as utf-8, cp1252 or latin-1"),
        ("encoding = 'rot13'", "encoding: 'rot13' is not an encoding"),
        ("encoding = 'klingon'", "encoding: 'klingon' is not an encoding"),
        ("date-format = '%d/%m/%Y'", "date-format: '%d/%m/%Y' is not a format of dates such as DD/MM/YYYY"),
        ("date-format = 'DD/MM/YYYY hh:mm'", "date-format: 'DD/MM/YYYY hh:mm' has a time of day"),
        ("timezone = 'London'", "timezone: 'London' is not a time zone such as Europe/London"),
        ("timezone = '../../etc/passwd'", "timezone: '../../etc/passwd' is not a time zone"),
        ("decimal = 'comma'", "decimal: 'comma' is not one sign, such as , or ."),
        ("trim = 'yes'", "trim: must be true or false"),
        ("columns = 'x'", "columns: must be a table, as [columns]"),
        ("[columns]\ntradeid = 'x'", "columns.tradeid: 'tradeid' is not a field of a trade; did you mean trade_id?"),
        ("[columns]\ndesk = 'x'", "columns.desk: 'desk' is not a field of a trade; the fields are trade_id, "),
        ("[columns]\ntrade_id = ''", "columns.trade_id: the header is empty"),
        ("[columns]\ntrade_id = ['a', 'b']", "columns.trade_id: must be a text in quotes"),
        ("[defaults]\nversion = 'one'", "defaults.version: 'one' is not a whole number"),
        ("[defaults]\nversion = true", "defaults.version: must be a text in quotes"),
        ("[values]\nside = 'BUY'", "values.side: must be a table, as [values.side]"),
        ("[values.side]\nBuy = 'LONG'", "values.side.'Buy': 'LONG' is not one of UNKNOWN, BUY, SELL"),
        ("delimiter = ;", "is not TOML: Invalid value (at line 1, column 13)"),
        (b"sheet = '\xfc'", "is not UTF-8 text"),
        ("#" * (MAX_MAPPING_BYTES + 1), "cannot be read: it is larger than 1,048,576 bytes"),
    ],
)
def test_a_mistake_in_a_mapping_file_is_one_sentence_with_its_key(load, content, message):
    with pytest.raises(InvalidOption) as refused:
        load(content)

    assert f"m.toml: {message}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_sign_is_not_both_the_decimal_sign_and_the_thousands_sign(load):
    with pytest.raises(InvalidOption, match=r"'\.' is the decimal sign too; name the other with --decimal"):
        load("thousands = '.'")


def test_a_mapping_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(InvalidOption, match=r"nowhere.toml: cannot be read: No such file"):
        read_mapping(tmp_path / "nowhere.toml", {}, (), (), ())
