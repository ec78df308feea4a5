"""Files as analysts have them: each loads with a mapping file that `--suggest-mapping` began."""

import csv
import io
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from tests.cli.commands import ask, run_command

GERMAN = """\
Geschäftsnr;Version;Gegenpartei;Buch;Fälligkeit;Erfasst am;Kauf/Verkauf;Nominal;Währung
A-17;1;CP-7;ZINS;20.03.2031;02.06.2025 09:15;Kauf;1.250.000,50;EUR
A-17;2;CP-7;ZINS;20.09.2031;02.06.2025 11:40;Kauf;1.250.000,50;EUR
A-18;1;CP-9;ZINS;20.03.2031;02.12.2025 09:20;Verkauf;250.000,00;EUR
A-19;eins;CP-9;ZINS;20.03.2031;02.06.2025 09:30;Verkauf;-3,5;EUR
A-20;1;CP-9;ZINS;31.02.2031;02.06.2025 09:30;Verkauf;250.000,00;EUR
""".replace("\n", "\r\n")

AMERICAN = """\
Trade ID,Rev,Counterparty,Book,Maturity,Trade Time,B/S,Notional,CCY
A-17,1,CP-7,RATES,3/20/2031,06/02/2025 9:15:00 AM,B,"1,250,000.50",USD
A-18,1,CP-9,RATES,12/31/2031,06/02/2025 1:20:00 PM,S,"250,000.00",USD
A-19,1,CP-9,RATES,02/30/2031,06/02/2025 1:30:00 PM,S,12.5,USD
"""


def produce(*arguments, env):
    return run_command("produce", *map(str, arguments), env=env)


def suggest(file: Path, **changes: str) -> Path:
    """A mapping file that `--suggest-mapping` began, with these replacements by hand."""
    path = file.with_suffix(".toml")
    done = produce("--input", file, "--suggest-mapping", path, env={})
    assert 0 == done.code, done.err
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def load(file: Path, mapping: Path, env):
    """Send a file, skipping its invalid records, and return what was printed."""
    done = produce("--input", file, "--mapping", mapping, "--on-error", "skip", env=env)
    assert done.code in {0, 1}, done.err
    return done


def stored(env, columns: str) -> list[tuple]:
    """Store the sent trades, and return these columns."""
    assert 0 == run_command("sink", "--until-end", env=env).code
    return ask(env["DATABASE_URL"], f"SELECT {columns} FROM trades ORDER BY trade_id, version")


def correct(file: Path, *changes: tuple[str, str], encoding="utf-8", ending=".rejects.csv") -> Path:
    """The rejects of a file, after these replacements."""
    rejects = Path(f"{file}{ending}")
    text = rejects.read_bytes().decode(encoding)
    for old, new in changes:
        assert old in text, text
        text = text.replace(old, new)
    corrected = file.with_name(f"corrected{ending}")
    corrected.write_bytes(text.encode(encoding))
    return corrected


def assert_loading_again_adds_nothing(files: list[Path], mapping: Path, env, *, trades: int) -> None:
    """Load a file and its mended rejects once more: each trade is a duplicate, and none is refused."""
    for file in files:
        produce("--input", file, "--mapping", mapping, "--on-error", "skip", "--overwrite", env=env)

    done = run_command("sink", "--until-end", env=env)

    assert (0, f"0 stored, {trades} duplicates, 0 refused") == (done.code, done.err.splitlines()[-1])
    assert [(trades,)] == ask(env["DATABASE_URL"], "SELECT count(*) FROM trades")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig"])
def test_a_file_as_excel_saves_it_in_germany(ready, tmp_path, encoding):
    file = tmp_path / "trades.csv"
    file.write_bytes(GERMAN.encode(encoding))
    mapping = suggest(file, **{'# timezone = "Europe/London"': 'timezone = "Europe/Berlin"'})

    done = load(file, mapping, ready)

    assert "3 trades, 2 invalid records (" in done.err
    assert f"{file}:5: version: 'eins' is not a whole number" in done.err
    assert f"{file}:6: maturity_date: '31.02.2031' is not a date as DD.MM.YYYY" in done.err
    corrected = correct(file, ("eins", "1"), ("-3,5", "3,5"), ("31.02.2031", "28.02.2031"), encoding=encoding)
    assert "2 trades, 0 invalid records" in load(corrected, mapping, ready).err
    assert [
        ("A-17", 1, "BUY", "1250000.5", "2025-06-02 07:15:00"),
        ("A-17", 2, "BUY", "1250000.5", "2025-06-02 09:40:00"),
        ("A-18", 1, "SELL", "250000", "2025-12-02 08:20:00"),
        ("A-19", 1, "SELL", "3.5", "2025-06-02 07:30:00"),
        ("A-20", 1, "SELL", "250000", "2025-06-02 07:30:00"),
    ] == stored(ready, "trade_id, version, side, trim_scale(notional)::text, (created_at AT TIME ZONE 'UTC')::text")
    assert_loading_again_adds_nothing([file, corrected], mapping, ready, trades=5)


