"""Exit codes and error messages."""

import errno
import io
import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from enum import IntEnum
from typing import Final, NoReturn

import typer

from tradepipe.cli.signals import SIGNAL_BASE, SignalWatch, replace_streams
from tradepipe.cli.terminal import as_typed, echo, log_format, wants_color, wrap
from tradepipe.errors import TradepipeError
from tradepipe.redaction import escape, escape_lines, redact
from tradepipe.shadowing import find_shadowing_file

logger = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """Exit codes; those above 63 are from BSD's sysexits.h."""

    DONE = 0
    FINDINGS = 1
    """The command worked and found problems."""
    USAGE = 2
    BUG = 70
    UNAVAILABLE = 75
    """A service was unavailable for longer than `--deadline`; retrying the command may work."""
    MISCONFIGURED = 78
    """The configuration must be changed first; the message says how."""


CLOSED_PIPE: Final = SIGNAL_BASE + signal.SIGPIPE
"""The reader of stdout has closed the pipe."""

MAX_WORD: Final = 1_000
"""Characters of a word in a message; a longer one is cut."""

_TYPER_PREFIX: Final = "Value error, "
"""Removed from typer's own messages for invalid choices."""

_BUG = "this is a bug in tradepipe: please report it with the lines above"

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of writing to a full disk."""


def exit_code_for(error: BaseException) -> ExitCode:
    """Return the exit code for a failure."""
    if _is_full(error) or _lacks_descriptors(error):
        return ExitCode.MISCONFIGURED
    return ExitCode(error.exit_code) if isinstance(error, TradepipeError) else ExitCode.BUG


def run(app: typer.Typer, prog_name: str) -> NoReturn:
    """Run a command line and exit the process with its code."""
    for name in ("stdout", "stderr"):
        # Python sets a stream to None if its descriptor was closed before the start, as by `>&-`; printing would fail.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        if hasattr(stream := getattr(sys, name), "reconfigure"):
            # Escapes characters that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    replace_streams()
    watch = SignalWatch()
    try:
        with watch:
            # Not standalone: typer would print the value of an invalid option itself, and it may be a password.
            code = app(prog_name=as_typed(f"{prog_name} ").rstrip(), standalone_mode=False)
    except SystemExit as ended:
        # typer exits with 1 on a closed pipe, which means findings here.
        sys.exit(CLOSED_PIPE if isinstance(ended.__context__, BrokenPipeError) else ended.code)
    except Exception as error:
        if watch.number and isinstance(error, SystemError):
            # A signal was handled in a callback of librdkafka, and its call has wrapped the SystemExit.
            sys.exit(SIGNAL_BASE + watch.number)
        sys.exit(_show_usage_error(error) if hasattr(error, "show") else _report_error(error))
    sys.exit(code if isinstance(code, int) else ExitCode.DONE)


def _show_usage_error(error: Exception) -> int:
    """Print a usage error, or the help of a command called without arguments, and return its exit code."""
    text = io.StringIO()
    error.show(text)  # type: ignore[attr-defined]  # click's errors have it; their class is private to typer
    with suppress(OSError):  # stderr may be closed or full; the exit code still reports the failure
        usage, _, message = f"\n{text.getvalue()}".partition("\nError: ")
        if usage.strip():
            echo(f"{usage.strip()}\n", err=True)
        if message:
            _print_message(message.replace(_TYPER_PREFIX, ""))
    return int(error.exit_code)  # type: ignore[attr-defined]  # click's errors have it; their class is private to typer


def _report_error(error: Exception) -> ExitCode:
    """Print a failure, with a traceback only if it is a bug, and return its exit code."""
    code = exit_code_for(error)
    if code is ExitCode.BUG and (problem := find_shadowing_file(error)):
        code, text = ExitCode.MISCONFIGURED, problem
    elif code is ExitCode.BUG:
        text = _BUG
    elif isinstance(error, OSError) and _is_full(error):
        text = f"cannot write the output: {error.strerror}; free disk space, or redirect it elsewhere"
    elif isinstance(error, OSError) and _lacks_descriptors(error):
        text = f"{error.strerror}: raise the limit of this process (ulimit -n) or of the system"
    else:
        text = " ".join("; ".join([str(error), *getattr(error, "__notes__", ())]).split())
    with suppress(OSError):  # stderr may be closed or full; the exit code still reports the failure
        if log_format.get() == "json" and logging.getLogger().handlers:
            logger.error("%s", text, exc_info=error if code is ExitCode.BUG else None)
        else:
            if code is ExitCode.BUG:
                echo("".join(traceback.format_exception(error)).rstrip(), err=True)
            _print_message(text)
    return code


def _print_message(message: str) -> None:
    """Print an error as one line, which on a terminal is wrapped between words, with its first word in red."""
    words = redact(as_typed(message)).split()
    # A file that was given as an argument by mistake would fill the screen.
    text = escape(" ".join(word if len(word) <= MAX_WORD else f"{word[: MAX_WORD // 2]}…" for word in words))
    start = typer.style("Error: ", fg="red", bold=True) if wants_color() else "Error: "
    typer.echo(start, err=True, nl=False)
    typer.echo(escape_lines(wrap(f"Error: {text}").removeprefix("Error: ")), err=True)


def _lacks_descriptors(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK_FULL and error.filename is None
