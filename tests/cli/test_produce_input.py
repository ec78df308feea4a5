"""`tradepipe produce --input`: a file of trades, sent."""

import csv
import gzip
import os
import pty
import re
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.cli.commands import ask, run_command, running
from tests.cli.pty import at_a_terminal
from tests.cli.test_produce import breakable, records_in  # noqa: F401 - breakable is a fixture
from tests.eventually import eventually
from tradepipe.trade.model import Trade
from tradepipe.trade.samples import trades

HEADER = ",".join(Trade._fields)


def row(trade) -> str:
    dates = (trade.maturity_date.isoformat(), trade.created_at.isoformat())
    return ",".join((*map(str, trade[:4]), *dates, *("" if value is None else str(value) for value in trade[6:])))


@pytest.fixture
def file(tmp_path) -> Path:
    """A file of 50 trades."""
    path = tmp_path / "trades.csv"
    path.write_text("\n".join((HEADER, *map(row, islice(trades(5), 50)))) + "\n")
    return path


def spoiled(file: Path, *numbers: int) -> Path:
    """The file with versions that are none on these lines."""
    lines = file.read_text().splitlines()
    for number in numbers:
        cells = lines[number - 1].split(",")
        lines[number - 1] = ",".join((cells[0], "one", *cells[2:]))
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_trades_of_a_file_are_stored(ready, file):
    done = run_command("produce", "--input", str(file), env=ready)

    assert 0 == done.code, done.err
    assert f"read {file}: 50 trades, 0 invalid records\nsent 50 records: 50 acknowledged, " in done.err
    assert 0 == run_command("sink", "--until-end", env=ready).code
    stored = ask(ready["DATABASE_URL"], f"SELECT {HEADER} FROM trades ORDER BY trade_id, version")
    assert sorted(islice(trades(5), 50)) == [Trade(*each) for each in stored]


@pytest.mark.slow
def test_a_run_that_is_interrupted_and_repeated_stores_nothing_twice(ready, file):
    with running("produce", "--input", str(file), "--rate", "40", "-v", env=ready) as process:
        for _ in range(10):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        interrupted = process.end()
    again = run_command("produce", "--input", str(file), env=ready)
    sink = run_command("sink", "--until-end", env=ready)

    sent = int(re.search(r"sent (\d+) records?", interrupted.err)[1])
    assert 10 <= sent < 50
    assert re.search(r"stopped at line \d+: run the command again to send all trades", interrupted.err)
    assert (130, 0, 0) == (interrupted.code, again.code, sink.code)
    assert f"50 stored, {sent} duplicates, 0 refused" == sink.err.splitlines()[-1]


def test_an_invalid_line_stops_it_after_the_lines_before_were_sent(ready, topic, file):
    done = run_command("produce", "--input", str(spoiled(file, 12)), env=ready)

    assert 1 == done.code
    assert f"Error: {file}:12: version: 'one' is not a whole number" in done.err.splitlines()[-1]
    assert "(VERSION); 10 trades before it sent; fix it" in done.err.splitlines()[-1]
    assert "sent 10 records: 10 acknowledged" in done.err
    assert 10 == records_in(ready, topic)


def test_bad_lines_are_skipped_and_kept_if_asked_for(ready, topic, file):
    done = run_command("produce", "--input", str(spoiled(file, 2, 12, 51)), "--on-error", "skip", env=ready)

    header, *rejects = csv.reader(Path(f"{file}.rejects.csv").read_text().splitlines())
    assert 1 == done.code
    assert 3 == done.err.count("skipped: ")
    assert f"47 trades, 3 invalid records (VERSION 3)\nwrote the invalid records to {file}.rejects.csv" in done.err
    assert 47 == records_in(ready, topic)
    assert ["reason", *Trade._fields] == header
    assert [file.read_text().splitlines()[number].split(",") for number in (1, 11, 50)] == [row[1:] for row in rejects]
    assert {"version: 'one' is not a whole number from 1 to 2147483647 in plain digits (VERSION)"} == {
        row[0] for row in rejects
    }


def test_a_count_beyond_all_numbers_is_no_limit(file):
    done = run_command("produce", "--input", str(file), "--dry-run", "--count", "9" * 30, env={})

    assert (0, f"checked {file}: 50 trades, 0 invalid records\nnothing was sent\n") == (done.code, done.err)