def test_a_file_as_excel_saves_it_in_the_united_states(ready, tmp_path):
    file = tmp_path / "trades.csv"
    file.write_text(AMERICAN)
    mapping = suggest(file, **{'# timezone = "Europe/London"': 'timezone = "America/New_York"'})

    done = load(file, mapping, ready)

    assert "2 trades, 1 invalid record (MATURITY_DATE 1)" in done.err
    assert f"{file}:4: maturity_date: '02/30/2031' is not a date as MM/DD/YYYY" in done.err
    corrected = correct(file, (",02/30/2031", ",02/28/2031"))
    assert "1 trade, 0 invalid records" in load(corrected, mapping, ready).err
    assert [
        ("A-17", "2031-03-20", "2025-06-02 13:15:00"),
        ("A-18", "2031-12-31", "2025-06-02 17:20:00"),
        ("A-19", "2031-02-28", "2025-06-02 17:30:00"),
    ] == stored(ready, "trade_id, maturity_date::text, (created_at AT TIME ZONE 'UTC')::text")
    assert_loading_again_adds_nothing([file, corrected], mapping, ready, trades=3)


def test_a_file_of_a_trade_system_with_thirty_other_columns(ready, tmp_path):
    others = [f"Attribute {number}" for number in range(30)]
    headers = [
        "Deal Ref",
        "Amendment",
        "Cpty",
        "Portfolio",
        "End Date",
        "Execution Time",
        "Direction",
        "Nominal",
        "Ccy",
    ]
    values = ["D-1", "1", "CP-1", "P1", "2031-01-31", "2025-06-01T08:00:00Z", "BUY", "100", "EUR"]
    wrong = {1: ("CP-1", "CP 1"), 3: ("2031-01-31", "31.01.2031"), 4: ("100", "n.a."), 5: ("P1", "")}
    file = tmp_path / "system.csv"
    content = io.StringIO()
    rows = csv.writer(content, delimiter="|")
    rows.writerow([*others[:15], *headers, *others[15:]])
    for number in range(6):
        old, new = wrong.get(number, ("", ""))
        row = [f"D-{number}", *(new if each == old else each for each in values[1:])]
        rows.writerow([*["x"] * 15, *row, *["y, z"] * 15])
    file.write_text(content.getvalue())
    mapping = suggest(file)

    done = load(file, mapping, ready)

    assert "2 trades, 4 invalid records (" in done.err
    assert (
        f"{file}:3: counterparty_id: has a blank at position 3" in done.err or "counterparty_id: is 'CP 1'" in done.err
    )
    assert f"{file}:5: maturity_date: '31.01.2031' is not a date" in done.err
    assert f"{file}:6: notional: 'n.a.' is not a decimal number" in done.err
    assert f"{file}:7: book_id: is ''" in done.err
    assert "Attribute" not in done.err
    rejects = Path(f"{file}.rejects.csv").read_text()
    header, *rejected = csv.reader(rejects.splitlines(), delimiter="|")
    assert ["reason", *others[:15], *headers, *others[15:]] == header
    assert [("D-1", "y, z"), ("D-3", "y, z"), ("D-4", "y, z"), ("D-5", "y, z")] == [
        (row[16], row[-1]) for row in rejected
    ]
    assert rejected[0][0].startswith("counterparty_id: ")
    corrected = correct(
        file, ("|CP 1|", "|CP-1|"), ("|31.01.2031|", "|2031-01-31|"), ("|n.a.|", "|100|"), ("||", "|P1|")
    )
    done = load(corrected, mapping, ready)
    assert (0, True) == (done.code, "4 trades, 0 invalid records" in done.err)
    assert [(f"D-{number}", "CP-1", "P1", "2031-01-31", "100") for number in range(6)] == stored(
        ready, "trade_id, counterparty_id, book_id, maturity_date::text, trim_scale(notional)::text"
    )
    assert_loading_again_adds_nothing([file, corrected], mapping, ready, trades=6)


