"""The log: one line per event to stderr, above the status line of a terminal."""

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal

import typer

from tradepipe.redaction import redact

logger = logging.getLogger(__name__)

TERMINAL_FORMAT: Final = ("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
FILE_FORMAT: Final = ("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
"""Formats of a line and of its time, which is in UTC."""

Level = Literal["debug", "info", "warning", "error"]

LogFormat = Literal["text", "json"]

log_format: ContextVar[LogFormat] = ContextVar("tradepipe-log-format", default="text")
"""Format of everything the command prints to stderr."""

_warnings: ContextVar[tuple[str, ...]] = ContextVar("tradepipe-warnings", default=())


def warn_later(message: str) -> None:
    """Log a warning once logging is configured."""
    _warnings.set((*_warnings.get(), message))


_CLEAR_LINE: Final = "\r\x1b[K"


class StatusLine:
    """The last line of stderr, rewritten in place, with log lines above it; not live without a terminal."""

    def __init__(self) -> None:
        self.is_live = sys.stderr.isatty() and log_format.get() == "text"
        self._text = ""
        self._lock = threading.RLock()

    def show(self, text: str) -> None:
        """Replace the status line."""
        with self._lock:
            self._text = text
            sys.stderr.write(_CLEAR_LINE + text)
            sys.stderr.flush()

    def write(self, line: str) -> None:
        """Write a line above the status line."""
        with self._lock:
            before = _CLEAR_LINE if self._text else ""
            sys.stderr.write(f"{before}{line}\n{self._text}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the status line."""
        with self._lock:
            if self._text:
                self.show("")


def configure(level: str, status: StatusLine) -> None:
    """Configure tradepipe's loggers for a level and all others for WARNING, in the format of `log_format`."""
    handler = _StatusLineHandler(status)
    if log_format.get() == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(_TextFormatter(*(TERMINAL_FORMAT if status.is_live else FILE_FORMAT)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("tradepipe").setLevel(level.upper())
    # Our own lines report connection failures; librdkafka would add two lines for each attempt to connect.
    logging.getLogger("tradepipe.kafka.librdkafka").setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)
    for warning in _warnings.get():
        logger.warning("%s", warning)


def print_status(text: str) -> None:
    """Print a result to stderr at any log level, as plain text or as a JSON event."""
    if log_format.get() == "json":
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
