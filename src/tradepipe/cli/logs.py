"""Logging configuration: one line per event, to stderr."""

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
"""Formats of a line and of its time, which is in UTC."""

LEVELS: Final = ("debug", "info", "warning", "error")


def configure(level: str | None, *, usual: str = "info", status: StatusLine | None = None) -> None:
    """
    Configure tradepipe's loggers for `level` and all others for WARNING, in the format of `--log-format`.

    Args:
        level: value of `--log-level`.

        usual: level if the option was not given.

        status: status line of the terminal, which log lines must not overwrite.

    Raises:
        BadParameter: the level is unknown.
    """
    chosen = (level or usual).lower()
    if chosen not in LEVELS:
        raise typer.BadParameter(f"must be one of {', '.join(LEVELS)}, not {chosen!r}", param_hint="'--log-level'")
    status = status or StatusLine()
    handler = _StatusLineHandler(status)
    if current_settings().log_format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(_TextFormatter(*(TERMINAL_FORMAT if status.is_live else FILE_FORMAT)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("tradepipe").setLevel(chosen.upper())
    # Our own lines report connection failures; librdkafka would add two lines for each attempt to connect.
    logging.getLogger("tradepipe.kafka.librdkafka").setLevel(logging.DEBUG if chosen == "debug" else logging.CRITICAL)
    for warning in current_settings().warnings:
        logger.warning("%s", warning)


def print_status(text: str) -> None:
    """Print a result to stderr at any log level, as plain text or as a JSON event."""
    if current_settings().log_format == "json":
        text = _JsonFormatter().format(logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None))
    with ignore_full_disk():
        typer.echo(text, err=True)


@contextmanager
def ignore_full_disk() -> Iterator[None]:
    """Drop output that a full disk does not take, rather than stop the pipeline."""
    try:
        yield
    except BrokenPipeError:  # the reader is gone, so the command ends
        raise
    except OSError:
        pass


class _TextFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return redact(" ".join(super().formatMessage(record).splitlines()))

    def formatException(self, ei: Any) -> str:
        return redact(super().formatException(ei))


class _JsonFormatter(logging.Formatter):
    """Format events as JSON objects: ts, level, logger, message and, for exceptions, exception."""

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


class _StatusLineHandler(logging.Handler):
    """Write log lines above the status line."""

    def __init__(self, status: StatusLine) -> None:
        super().__init__()
        self._status = status

    def emit(self, record: logging.LogRecord) -> None:
        with ignore_full_disk():
            self._status.write(self.format(record))
