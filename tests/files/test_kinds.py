"""Kinds of files: archives, workbooks, Parquet, JSON arrays, and those that are named with what to do."""

import builtins
import gzip
import io
import json
import sys
import threading
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from tradepipe.files.errors import BadInput, InvalidOption
from tradepipe.files.lines import MAX_LINE_BYTES
from tradepipe.files.mapping import read_mapping
from tradepipe.files.records import format_error
from tradepipe.files.trade_file import open_reader
from tradepipe.trade.model import Side, Trade

HEADER = "trade_id,version,counterparty_id,book_id,maturity_date,created_at"
ROW = "T1,1,CP-1,B1,2030-01-01,2025-06-01T08:00:00Z"
CSV = f"{HEADER}\n{ROW}\n"
TRADE = Trade("T1", 1, "CP-1", "B1", date(2030, 1, 1), datetime(2025, 6, 1, 8, tzinfo=UTC))
CELLS = ["T1", 1, "CP-1", "B1", datetime(2030, 1, 1), datetime(2025, 6, 1, 8)]
OBJECT = dict(zip(HEADER.split(","), ["T1", 1, *ROW.split(",")[2:]], strict=True))


@pytest.fixture
def read(tmp_path):
    """The records of a file with this content."""

    def of(content, name, form=None, **options):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        mapping = read_mapping(None, options, (), (), ())
        notify = partial(print, file=sys.stderr)
        with open_reader(str(path), form, mapping, threading.Event(), notify) as reader:
            return list(reader.records())

    return of


def trades(found) -> list[Trade]:
    assert [] == [format_error("FILE", record) for record in found if record.trade is None]
    return [record.trade for record in found]


def problems(found) -> list[str]:
    return [format_error("FILE", record) for record in found if record.trade is None]