def test_a_dry_run_needs_no_services(file):
    done = run_command("produce", "--input", str(file), "--dry-run", env={})

    assert (0, "", f"checked {file}: 50 trades, 0 invalid records\nnothing was sent\n") == done


@pytest.mark.slow
def test_a_packed_file_comes_by_a_pipe(ready, topic, file):
    packed = gzip.compress(file.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "tradepipe.produce", "--input", "-", "--input-format", "csv"],
        input=packed,
        env={**os.environ, **ready},
        capture_output=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert 50 == records_in(ready, topic)


@pytest.mark.slow
def test_a_signal_ends_it_while_it_waits_for_a_pipe(ready, file, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    arguments = ("--input", str(fifo), "--input-format", "csv", "-v")
    with running("produce", *arguments, env=ready) as process, fifo.open("w") as writer:
        writer.write("\n".join(file.read_text().splitlines()[:11]) + "\nT1,1,")
        writer.flush()
        for _ in range(10):
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        done = process.end()

    assert 143 == done.code, done.err
    assert "sent 10 records: 10 acknowledged" in done.err


def test_count_ends_it_after_that_number_of_trades(ready, topic, file):
    assert 0 == run_command("produce", "--input", str(file), "--count", "7", env=ready).code
    assert 7 == records_in(ready, topic)


@pytest.mark.slow
def test_unacknowledged_trades_can_be_sent_again(request, file):
    broker, env = request.getfixturevalue("breakable")
    with running("produce", "--input", str(file), "--rate", "20", "--deadline", "1", "-v", env=env) as process:
        process.stdout.readline()
        broker.down()
        done = process.end()

    assert 75 == done.code, done.err
    assert "send all again with the same command" in done.err.splitlines()[-1]


@pytest.mark.slow
def test_a_terminal_shows_how_far_it_is(ready, tmp_path):
    """On 80 columns, in one line."""
    path = tmp_path / "trades.csv"
    path.write_text("\n".join((HEADER, *map(row, islice(trades(6), 3_000)))) + "\n")
    leader, follower = pty.openpty()
    shown = bytearray()
    command = [sys.executable, "-m", "tradepipe.produce", "--input", str(path), "--rate", "1000"]
    with subprocess.Popen(
        command,
        env={**os.environ, **ready, "COLUMNS": "80", "TERM": "xterm"},
        stdout=subprocess.DEVNULL,
        stderr=follower,
    ) as process:
        os.close(follower)
        eventually(lambda: _take(leader, shown) and process.poll() is not None)
    os.close(leader)

    lines = [line for line in re.split(r"\r\x1b\[K|\r?\n", shown.decode()) if line]
    assert 0 == process.returncode, lines
    assert [] == [line for line in lines if line.startswith("[") and len(line) > 79]
    assert any(re.fullmatch(r"\[#+-*\] \d+% of \d+\.\d kB, [\d,]+ sent, [\d,]+/s, 0:0\d left", line) for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["--count 600 --rate 600", "--nonsense"], ids=["progress", "error"])
def test_a_terminal_without_escape_sequences_gets_none(ready, arguments):
    seen = at_a_terminal("produce", *arguments.split(), env={**ready, "TERM": "dumb"})

    assert "\x1b" not in "".join(seen.lines)


def _take(leader: int, shown: bytearray) -> bool:
    try:
        shown += os.read(leader, 65_536)
    except OSError:  # the other end is closed: all was read
        return True
    return False


MEMORY = """
import resource, sys
from tradepipe.cli.exit_codes import run
from tradepipe.cli.produce import app
try:
    run(app, "produce")
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    """A file of 8 MB within 5 MB of what a small one takes."""
    path = tmp_path / "trades.csv"
    lines = [row(trade) for trade in islice(trades(7), 1_000)]

    def peak(times: int) -> int:
        with path.open("w") as file:
            file.write(HEADER + "\n")
            for _ in range(times):
                file.write("\n".join(lines) + "\nT1,none,,,,\n")
        arguments = ["--input", str(path), "--dry-run", "--on-error", "skip", "--overwrite"]
        done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=False)
        assert 1 == done.returncode
        return int(done.stderr.splitlines()[-1])

    assert peak(100) - peak(1) < 5_000
