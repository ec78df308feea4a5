"""How a command ends: the exit codes, and what is said of a failure."""

import signal
import sys
import traceback
from enum import IntEnum
from types import FrameType
from typing import NoReturn

import typer

from tradepipe.cli.masking import masked
from tradepipe.errors import Away, DeadlineExceeded, DeliveryFailed, InvalidTrade, Misconfigured, TradepipeError


class ExitCode(IntEnum):
    """What a command tells its caller; those above 63 are from BSD's sysexits.h."""

    DONE = 0
    FINDINGS = 1
    """The command worked, and what it looked at is not in order."""
    USAGE = 2
    BUG = 70
    AWAY = 75
    """A part stayed away for as long as `--deadline` allowed; the same command may work later."""
    MISCONFIGURED = 78
    """Somebody has to change something first; the message says what."""


BY_SIGNAL = 128
"""Added to a signal's number when it ended the command before its work was done."""

_BUG = "this is a bug in tradepipe: please report it with the lines above"

_CODES: dict[type[TradepipeError], ExitCode] = {
    Misconfigured: ExitCode.MISCONFIGURED,
    DeadlineExceeded: ExitCode.AWAY,
    Away: ExitCode.AWAY,
    DeliveryFailed: ExitCode.FINDINGS,
    InvalidTrade: ExitCode.FINDINGS,
}


def code_of(error: BaseException) -> ExitCode:
    """The code a failure ends a command with."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.BUG)


def run(app: typer.Typer, prog_name: str) -> NoReturn:
    """Run a command line to its end; the process ends with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal's encoding is no reason to fail
    try:
        app(prog_name=prog_name)
    except Exception as error:
        sys.exit(_told(error))
    sys.exit(ExitCode.DONE)


def _told(error: Exception) -> ExitCode:
    """The code for a failure that has been told: in one line if it was foreseeable, with a traceback if not."""
    code = code_of(error)
    if code is ExitCode.BUG:
        typer.echo(masked("".join(traceback.format_exception(error))), err=True, nl=False)
        typer.secho(_BUG, err=True, fg="red")
    else:
        said = " ".join("; ".join([str(error), *getattr(error, "__notes__", ())]).split())
        typer.secho("Error: ", err=True, fg="red", bold=True, nl=False)
        typer.echo(masked(said), err=True)
    return code


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """A command that does one thing is ended by the first signal: what it did not do, it must not report as done."""
    sys.exit(BY_SIGNAL + number)