def zip_of(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_csv", ".csv"), text)
    return content.getvalue()


@pytest.mark.parametrize("name", ["trades.zip", "trades.csv.zip", "trades.csv"])
def test_a_zip_archive_with_one_file_is_read(read, name):
    assert [TRADE] == trades(read(zip_of(trades_csv=CSV), name))


def test_the_folders_that_macos_adds_to_an_archive_are_skipped(read):
    assert [TRADE] == trades(read(zip_of(**{"__MACOSX/._trades.csv": "x", "trades.csv": CSV}), "trades.zip"))


def encrypted(archive: bytes) -> bytes:
    """The archive, with the flag of encryption in both of its headers."""
    at, directory = archive.index(b"PK\x03\x04") + 6, archive.index(b"PK\x01\x02") + 8
    return archive[:at] + b"\x01" + archive[at + 1 : directory] + b"\x01" + archive[directory + 1 :]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (zip_of(a_csv=CSV, b_csv=CSV), "t.zip", "the zip archive has 2 files: extract the one with the trades"),
        (encrypted(zip_of(a_csv=CSV)), "t.zip", "the zip archive is encrypted: extract it first"),
        (zip_of(a_csv=CSV)[:-9], "t.zip", "the file is truncated or damaged"),
        (zip_of(**{"t.xlsx": "x"}), "t.zip", "the zip archive holds 't.xlsx': extract it first"),
        (zip_of(**{"xl/workbook.bin": "x", "a": "y"}), "t.xlsb", "a binary workbook (.xlsb): save it as .xlsx"),
        (zip_of(**{"content.xml": "x", "mimetype": "y"}), "t.ods", "an OpenDocument sheet (.ods): save it as"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1000, "t.xls", "an Excel 97 workbook (.xls) or has a password"),
        (b"<html><table>", "t.csv", "the file is HTML or XML: save it as CSV UTF-8"),
        (b"%PDF-1.7", "t.csv", "the file is a PDF: export the trades as CSV"),
        (b"\xfd7zXZ\0", "t.csv.xz", "the file is compressed by xz: decompress it first"),
        (CSV.encode(), "t.xlsx", "it is not a workbook (.xlsx)"),
        (CSV.encode(), "t.parquet", "it is not a Parquet file"),
        (b"PAR1" * 4, "t.parquet", "the Parquet file is damaged"),
        (zip_of(**{"xl/workbook.xml": "<x>"}), "t.xlsx", "the workbook is damaged"),
        (b'"T1"', "t.json", "the file is neither a JSON array nor JSON lines"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named_with_what_to_do(read, content, name, message):
    with pytest.raises(InvalidOption) as refused:
        read(content, name)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_archive_that_would_fill_the_disk_is_refused(read):
    with pytest.raises(InvalidOption, match="it would expand to 110,000,000 bytes, [0-9]+ times its size; extract"):
        read(zip_of(trades_csv="0" * 110_000_000), "t.zip")


def workbook_of(*rows, sheets=("Trades",), formats=()) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        for cell, number_format in formats:
            sheet[cell].number_format = number_format
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def test_a_workbook_is_read_by_its_typed_cells(read):
    content = workbook_of(
        [None], [*HEADER.split(","), "side", "notional", "currency"], [], [*CELLS, "SELL", 1250000.1, "EUR"]
    )

    assert [TRADE._replace(side=Side.SELL, notional=Decimal("1250000.1"), currency="EUR")] == trades(
        read(content, "t.xlsx", timezone="UTC")
    )


def test_what_is_wrong_with_a_row_of_a_workbook_is_reported_with_its_number(read):
    content = workbook_of(
        HEADER.split(","),
        ["T1", "one", *CELLS[2:]],
        ["T1", 1.5, *CELLS[2:]],
        [*CELLS, "behind"],
        ["=NA()", *CELLS[1:]],
        CELLS[:4],
    )

    assert [
        "FILE:2: version: 'one' is not a whole number from 1 to 2147483647 in plain digits (VERSION)",
        "FILE:3: version: the number 1.5 is not a whole number (VERSION)",
        "FILE:4: the row has a value after the last of 6 headers (UNDECODABLE)",
        "FILE:5: trade_id: the cell is empty (TRADE_ID)",
        "FILE:6: maturity_date: the cell is empty (MATURITY_DATE); created_at: the cell is empty (CREATED_AT)",
    ] == problems(read(content, "t.xlsx", timezone="UTC"))


def test_an_error_in_a_cell_is_not_an_identifier(read):
    content = workbook_of(HEADER.split(","), ["#N/A", *CELLS[1:]])

    assert ["FILE:2: trade_id: the number #N/A is not a text (TRADE_ID)"] == problems(
        read(content, "t.xlsx", timezone="UTC")
    )


def test_an_identifier_has_the_zeros_that_its_format_shows(read):
    content = workbook_of(HEADER.split(","), [123, *CELLS[1:]], formats=[("A2", "00000")])

    assert ["00123"] == [trade.trade_id for trade in trades(read(content, "t.xlsx", timezone="UTC"))]


def test_a_sheet_of_several_must_be_named(read):
    content = workbook_of(HEADER.split(","), CELLS, sheets=("Trades", "Notes"))

    with pytest.raises(InvalidOption, match="has several sheets; pass --sheet NAME, one of 'Trades', 'Notes'"):
        read(content, "t.xlsx")
    with pytest.raises(InvalidOption, match="has no sheet 'trades'; pass --sheet NAME, one of"):
        read(content, "t.xlsx", sheet="trades")
    assert [TRADE] == trades(read(content, "t.xlsx", sheet="Notes", timezone="UTC"))


def rewrite(workbook: bytes, **changes) -> bytes:
    """The workbook, with other content of one of its parts."""
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changes["replace"](name, old.read(name)))
    return content.getvalue()


def test_a_workbook_that_would_fill_the_memory_is_refused(read):
    bomb = rewrite(
        workbook_of(HEADER.split(",")),
        replace=lambda name, text: b" " * 110_000_000 if name == "xl/styles.xml" else text,
    )

    with pytest.raises(InvalidOption, match="it would expand to 110,[0-9,]+ bytes, [0-9]+ times its size"):
        read(bomb, "t.xlsx")


def test_a_workbook_that_claims_endless_rows_ends(read):
    content = rewrite(
        workbook_of(HEADER.split(","), CELLS),
        replace=lambda name, text: text.replace(b'r="2"', b'r="99999999"'),
    )

    with pytest.raises(BadInput, match="the sheet claims more than 1,048,576 rows"):
        read(content, "t.xlsx", timezone="UTC")


def test_a_workbook_that_is_cut_within_its_rows_is_reported_with_the_row(read):
    content = rewrite(
        workbook_of(HEADER.split(","), *[CELLS] * 3),
        replace=lambda name, text: text[: text.rindex(b"<row")] if "sheet1" in name else text,
    )

    with pytest.raises(BadInput, match=r"t.xlsx:[0-9]: the workbook is damaged"):
        read(content, "t.xlsx", timezone="UTC")


def parquet_of(tmp_path, **columns) -> None:
    arrays = dict(zip(HEADER.split(","), ([cell] for cell in CELLS), strict=True)) | columns
    pyarrow.parquet.write_table(pyarrow.table(arrays), tmp_path / "t.parquet")


def test_a_parquet_file_is_read_by_its_types(read, tmp_path):
    parquet_of(
        tmp_path,
        maturity_date=[date(2030, 1, 1)],
        created_at=pyarrow.array([TRADE.created_at], pyarrow.timestamp("ns", "UTC")),
        side=pyarrow.array(["SELL"]).dictionary_encode(),
        notional=[Decimal("1250000.1000")],
        currency=["EUR"],
        extra=[[1, 2]],
    )

    assert [TRADE._replace(side=Side.SELL, notional=Decimal("1250000.1000"), currency="EUR")] == trades(
        read(None, "t.parquet")
    )


def test_nanoseconds_that_a_trade_cannot_hold_are_an_error(read, tmp_path):
    parquet_of(tmp_path, created_at=pyarrow.array([1], pyarrow.timestamp("ns", "UTC")))

    with pytest.raises(BadInput, match=r"t.parquet:1: the Parquet file is unreadable: .*lose data"):
        read(None, "t.parquet")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([OBJECT, OBJECT]),
        json.dumps([OBJECT, OBJECT], indent=2),
        f"\ufeff \n[\n{json.dumps(OBJECT)}\n,{json.dumps(OBJECT)}]\n",
    ],
    ids=["one line", "indented", "byte order mark"],
)
def test_a_json_array_is_read(read, text):
    found = read(text.encode(), "t.json")

    assert [TRADE, TRADE] == trades(found)
    assert [1, 2] == [record.line for record in found]


