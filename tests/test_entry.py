"""The end of a command's process."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    """Return the environment without what changes Python's streams and handlers."""
    return {name: os.environ[name] for name in os.environ.keys() - {"PYTHONUNBUFFERED", "PYTHONFAULTHANDLER"}}


def run(code: str, *, stdout: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    program = f"import atexit, sys; from tradepipe.entry import exit_process; {code}"
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_buffered_output_is_written_and_registered_functions_run():
    done = run("atexit.register(print, 'registered'); print('buffered '); exit_process(3)")

    assert (3, "buffered \nregistered\n", "") == (done.returncode, done.stdout, done.stderr)


def test_modules_are_not_taken_apart():
    done = run("T = type('T', (), {'__del__': lambda self: print('deleted')}); kept = T(); exit_process(0)")

    assert (0, "") == (done.returncode, done.stdout)


def test_output_that_cannot_be_written_is_reported():
    with open("/dev/full", "w") as full:
        done = run("print('lost'); exit_process(0)", stdout=full)

    assert 120 == done.returncode
    assert "No space left on device" in done.stderr


BLOCKED_THREAD = """
import select, sys, threading
from tradepipe.entry import exit_process
print("lost")
writer = threading.Thread(target=sys.stderr.write, args=("x" * 1_000_000,), daemon=True)
writer.start()
while writer.is_alive() and select.select([], [2], [], 0.01)[1]:
    pass  # until the pipe is full
exit_process(0)
"""


def test_a_thread_that_waits_for_the_reader_of_stderr_does_not_abort_the_process():
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(
            [sys.executable, "-c", BLOCKED_THREAD], env=environment(), stdout=full, stderr=subprocess.PIPE
        ) as process,
    ):
        # No one reads for longer than Python waits for the lock of a stream when it ends.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        _, err = process.communicate()

    assert (120, True) == (process.returncode, b"No space left on device" in err)


def test_a_crash_in_a_library_shows_where_every_thread_was():
    code = "from tradepipe import entry; entry._run_and_exit = lambda command: __import__('os').abort(); entry.run()"
    done = run(code)

    assert -signal.SIGABRT == done.returncode
    assert "Fatal Python error: Aborted" in done.stderr
    assert 'File "<string>", line 1 in <lambda>' in done.stderr


def test_a_command_loads_httpx_without_its_command_line():
    """That one loads rich and pygments, a tenth of the time until a stage works."""
    command = [sys.executable, "-X", "importtime", "-m", "tradepipe.validate", "--help"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert {"httpx"} == loaded & {"httpx", "click", "rich", "pygments"}


def test_a_debugger_continues_after_the_command():
    done = run(
        "sys.settrace(lambda *_: None); kept = atexit.register(print, 'end')\ntry: exit_process(4)\nfinally: print('1')"
    )

    assert (4, "1\nend\n") == (done.returncode, done.stdout)
