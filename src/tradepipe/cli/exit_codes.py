"""How a command ends: the exit codes, and what is said of a failure."""

import errno
import io
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from types import FrameType, TracebackType
from typing import Final, NoReturn, Self

import typer

from tradepipe.cli.settings import current_settings
from tradepipe.errors import TradepipeError
from tradepipe.redaction import redact

logger = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """What a command tells its caller; those above 63 are from BSD's sysexits.h."""

    DONE = 0
    FINDINGS = 1
    """The command worked, and what it looked at is not in order."""
    USAGE = 2
    BUG = 70
    UNAVAILABLE = 75
    """A part stayed away for as long as `--deadline` allowed; the same command may work later."""
    MISCONFIGURED = 78
    """Somebody has to change something first; the message says what."""


SIGNAL_BASE = 128
"""Added to a signal's number when it ended the command before its work was done."""

CLOSED_PIPE: Final = SIGNAL_BASE + signal.SIGPIPE
"""Nobody reads any more what a command prints."""

_SILENT: Final = "Value error, "
"""What typer puts before its own words for a wrong choice."""

_BUG = "this is a bug in tradepipe: please report it with the lines above"

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What is wrong with a file, opened before, that takes nothing more."""


def exit_code_for(error: BaseException) -> ExitCode:
    """The code a failure ends a command with."""
    if _is_full(error):
        return ExitCode.MISCONFIGURED
    return ExitCode(error.exit_code) if isinstance(error, TradepipeError) else ExitCode.BUG


def run(app: typer.Typer, prog_name: str) -> NoReturn:
    """Run a command line to its end; the process ends with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    _prepare_streams()
    try:
        # Not standalone: typer would show a wrong option itself, and with it what may be a password.
        code = app(prog_name=prog_name, standalone_mode=False)
    except SystemExit as ended:
        # typer makes it 1, which says that a check found something.
        sys.exit(CLOSED_PIPE if isinstance(ended.__context__, BrokenPipeError) else ended.code)
    except Exception as error:
        sys.exit(_show_usage_error(error) if hasattr(error, "show") else _report_error(error))
    sys.exit(code if isinstance(code, int) else ExitCode.DONE)


def _prepare_streams() -> None:
    """Streams that can be written to, also where a caller closed them or a terminal lacks a character."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _show_usage_error(error: Exception) -> int:
    """The code for what typer itself has to say: a usage error, or the help of a command without arguments."""
    text = io.StringIO()
    error.show(text)  # type: ignore[attr-defined]  # click's errors have it; their class is private to typer
    with suppress(OSError):  # where nothing can be told, the code still tells
        typer.echo(redact(text.getvalue().replace(_SILENT, "")), err=True, nl=False)
    return int(error.exit_code)  # type: ignore[attr-defined]  # the same


def _report_error(error: Exception) -> ExitCode:
    """The code for a failure that has been told: in one line if it was foreseeable, with a traceback if not."""
    code = exit_code_for(error)
    with suppress(OSError):  # where nothing can be told, the code still tells
        _print_error(error, code)
    return code


def _print_error(error: Exception, code: ExitCode) -> None:
    if current_settings().log_format == "json" and logging.getLogger().handlers:
        _log_error(error, code)
    elif code is ExitCode.BUG:
        typer.echo(redact("".join(traceback.format_exception(error))), err=True, nl=False)
        typer.secho(_BUG, err=True, fg="red")
    else:
        typer.secho("Error: ", err=True, fg="red", bold=True, nl=False)
        typer.echo(redact(_error_text(error)), err=True)


def _log_error(error: Exception, code: ExitCode) -> None:
    if code is ExitCode.BUG:
        logger.error("%s", _BUG, exc_info=error)
    else:
        logger.error("%s", _error_text(error))


def _error_text(error: Exception) -> str:
    if isinstance(error, OSError) and _is_full(error):
        return f"what this command prints cannot be written: {error.strerror}; make room, or send it elsewhere"
    return " ".join("; ".join([str(error), *getattr(error, "__notes__", ())]).split())


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK_FULL and error.filename is None


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """A command that does one thing is ended by the first signal: what it did not do, it must not report as done."""
    sys.exit(SIGNAL_BASE + number)


_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal:
    """
    Within the block the first SIGINT or SIGTERM calls `stop`, and a second one ends the process.

    Args:
        stop: makes the block end soon; called in a signal handler.

        doing: what is still done before it ends, for the message.
    """

    def __init__(self, stop: Callable[[], None], doing: str) -> None:
        self._stop = stop
        self._doing = doing
        self.asked = False
        self.number = 0

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            os._exit(SIGNAL_BASE + number)
        self.asked, self.number = True, number
        # Not through sys.stderr: the signal may have interrupted a write to it.
        start = b"\r\x1b[K" if sys.stderr.isatty() else b""
        os.write(2, start + f"{_log_line(f'{self._doing}; a second signal ends at once')}\n".encode())
        self._stop()


def _log_line(text: str) -> str:
    """Not by a logger either: the signal may have interrupted one that holds its lock."""
    return json.dumps({"level": "INFO", "message": text}) if current_settings().log_format == "json" else text