def test_keys_are_matched_without_case(read):
    text = "".join(json.dumps({key.upper(): value for key, value in OBJECT.items()}) + "\n" for _ in range(2))

    assert [TRADE, TRADE] == trades(read(text.encode(), "t.jsonl"))


def test_json_lines_may_be_in_a_file_that_ends_in_json(read):
    assert [TRADE] == trades(read(json.dumps(OBJECT).encode(), "t.json"))


def test_a_long_json_array_is_read_piece_by_piece(read):
    """Also where a piece ends within a character."""
    note = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 1000
    items = [OBJECT | {"trade_id": f"T{number}", "note": note} for number in range(500)]

    found = read(json.dumps(items, ensure_ascii=False).encode(), "t.json")

    assert [f"T{number}" for number in range(500)] == [trade.trade_id for trade in trades(found)]


def test_items_that_are_not_trades_are_reported_by_their_number(read):
    text = json.dumps([OBJECT, 7, OBJECT | {"version": "1"}, [OBJECT], {**OBJECT, "version": 0}, OBJECT])

    found = read(text.encode(), "t.json")

    assert [
        "FILE:2: the item is not a JSON object but '7' (UNDECODABLE)",
        "FILE:3: version: the string '1' is not a whole number (VERSION)",
    ] == problems(found)[:2]
    assert [2, 3, 4, 5] == [record.line for record in found if record.trade is None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps([OBJECT])[:-1], "t.json:2: the array ends within this item"),
        (json.dumps([OBJECT])[:-20], "t.json:1: the array is not JSON here"),
        ("[" + json.dumps(OBJECT) + " x", "t.json:2: the array is not JSON here"),
        ('["' + "x" * (MAX_LINE_BYTES + 100_000), "t.json:1: the array is not JSON here"),
        ("[" * 100_000, "t.json:1: the array is not JSON here"),
    ],
    ids=["no end", "cut", "not JSON", "long", "deep"],
)
def test_an_array_that_is_damaged_ends_the_file_there(read, text, message):
    with pytest.raises(BadInput, match=message):
        read(text.encode(), "t.json")


