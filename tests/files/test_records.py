"""The records of a file: lines, headers, what is wrong with them, and what no file of trades is."""

import gzip
import json
import threading
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tradepipe.files.csv_file import CsvFile
from tradepipe.files.errors import BadInput, InvalidOption
from tradepipe.files.file_kinds import form_of
from tradepipe.files.lines import MAX_LINE_BYTES, LineReader
from tradepipe.files.mapping import FileMapping, read_mapping
from tradepipe.files.records import drop, format_error
from tradepipe.files.trade_file import open_reader
from tradepipe.trade.model import Side, Trade

HEADER = "trade_id,version,counterparty_id,book_id,maturity_date,created_at"
ROW = "T1,1,CP-1,B1,2030-01-01,2025-06-01T08:00:00Z"
OBJECT = {
    "trade_id": "T1",
    "version": 1,
    "counterparty_id": "CP-1",
    "book_id": "B1",
    "maturity_date": "2030-01-01",
    "created_at": "2025-06-01T08:00:00Z",
}
TRADE = Trade("T1", 1, "CP-1", "B1", date(2030, 1, 1), datetime(2025, 6, 1, 8, tzinfo=UTC))


@pytest.fixture
def read(tmp_path):
    """The records of a file with this content."""

    def of(content, name="trades.csv", columns=(), defaults=(), values=(), **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        mapping = read_mapping(None, options, columns, defaults, values)
        with open_reader(str(path), None, mapping, threading.Event()) as reader:
            return list(reader.records())

    return of


def csv_of(*rows: str) -> str:
    return "".join(f"{row}\n" for row in (HEADER, *rows))


def json_of(**changes: object) -> str:
    return json.dumps({name: value for name, value in {**OBJECT, **changes}.items() if value is not ...}) + "\n"


def problem(found) -> str:
    """What is wrong with the one record that is."""
    (wrong,) = [record for record in found if record.trade is None]
    return format_error("FILE", wrong)


@pytest.mark.parametrize(
    "content",
    [
        csv_of(ROW),
        csv_of(ROW).rstrip("\n"),
        csv_of(ROW).replace("\n", "\r\n"),
        "\ufeff" + csv_of(ROW),
        "\n" + csv_of("", ROW, ""),
        csv_of(",".join(f'"{cell}"' for cell in ROW.split(","))),
        f"created_at,{HEADER.removesuffix(',created_at')}\n2025-06-01T08:00:00Z,{ROW.removesuffix(',2025-06-01T08:00:00Z')}",
    ],
    ids=["plain", "no end of line", "CRLF", "byte order mark", "blank lines", "quoted", "another order"],
)
def test_a_csv_file_holds_trades(read, content):
    assert [TRADE] == [record.trade for record in read(content)]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"], ids=["little-endian", "big-endian"])
def test_a_file_of_utf_16_is_read_by_its_byte_order_mark(read, mark):
    """Excel saves "Unicode text" so, with tabs."""

    def encode(*rows):
        text = csv_of(*rows).replace(",", "\t").replace("\n", "\r\n")
        return mark + text.encode("utf-16-le" if mark == b"\xff\xfe" else "utf-16-be")

    first, other, last = read(encode(ROW, ROW.replace("T1", "T\U0001f600"), ROW))
    assert [TRADE, TRADE] == [first.trade, last.trade]
    assert other.violations[0].detail.startswith("trade_id is 'T\U0001f600', which has the character")
    assert "FILE:3: the record is not UTF-8" in problem(read(encode(ROW) + b"\x00"))


@pytest.mark.parametrize(
    "content",
    [json_of(), json_of().strip(), json_of().replace("\n", "\r\n"), "\ufeff" + json_of(), "\n" + json_of() + " \n"],
    ids=["plain", "no end of line", "CRLF", "byte order mark", "blank lines"],
)
def test_a_file_of_json_lines_holds_trades(read, content):
    assert [TRADE] == [record.trade for record in read(content, "trades.jsonl")]


def test_a_packed_file_holds_trades_whatever_its_name(read):
    packed = gzip.compress(csv_of(ROW).encode(), mtime=0)

    assert [TRADE] == [record.trade for record in read(packed, "trades.csv.gz")]
    assert [TRADE] == [record.trade for record in read(packed, "trades.csv")]


def test_a_record_is_counted_where_it_begins(read):
    """A quoted cell may hold line ends."""
    found = read(csv_of(ROW, '"T\n\n2"' + ROW[2:], ROW, "", ROW))

    assert [2, 3, 6, 8] == [record.line for record in found]
    assert '"T\n\n2"' + ROW[2:] == found[1].raw
    assert problem(found).startswith("FILE:3: trade_id: is 'T\\n\\n2', which has the character '\\n' at position 2")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("T1,0" + ROW[4:], "FILE:2: version: is 0, which is less than 1 (VERSION)"),
        (
            "T1,1.0" + ROW[4:],
            "FILE:2: version: '1.0' is not a whole number from 1 to 2147483647 in plain digits (VERSION)",
        ),
        (
            "T1,1,CP-1,B1,2025-05-31,2025-06-01T08:00:00Z",
            "FILE:2: maturity_date: is 2025-05-31, which is before the UTC date of created_at, 2025-06-01 "
            "(MATURITY_DATE)",
        ),
        ("T1,1", "FILE:2: the record has 2 cells, but the file has 6 headers (UNDECODABLE)"),
        (ROW + ",", "FILE:2: the record has 7 cells, but the file has 6 headers (UNDECODABLE)"),
        ('"T1"x' + ROW[2:], "FILE:2: the record is not CSV: ',' expected after '\"' (UNDECODABLE)"),
    ],
    ids=["rule", "type", "date", "too short", "too long", "quoting"],
)
def test_an_invalid_row_is_reported_with_its_line_and_the_next_is_read(read, row, message):
    found = read(csv_of(row, ROW))

    assert message == problem(found)
    assert TRADE == found[-1].trade


