"""Files of rejected records: what they hold, and what they never replace."""

import os
import resource
import stat
import threading
from pathlib import Path

import openpyxl
import pyarrow.parquet
import pytest

from tests.cli.commands import run_command
from tests.eventually import eventually
from tests.files.test_kinds import CELLS, CSV, HEADER, ROW, workbook_of

BAD = f"T2,one{ROW[4:]}"


@pytest.fixture
def file(tmp_path) -> Path:
    """A file with a valid trade and an invalid one."""
    path = tmp_path / "trades.csv"
    path.write_text(f"{CSV}{BAD}\n")
    return path


def check(file, *arguments):
    return run_command("produce", "--input", str(file), "--dry-run", "--on-error", "skip", *map(str, arguments), env={})


def test_rejects_have_the_delimiter_headers_encoding_and_line_ends_of_the_file(file):
    text = f"{HEADER},W\u00e4hrung\r\n".replace(",", ";") + f"{ROW},\r\n{BAD},\u20ac\r\n".replace(",", ";")
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert 1 == check(file).code
    reason = "version: 'one' is not a whole number from 1 to 2147483647 in plain digits (VERSION)"
    expected = f"reason;{HEADER},W\u00e4hrung\r\n{reason};{BAD},\u20ac\r\n".replace(",", ";")
    assert expected == Path(f"{file}.rejects.csv").read_bytes().decode("utf-8-sig")
    assert Path(f"{file}.rejects.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_bytes_that_were_not_decoded_are_written_unchanged(file):
    file.write_bytes(f"{CSV}Z\u00fcrich{ROW[2:]}\n".encode("latin-1"))

    check(file)
    assert f"Z\u00fcrich{ROW[2:]}".encode("latin-1") in Path(f"{file}.rejects.csv").read_bytes()


def test_rows_that_are_too_short_or_not_csv_are_kept_and_rejected_again(file):
    file.write_text(f'{CSV}T2,1\n"T3"x{ROW[2:]}\n"T\n4",0{ROW[4:]}\n')

    first = check(file)
    rejects = Path(f"{file}.rejects.csv")
    second = check(rejects)
    assert "1 trade, 3 invalid records (UNDECODABLE 2" in first.err
    assert "0 trades, 3 invalid records (UNDECODABLE 2" in second.err
    assert "ignored" not in second.err
    assert rejects.read_text().count("reason") == Path(f"{rejects}.rejects.csv").read_text().count("reason") == 1


def test_corrected_rejects_load_with_the_same_options_and_the_reasons_are_ignored(file):
    check(file)
    rejects = Path(f"{file}.rejects.csv")
    rejects.write_text(rejects.read_text().replace("T2,one", "T2,1"))

    done = check(rejects)

    assert (0, f"checked {rejects}: 1 trade, 0 invalid records\nnothing was sent\n") == (done.code, done.err)


def test_rejects_of_a_workbook_are_a_workbook_with_the_cells_as_they_were(tmp_path):
    file = tmp_path / "t.xlsx"
    file.write_bytes(workbook_of(HEADER.split(","), CELLS, ["T2", "=1+1", *CELLS[2:]], ["T3", 0, *CELLS[2:]]))

    check(file, "--timezone", "UTC")
    rejects = Path(f"{file}.rejects.xlsx")
    header, _, row = openpyxl.load_workbook(rejects)["Trades"].iter_rows(values_only=True)
    assert ("reason", *HEADER.split(",")) == header
    assert ("version: is 0, which is less than 1 (VERSION)", "T3", 0, *CELLS[2:]) == row

    again = check(rejects, "--timezone", "UTC")
    assert "0 trades, 2 invalid records" in again.err


def test_rejects_of_a_parquet_file_have_its_types(tmp_path):
    file = tmp_path / "t.parquet"
    columns = dict(zip(HEADER.split(","), zip(CELLS, CELLS, strict=True), strict=True)) | {"version": [1, 0]}
    pyarrow.parquet.write_table(pyarrow.table({name: list(cells) for name, cells in columns.items()}), file)

    check(file, "--timezone", "UTC")
    (row,) = pyarrow.parquet.read_table(f"{file}.rejects.parquet").to_pylist()
    assert (0, CELLS[4]) == (row["version"], row["maturity_date"])
    assert row["reason"].startswith("version: is 0")
    assert "0 trades, 1 invalid record " in check(f"{file}.rejects.parquet", "--timezone", "UTC").err


def test_a_file_that_exists_is_not_replaced_without_overwrite(file, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")

    done = check(file, "--rejects", precious)

    assert 2 == done.code
    assert f"{precious} already exists: choose another file, or add --overwrite" in done.err
    assert "mine" == precious.read_text()
    assert 1 == check(file, "--rejects", precious, "--overwrite").code
    assert precious.read_text().startswith("reason,")


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_the_input_is_never_replaced_by_its_rejects(file, tmp_path, link):
    before, other = file.read_text(), tmp_path / "other.csv"
    link(file, other)

    for path in (file, other):
        done = check(file, "--rejects", path, "--overwrite")
        assert 2 == done.code
        assert f"{path} is the input: choose another file" in done.err
    assert before == file.read_text()


def test_rejects_are_readable_by_their_owner_alone_and_nothing_else_is_left(file, tmp_path):
    check(file)

    assert ["trades.csv", "trades.csv.rejects.csv"] == sorted(os.listdir(tmp_path))
    assert 0o600 == stat.S_IMODE(Path(f"{file}.rejects.csv").stat().st_mode)


def test_on_a_full_disk_the_file_is_named_and_no_draft_is_left(file, tmp_path):
    file.write_text(CSV + f"{BAD}\n" * 1_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        done = check(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert 78 == done.code
    assert f"Error: cannot write {file}.rejects.csv: File too large; choose another file with --rejects" in done.err
    assert [file] == list(tmp_path.iterdir())


@pytest.mark.parametrize("lines", [1, 10_000])
def test_rejects_that_could_not_be_written_are_not_reported_as_written(file, lines):
    """The first ones fail when the file is closed, many when the buffer is full."""
    file.write_text(CSV + f"{BAD}\n" * lines)

    done = check(file, "--rejects", "/dev/full")

    assert 78 == done.code
    assert "Error: cannot write /dev/full: No space left on device" in done.err
    assert "wrote the invalid records" not in done.err


def test_a_run_without_rejects_makes_no_file(file, tmp_path):
    file.write_text(CSV)

    assert 0 == check(file).code
    assert ["trades.csv"] == os.listdir(tmp_path)


def test_a_pipe_and_a_device_are_written_to(file, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()

    check(file, "--rejects", pipe)

    reader.join(60)
    assert read[0].startswith("reason,")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert 1 == check(file, "--rejects", "/dev/null").code
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_link_to_a_file_is_refused_and_one_to_a_device_is_followed(file, tmp_path):
    """A link planted at the default name would lead the rejects into another file."""
    target, link, device = tmp_path / "target", tmp_path / "link", tmp_path / "device"
    link.symlink_to(target)
    device.symlink_to("/dev/null")

    done = check(file, "--rejects", link, "--overwrite")

    assert (2, False) == (done.code, target.exists())
    assert f"{link} is a symbolic link: choose another file" in done.err
    assert 1 == check(file, "--rejects", device).code


def test_a_file_that_appears_during_the_run_is_kept_and_so_are_the_rejects(tmp_path):
    pipe, rejects = tmp_path / "pipe", tmp_path / "rejects"
    os.mkfifo(pipe)

    def write():
        with pipe.open("w") as file:
            file.write(f"{CSV}{BAD}\n")
            file.flush()
            eventually(lambda: list(tmp_path.glob(".rejects.*")))
            rejects.write_text("mine")

    writer = threading.Thread(target=write)
    writer.start()
    done = check(pipe, "--input-format", "csv", "--rejects", rejects)
    writer.join()

    (draft,) = tmp_path.glob(".rejects.*")
    assert 78 == done.code
    assert f"{rejects} was created during the run; the rejects are in {draft}" in done.err
    assert ("mine", True) == (rejects.read_text(), BAD in draft.read_text())


@pytest.mark.parametrize(
    ("path", "message"),
    [(".", "is a directory: choose another file"), ("missing/x", "is not writable: No such file or directory")],
)
def test_a_path_that_is_not_a_file_is_refused_before_anything_is_read(file, path, message):
    done = check(file, "--rejects", path)

    assert 2 == done.code
    assert f"{path} {message}" in done.err