def test_a_workbook_is_not_read_from_a_pipe():
    with pytest.raises(InvalidOption, match="stdin: it is read from a pipe: pass the path of a file"):
        open_reader("-", "xlsx", read_mapping(None, {}, (), (), ()), threading.Event())


@pytest.mark.parametrize(("name", "library"), [("workbook", "openpyxl"), ("parquet", "pyarrow")])
def test_without_the_extra_the_message_names_what_to_install(read, tmp_path, monkeypatch, name, library):
    parquet_of(tmp_path)
    real_import = builtins.__import__

    def without_extra(module, *arguments, **keywords):
        if module == f"tradepipe.files.{name}":
            raise ModuleNotFoundError(f"No module named '{library}'")
        return real_import(module, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_extra)
    with pytest.raises(InvalidOption, match=rf"reading it needs {library}: in a clone of tradepipe, run pip"):
        read(
            workbook_of(HEADER.split(",")) if name == "workbook" else None, f"t.{'xlsx' * (name == 'workbook') or name}"
        )


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (CSV.replace(",", ";"), {}),
        (CSV.replace(",", "\t"), {}),
        (CSV.replace(",", "|"), {}),
        (f"sep=;\r\n{CSV.replace(',', ';')}", {}),
        (CSV.replace(",", "#"), {"delimiter": "#"}),
        (CSV.replace("trade_id", " Trade_ID ").replace("book_id", "BOOK_ID"), {}),
        (CSV.replace("T1", " T1 ").replace("2030-01-01", "2030-01-01 "), {"trim": True}),
    ],
    ids=["semicolon", "tab", "bar", "named", "given", "case and blanks", "trim"],
)
def test_a_csv_file_is_read_with_the_delimiter_and_headers_that_it_shows(read, content, options):
    assert [TRADE] == trades(read(content.encode(), "trades.csv", **options))


def test_what_was_detected_is_printed_in_one_line(read, capsys):
    read(CSV.replace(",", ";").replace("trade_id", "Trade_ID").encode(), "trades.csv")

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("trades.csv: delimiter ';', headers matched without case and blanks: 'Trade_ID'")


def test_an_encoding_is_used_if_it_is_named(read):
    content = CSV.replace("created_at", "created_at,Währung").replace("Z\n", "Z,€\n").encode("cp1252")

    with pytest.raises(InvalidOption, match=r"not UTF-8: byte 0xe4 in 'ated_at,Währung.*', *|pass --encoding cp1252"):
        read(content, "trades.csv")
    assert [TRADE] == trades(read(content, "trades.csv", encoding="cp1252"))
    assert [TRADE] == trades(read(gzip.compress(content, mtime=0), "trades.csv.gz", encoding="cp1252"))


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [("sheet", "Trades", "t.csv"), ("delimiter", ",", "t.jsonl"), ("encoding", "cp1252", "t.xlsx")],
)
def test_a_setting_that_does_not_apply_to_the_file_is_named(read, capsys, setting, value, name):
    workbook = io.BytesIO()
    book = openpyxl.Workbook()
    for cells in (HEADER.split(","), CELLS):
        book.active.append(cells)
    book.save(workbook)
    contents = {"t.csv": CSV.encode(), "t.jsonl": json.dumps(OBJECT).encode(), "t.xlsx": workbook.getvalue()}

    read(contents[name], name, **{setting: value})

    form = name.partition(".")[2]
    assert capsys.readouterr().err.endswith(f"{name}: {setting} is ignored, because the file is read as {form}\n")