def test_all_violations_of_a_record_are_reported(read):
    message = problem(read(csv_of("T 1,0" + ROW[4:])))

    assert "(TRADE_ID); version: " in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json_of(version=True), "FILE:1: version: true is not a whole number (VERSION)"),
        (json_of(book_id=None), "FILE:1: book_id: null is not a string (BOOK_ID)"),
        (json_of(book_id=...), "FILE:1: book_id: is missing; if the whole file lacks it, pass --default book_id=VALUE"),
        (
            "[1]\n",
            "FILE:1: the line is not a JSON object but '[1]'; a JSON array is read with --input-format json "
            "(UNDECODABLE)",
        ),
        ("{\n", "FILE:1: the line is not JSON: Expecting property name"),
        (json_of().replace('"B1"', "NaN"), "NaN is not a JSON value (UNDECODABLE)"),
        (json_of().replace("{", '{"version": 2, '), "the key 'version' is duplicated (UNDECODABLE)"),
        ('{"version": ' + "[" * 100_000 + "\n", "it is nested too deeply (UNDECODABLE)"),
        (json_of().replace(": 1,", ": " + "1" * 5_000 + ","), "Exceeds the limit"),
        (json_of(trade_id="\ud800"), "FILE:1: trade_id: is '\\ud800', which holds a lone surrogate"),
    ],
    ids=["bool", "null", "missing", "array", "cut", "NaN", "twice", "deep", "digits", "surrogate"],
)
def test_an_invalid_line_of_json_is_reported(read, line, message):
    found = read(line + json_of(), "trades.jsonl")

    assert message in problem(found)
    assert TRADE == found[-1].trade


def test_bytes_that_are_not_utf8_make_only_their_record_invalid(read):
    found = read(csv_of("Zürich" + ROW[2:], ROW).encode("latin-1"))

    assert (
        "FILE:2: the record is not UTF-8: byte 0xfc in 'Zürich,1,CP-'; if that reads well, "
        "pass --encoding cp1252 (UNDECODABLE)" == problem(found)
    )
    assert TRADE == found[-1].trade


def test_other_headers_are_named_by_column(read):
    content = csv_of(ROW).replace("trade_id", "Trade ID").replace("book_id", "Book")

    assert [TRADE] == [record.trade for record in read(content, columns=["trade_id=Trade ID", "book_id=Book"])]


def test_other_keys_are_named_by_column(read):
    content = json_of().replace("trade_id", "id")

    assert [TRADE] == [record.trade for record in read(content, "t.jsonl", columns=["trade_id=id"])]


