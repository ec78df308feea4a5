"""Logging, set up in this one place: a line for each event, to stderr."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from tradepipe.cli.settings import current_settings
from tradepipe.cli.terminal import StatusLine
from tradepipe.redaction import redact

logger = logging.getLogger(__name__)

TERMINAL_FORMAT: Final = ("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
FILE_FORMAT: Final = ("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
"""Of a line, and of the time in it, which is UTC."""

LEVELS: Final = ("debug", "info", "warning", "error")


def configure(level: str | None, *, usual: str = "info", status: StatusLine | None = None) -> None:
    """
    Log our own loggers at `level`, others at WARNING, in the form `--log-format` says.

    Args:
        level: what the option says.

        usual: what holds where it says nothing.

        status: the line of a terminal that log lines must not run into.

    Raises:
        BadParameter: there is no such level.
    """
    chosen = (level or usual).lower()
    if chosen not in LEVELS:
        raise typer.BadParameter(f"it is one of {', '.join(LEVELS)}, not {chosen!r}", param_hint="'--log-level'")
    status = status or StatusLine()
    handler = _Handler(status)
    if current_settings().log_format == "json":
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(_OneLine(*(TERMINAL_FORMAT if status.is_live else FILE_FORMAT)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("tradepipe").setLevel(chosen.upper())
    # What matters of librdkafka's errors is told by our own lines; it would add two for each try to connect.
    logging.getLogger("tradepipe.kafka.librdkafka").setLevel(logging.DEBUG if chosen == "debug" else logging.CRITICAL)
    for warning in current_settings().warnings:
        logger.warning("%s", warning)


def print_status(text: str) -> None:
    """Say on stderr what a command came to, whatever the level: a line as it stands, or as an event."""
    if current_settings().log_format == "json":
        text = _Json().format(logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None))
    with ignore_full_disk():
        typer.echo(text, err=True)


@contextmanager
def ignore_full_disk() -> Iterator[None]:
    """Leave out what a full disk does not take: that is no reason to stop trades."""
    try:
        yield
    except BrokenPipeError:  # nobody reads any more: the command ends
        raise
    except OSError:
        pass


class _OneLine(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return redact(" ".join(super().formatMessage(record).splitlines()))

    def formatException(self, ei: Any) -> str:
        return redact(super().formatException(ei))


class _Json(logging.Formatter):
    """An object a line: ts, level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event = {
            "ts": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            event["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(event)


class _Handler(logging.Handler):
    def __init__(self, status: StatusLine) -> None:
        super().__init__()
        self._status = status

    def emit(self, record: logging.LogRecord) -> None:
        with ignore_full_disk():
            self._status.write(self.format(record))
