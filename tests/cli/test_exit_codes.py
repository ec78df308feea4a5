"""How commands end: the code and what is said."""

import errno
import io
import os
import subprocess
import sys

import pytest
import typer

from tradepipe import errors
from tradepipe.cli.exit_codes import ExitCode, exit_code_for, run
from tradepipe.cli.logs import print_status
from tradepipe.redaction import redact
from tradepipe.trade.model import Trade

TRADE = Trade("T1", 1, "CP-1", "B1", None, None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("so"), 78),
        (errors.TooManyRefusals("so", 0), 78),
        (errors.DatabaseOutdated("so"), 78),
        (errors.RegistryUnavailable("so"), 75),
        (errors.DeadlineExceeded("so"), 75),
        (errors.InvalidTrade(TRADE, []), 1),
        (errors.DeliveryFailed([(TRADE, "so")], []), 1),
        (ValueError("so"), 70),
        (OSError(errno.ENOSPC, "so"), 78),
        (OSError(errno.EMFILE, "so"), 78),
        (FileNotFoundError(errno.ENOENT, "so"), 70),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_has_its_code(error, code):
    assert code == exit_code_for(error)


def test_too_many_open_files_are_no_bug(failing, capsys):
    assert 78 == failing(OSError(errno.EMFILE, "Too many open files"))
    assert "Error: Too many open files: raise the limit of this process (ulimit -n)" in capsys.readouterr().err


@pytest.fixture
def failing(monkeypatch):
    """Runs a command that fails with an error, and gives the code it ends with."""

    def ends_with(error: Exception) -> int:
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.command()
        def fail() -> None:
            raise error

        monkeypatch.setattr("sys.argv", ["fail"])
        monkeypatch.setattr("signal.signal", lambda *_: None)  # the handlers of the test run stay
        with pytest.raises(SystemExit) as ended:
            run(app, "fail")
        return int(ended.value.code)

    return ends_with


def test_a_foreseeable_failure_is_one_line(failing, capsys):
    error = errors.ConfigurationError("no such thing\n  at postgresql://me:secret@db/trades")
    error.add_note("and another")

    assert ExitCode.MISCONFIGURED == failing(error)
    assert "Error: no such thing at postgresql://me:***@db/trades; and another\n" == capsys.readouterr().err


def test_a_bug_shows_where_it_is_but_no_password(failing, capsys):
    assert ExitCode.BUG == failing(KeyError("http://me:secret@registry"))

    message = capsys.readouterr().err
    assert "Traceback" in message
    assert "secret" not in message
    assert "report it" in message.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@db/trades", "postgresql://me:***@db/trades"),
        ("postgres://me:s@cret@db", "postgres://me:***@db"),
        ("http://me:secret@a:1 and http://you:other@b:2/x", "http://me:***@a:1 and http://you:***@b:2/x"),
        ("postgresql://db/trades?user=me&password=secret&x=1", "postgresql://db/trades?user=me&password=***&x=1"),
        ("sasl.password=secret", "sasl.password=***"),
        ("http://localhost:8081/subjects/a@b", "http://localhost:8081/subjects/a@b"),
        ("write it as postgresql://user:password@host", "write it as postgresql://user:password@host"),
    ],
)
def test_passwords_are_not_shown(text, shown):
    assert shown == redact(text)


def tradepipe(*arguments, stdout, stderr=subprocess.PIPE):
    """How the command ended that prints into `stdout`, and what it said."""
    program = [sys.executable, "-c", "from tradepipe.entry import run; run()", *arguments]
    # Unbuffered streams have nothing left to write at the exit.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(program, env=env, stdout=stdout, stderr=stderr, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["-V"], ["sink", "--help"]], ids=" ".join)
def test_a_full_disk_is_reported_in_one_line(arguments):
    with open("/dev/full", "w") as full:
        code, message = tradepipe(*arguments, stdout=full)

    assert 78 == code
    assert (
        "Error: cannot write the output: No space left on device; free disk space, or redirect it elsewhere\n"
        == message
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["-V"], ["sink", "--help"]], ids=" ".join)
def test_a_reader_that_has_gone_ends_a_command_as_a_signal_does(arguments):
    """Not with 1, the code of findings."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert (141, "") == tradepipe(*arguments, stdout=writer)
    finally:
        os.close(writer)


def test_log_lines_lost_to_a_full_disk_do_not_change_the_exit_code(monkeypatch):
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr("sys.stderr", io.TextIOWrapper(full, write_through=True))

        print_status("what a command came to")


@pytest.mark.slow
@pytest.mark.parametrize(("database", "expected"), [("mysql://db", 78), ("postgresql://127.0.0.1:1/x", 75)])
def test_the_exit_code_is_right_even_if_nothing_can_be_printed(database, expected):
    """The second one was logged before."""
    arguments = "migrate", "current", "--deadline=0.2", f"--database={database}"
    with open("/dev/full", "w") as full:
        code, _ = tradepipe(*arguments, stdout=subprocess.DEVNULL, stderr=full)

    assert expected == code


@pytest.mark.slow
def test_a_command_whose_stdout_is_closed_does_its_work():
    program = [sys.executable, "-c", "from tradepipe.cli.main import run; run()", "-V"]
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *program], capture_output=True, check=False)

    assert (0, b"") == (closed.returncode, closed.stderr)