@pytest.mark.parametrize("name", ["trades.csv", "trades.jsonl"])
def test_a_field_the_file_lacks_has_its_default(read, name):
    content = csv_of(ROW).replace("book_id,", "").replace("B1,", "") if name == "trades.csv" else json_of(book_id=...)

    assert [TRADE] == [record.trade for record in read(content, name, defaults=["book_id=B1"])]


AMOUNT = TRADE._replace(side=Side.SELL, notional=Decimal("1250000.10"), currency="EUR")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (csv_of(f"{ROW},SELL,1250000.10,EUR").replace(HEADER, f"{HEADER},side,notional,currency"), "t.csv"),
        (json_of(side="SELL", currency="EUR", notional=0).replace(": 0}", ": 1250000.10}"), "t.jsonl"),
        (json_of(side="SELL", currency="EUR", notional="1250000.10"), "t.jsonl"),
        (json_of(side="SELL", currency="EUR", notional=0).replace(": 0}", ": 125000010E-2}"), "t.jsonl"),
    ],
    ids=["csv", "json number", "json string", "json exponent"],
)
def test_an_amount_is_read_to_its_last_place(read, content, name):
    """1250000.10 is no float: read as one, it is another number."""
    (found,) = [record.trade for record in read(content, name)]

    assert AMOUNT == found
    assert "1250000.10" == str(found.notional)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (csv_of(f"{ROW},,,").replace(HEADER, f"{HEADER},side,notional,currency"), "t.csv"),
        (csv_of(f"{ROW},").replace(HEADER, f"{HEADER},currency"), "t.csv"),
        (json_of(side=None, notional=None, currency=None), "t.jsonl"),
        (json_of(notional=None), "t.jsonl"),
    ],
    ids=["empty cells", "one column", "nulls", "one null"],
)
def test_side_and_amount_may_be_empty_or_missing(read, content, name):
    assert [TRADE] == [record.trade for record in read(content, name)]


def test_a_field_that_may_be_missing_must_be_there_if_its_column_is_named(read):
    with pytest.raises(InvalidOption, match=r"has no column for side \('Side'\)"):
        read(csv_of(ROW), columns=["side=Side"])


def test_an_invalid_amount_is_reported_with_its_field(read):
    content = csv_of(f"{ROW},LONG,1.5e3,EUR").replace(HEADER, f"{HEADER},side,notional,currency")

    assert (
        "FILE:2: side: 'LONG' is not one of UNKNOWN, BUY, SELL; map it with --value, as side:Buy=BUY (SIDE); "
        "notional: '1.5e3' is not a decimal number in plain digits, such as 1250000.50 (NOTIONAL)"
    ) == problem(read(content))


def test_an_exponent_that_is_too_large_makes_only_its_line_invalid(read):
    found = read(json_of(notional=0).replace(": 0}", ": 1e99999999999999999999}") + json_of(), "t.jsonl")

    assert "is too large (UNDECODABLE)" in problem(found)
    assert TRADE == found[-1].trade


def test_unknown_columns_are_reported_once(read, caplog):
    read(csv_of(ROW, ROW).replace("created_at", "created_at,desk").replace("Z\n", "Z,D1\n"))

    (line,) = caplog.messages
    assert line.endswith("trades.csv: no column for side, notional, currency; unused columns: 'desk'")


def test_unknown_keys_are_reported_once(read, caplog):
    read(json_of(desk="D1") + json_of(desk="D2"), "trades.jsonl")

    (line,) = caplog.messages
    assert line.endswith("trades.jsonl: no column for side, notional, currency; unused keys: 'desk'")


