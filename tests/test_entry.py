"""The end of a command's process."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def run(code: str, *, stdout: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    program = f"import atexit, sys; from tradepipe.entry import exit_process; {code}"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
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


def test_a_debugger_continues_after_the_command():
    done = run(
        "sys.settrace(lambda *_: None); kept = atexit.register(print, 'end')\ntry: exit_process(4)\nfinally: print('1')"
    )

    assert (4, "1\nend\n") == (done.returncode, done.stdout)
