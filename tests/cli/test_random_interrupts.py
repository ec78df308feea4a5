"""SIGINT at random moments: the command ends soon, and nothing is lost. By default one moment: see --interrupts."""

import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.commands import Done, Running, process, running
from tests.cli.test_interrupts import INTERRUPTED, LINES, count_records, interrupt, store_all
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SIGTERM_MASK = 1 << 14

LONGEST_SECONDS = 10.0
"""After this long a command that does not end on its own is interrupted, however busy the machine was at its start."""


def has_begun(command: Running) -> bool:
    """Return whether the command handles signals; before its first line, SIGINT meets an interpreter that starts."""
    status = Path(f"/proc/{command.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & SIGTERM_MASK)


@pytest.fixture
def moments(request) -> Iterator[float]:
    """Shares of a command's duration, random by a seed that is printed."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    generator = random.Random(seed)
    return (generator.random() for _ in range(request.config.getoption("--interrupts")))


def interrupt_at(moments: Iterator[float], duration: float, command: str, env: Mapping[str, str]) -> Iterator[Done]:
    """Run a command once for each moment, and interrupt it then."""
    name, *arguments = command.split()
    for moment in moments:
        with running(name, *arguments, env=env, is_forked=False) as started:
            eventually(lambda: has_begun(started))
            time.sleep(moment * duration)
            signalled_at = time.monotonic()
            done = interrupt(started)
        print(
            f"{command}: after {moment * duration:.2f} s, ended in {time.monotonic() - signalled_at:.2f} s, {done.code}"
        )
        yield done


def run_seconds(name: str, *arguments: str, env: Mapping[str, str]) -> float:
    """Return how long a command runs on this machine."""
    started_at = time.monotonic()
    process(name, *arguments, env=env)
    return time.monotonic() - started_at


def interrupt_endless(moments: Iterator[float], command: str, env: Mapping[str, str]) -> Iterator[Done]:
    """Interrupt a command that does not end on its own, during its imports or, as often, afterwards."""
    imports = run_seconds(command.split(maxsplit=1)[0], "--help", env=env)
    return interrupt_at(moments, min(2 * imports + 1.0, LONGEST_SECONDS), command, env)


@pytest.mark.parametrize(
    "command",
    [
        "sink offsets show",
        "sink offsets reset --to=earliest",
        "migrate upgrade",
        "migrate current",
        "schema validate",
        "schema check",
        "schema register",
        "schema drift",
        "schema diff 1 2",
        "schema draft",
        "topics create",
        "topics check",
        "dlq ls --from=table",
        "dlq stats --from=table",
        "dlq replay --from=table",
        "dlq export --from=table",
    ],
)
def test_a_command_is_interrupted_or_done(ready, moments, command):
    name, *arguments = command.split()
    started_at = time.monotonic()
    usual = process(name, *arguments, env=ready)
    duration = time.monotonic() - started_at

    codes = {done.code for done in interrupt_at(moments, duration, command, ready)}

    assert codes <= {INTERRUPTED, usual.code}, usual.err


@pytest.mark.embedded
@pytest.mark.parametrize("command", ["demo", "embedded"])
def test_embedded_services_leave_no_file_and_no_process(moments, command, open_path):
    for done in interrupt_endless(moments, command, {"TMPDIR": str(open_path)}):
        assert done.code in (INTERRUPTED, 0 if command == "embedded" else INTERRUPTED)
        assert [] == list(open_path.iterdir())
        eventually(lambda: not processes_in(open_path))  # the system ends killed ones a moment later


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of the processes that run in a folder, or that mention it."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in command or os.readlink(path / "cwd").startswith(str(folder)):
                found.append(command)
    return found


def test_what_a_producer_reports_is_in_the_log(ready, kafka, topic, moments):
    acknowledged = unknown = 0
    for done in interrupt_endless(moments, "produce --rate=500 --format=json", ready):
        assert done.code in (0, INTERRUPTED), done.err
        counts = json.loads(done.out) if done.out else {"acknowledged": 0, "unknown": 0}
        acknowledged += counts["acknowledged"]
        unknown += counts["unknown"]

    assert acknowledged <= count_records(kafka, topic) <= acknowledged + unknown


@pytest.fixture
def filled(ready) -> dict[str, str]:
    """A topic with trades."""
    assert 0 == process("produce", f"--count={LINES}", "--seed=1", env=ready).code
    return ready


def test_a_sink_loses_and_duplicates_nothing(filled, moments):
    for done in interrupt_endless(moments, "sink --batch-rows=20", filled):
        assert done.code in (0, INTERRUPTED), done.err

    assert (LINES, LINES) == store_all(filled)


def test_a_validator_loses_nothing(filled, outputs, kafka, topic, moments):
    env = filled | outputs | {"TRADEPIPE_DELIVERY": "at_least_once"}
    for done in interrupt_endless(moments, "validate --batch-records=20", env):
        assert done.code in (0, INTERRUPTED), done.err

    assert 0 == process("validate", "--until-end", env=env).code
    assert LINES == count_records(kafka, f"{topic}.clean")