@pytest.mark.parametrize(
    ("content", "name", "settings", "message"),
    [
        (csv_of().replace("book_id", "book"), "t.csv", {}, "has no column for book_id; its headers are 'trade_id', "),
        (
            csv_of().replace("book_id", "book"),
            "t.csv",
            {},
            "did you mean --column book_id=book? (--suggest-mapping FILE",
        ),
        (json_of().replace("book_id", "book"), "t.jsonl", {}, "has no column for book_id; its first record's keys are"),
        (csv_of(), "t.csv", {"columns": ["book_id=Book"]}, "has no column for book_id ('Book')"),
        (csv_of().replace("book_id", "shelf"), "t.csv", {}, "pass --column book_id=HEADER, or --default book_id=VALUE"),
        (csv_of(), "t.csv", {"delimiter": ";"}, "its headers are 'trade_id,version,"),
        ("", "t.csv", {}, "t.csv: the file is empty"),
        ("", "t.jsonl", {}, "t.jsonl: the file is empty"),
        (
            csv_of().replace("book_id", "trade_id,book_id"),
            "t.csv",
            {},
            "has 2 columns for trade_id: 'trade_id', 'trade_id'; rename all but one",
        ),
        (
            csv_of().replace("book_id", "BOOK_ID,Book_Id"),
            "t.csv",
            {},
            "has 2 columns for book_id: 'BOOK_ID', 'Book_Id'; choose one with --column book_id=HEADER",
        ),
        (b"\x00\x01\x02", "t.csv", {}, "the file is binary, not text"),
        (csv_of(), "t.csv.gz", {}, "not a gzip file, despite its name"),
        (gzip.compress(csv_of(ROW).encode(), mtime=0)[:12], "t.csv.gz", {}, "the archive is truncated or damaged"),
        (b"", "t.csv.gz", {}, "not a gzip file, despite its name"),
    ],
)
def test_a_file_without_trades_is_refused_before_its_first_record(read, content, name, settings, message):
    with pytest.raises(InvalidOption) as refused:
        read(content, name, **settings)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ["book=Book"]}, "'book' is not a field of a trade; did you mean book_id?"),
        ({"columns": ["book_id=A", "book_id=B"]}, "book_id is given twice"),
        ({"columns": ["book_id"]}, "must be FIELD=HEADER"),
        ({"defaults": ["version=one"]}, "version: 'one' is not a whole number"),
        ({"values": ["side:Buy"]}, "must be FIELD:TEXT=VALUE, as side:Buy=BUY, not 'side:Buy'"),
        ({"values": ["side:Buy=LONG"]}, "side: 'LONG' is not one of UNKNOWN, BUY, SELL"),
    ],
)
def test_an_impossible_layout_is_refused(settings, message):
    with pytest.raises(InvalidOption) as refused:
        read_mapping(None, {}, *(settings.get(name, ()) for name in ("columns", "defaults", "values")))

    assert message in str(refused.value)


@pytest.mark.parametrize("path", ["-", "trades", "trades.txt", "trades.gz"])
def test_a_file_name_without_a_known_format_is_refused(path):
    with pytest.raises(InvalidOption, match="--input-format csv or --input-format jsonl"):
        form_of(path)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(InvalidOption, match="cannot be opened: "):
            LineReader(str(path))


@pytest.mark.parametrize("end", [b'"T1', b'"T1' + b"x,\n" * 50_000], ids=["at the end", "in the midst"])
def test_a_quote_that_is_never_closed_ends_the_file_where_it_was_opened(read, end):
    with pytest.raises(BadInput, match=r"trades.csv:3: a quote in this record is not closed"):
        read(csv_of(ROW).encode() + end)


def test_a_line_without_an_end_is_not_read_into_memory(read):
    with pytest.raises(BadInput, match=r"trades.jsonl:2: the line is longer than 1,048,576 bytes"):
        read(json_of().encode() + b"x" * (MAX_LINE_BYTES + 1), "trades.jsonl")


@pytest.mark.parametrize("spoil", [lambda packed: packed[:-5000], lambda packed: packed[:-5000] + b"\xff" * 5000])
def test_a_truncated_or_damaged_archive_is_reported_with_the_line(read, spoil):
    rows = [f"T{number},{number}{ROW[4:]}" for number in range(1, 20_000)]

    with pytest.raises(BadInput, match=r"trades.csv.gz:[0-9]{3,}: (the archive is truncated|the archive is dam)"):
        read(spoil(gzip.compress(csv_of(*rows).encode(), mtime=0)), "trades.csv.gz")


def test_the_bytes_read_of_a_file_are_counted(tmp_path):
    path = tmp_path / "trades.csv"
    path.write_text(csv_of(*[ROW] * 10_000))
    with LineReader(str(path)) as source:
        assert 10_000 == sum(1 for _ in CsvFile(source, FileMapping(), drop).records())

        assert path.stat().st_size == source.size == source.read
        assert 10_001 == source.number


def test_violations_have_the_codes_of_the_rules(read):
    (record,) = read(csv_of("T 1,0" + ROW[4:]))

    assert ("TRADE_ID", "VERSION") == tuple(violation.code for violation in record.violations)