def test_a_workbook(ready, tmp_path):
    file = tmp_path / "trades.xlsx"
    book = openpyxl.Workbook()
    for row in (
        ["Trade ID", "Version", "Counterparty", "Book", "Maturity", "Trade Time", "Buy/Sell", "Notional", "Ccy"],
        [10045, 1, "CP-7", "RATES", datetime(2031, 3, 20), datetime(2025, 6, 2, 9, 15), "Buy", 1250000.5, "GBP"],
        [10046, 0, "CP-7", "RATES", datetime(2031, 3, 20), datetime(2025, 6, 2, 9, 15), "Sell", 7, "GBP"],
    ):
        book.active.append(row)
    book.save(file)
    mapping = suggest(file, **{"# timezone": "timezone"})

    done = load(file, mapping, ready)

    assert "1 trade, 1 invalid record (VERSION 1)" in done.err
    assert f"{file}:3: version: is 0, which is less than 1 (VERSION)" in done.err
    rejects = openpyxl.load_workbook(f"{file}.rejects.xlsx")
    assert "version: is 0, which is less than 1 (VERSION)" == rejects.active["A2"].value
    rejects.active["C2"] = 1
    corrected = Path(f"{tmp_path}/corrected.xlsx")
    rejects.save(corrected)
    assert "1 trade, 0 invalid records" in load(corrected, mapping, ready).err
    assert [("10045", "BUY"), ("10046", "SELL")] == stored(ready, "trade_id, side")
    assert_loading_again_adds_nothing([file, corrected], mapping, ready, trades=2)


BACK_OFFICE = """\
Type,Id Scheme,Id,Counterparty Scheme, Counterparty ,Trade Date,Trade Zone,Settlement Date,Buy Sell,Currency,Notional
Fx,OG,F-1,OG,Bank A,06/12/2016,Europe/London,08/12/2026,Buy,GBP,"1,000,000"
Fx,OG,F-2,OG,Bank A,06/12/2016,Europe/London,22/12/2026,Sell,USD,1500000.25
Fx,OG,F-3,OG,Bank B,06/12/2016,Europe/London,22/06/2026,Sell,EUR,-2000000
Fx,OG,F-4,OG,,07/12/2016,Europe/London,22/06/2026,Buy,EUR,3000000
Fx,OG,F-5,OG,Bank B,07/12/2016,Europe/London,06/12/2016,Buy,EUR,3000000
"""


def test_a_file_of_a_back_office_loads_with_a_mapping_alone_and_its_refusals_are_named(ready, tmp_path):
    file = tmp_path / "fx.csv"
    file.write_text(BACK_OFFICE)
    mapping = suggest(
        file,
        **{
            '# timezone = "Europe/London"': 'timezone = "Europe/London"',
            '# "Bank A"': '"Bank A"',
            '# "Bank B"': '"Bank B"',
            '# version = ""\n': 'version = "1"\n',
            '# book_id = ""\n': 'book_id = "FX"\n',
        },
    )

    done = load(file, mapping, ready)

    assert "2 trades, 3 invalid records (" in done.err
    assert f"{file}:4: notional: is -2000000, which is " in done.err
    assert f"{file}:5: counterparty_id: is ''" in done.err
    assert f"{file}:6: maturity_date: is 2016-12-06, which is before the UTC date of created_at" in done.err
    assert [("F-1", 1, "Bank-A", "FX"), ("F-2", 1, "Bank-A", "FX")] == stored(
        ready, "trade_id, version, counterparty_id, book_id"
    )


def test_dates_that_may_be_read_in_two_ways_are_left_to_the_user(tmp_path):
    file = tmp_path / "trades.csv"
    file.write_text(AMERICAN.replace("3/20/", "3/2/").replace("12/31", "12/1").replace("02/30", "02/03"))

    text = suggest(file).read_text()

    assert '# Choose one: all fit, and "3/2/2031" is another day in each.\n# date-format = "DD/MM/YYYY"\n' in text


def test_a_suggestion_is_printed_or_written_to_a_new_file_only(tmp_path):
    file, target = tmp_path / "trades.csv", tmp_path / "mine.toml"
    file.write_text(AMERICAN)
    target.write_text("mine")

    printed = produce("--input", file, "--suggest-mapping", "-", env={})
    refused = produce("--input", file, "--suggest-mapping", target, env={})

    assert (0, "") == (printed.code, printed.err)
    assert 'trade_id = "Trade ID"\n' in printed.out
    assert (2, "mine") == (refused.code, target.read_text())
    assert f"'--suggest-mapping': {target} already exists: choose another file\n" in refused.err


@pytest.mark.parametrize("mark", ["\x7f", "\x9b", "\u202e", '""', "\\", "\u20ac"])
def test_a_suggestion_is_toml_whatever_the_headers_are(tmp_path, mark):
    file = tmp_path / "trades.csv"
    file.write_text(AMERICAN.replace("B/S", f'"x{mark}y"'))

    done = produce("--input", file, "--mapping", suggest(file), "--dry-run", env={})

    assert f"{file}:2: created_at: '06/02/2025 9:15:00 AM' has no offset" in done.err
