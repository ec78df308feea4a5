"""The log: one line per event to stderr, above the status line of a terminal."""

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Literal

from tradepipe.cli.terminal import OutputFormat, StatusLine, as_typed, echo, log_format, to_json, wrap
from tradepipe.redaction import escape_lines, redact

logger = logging.getLogger(__name__)

TERMINAL_FORMAT: Final = ("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
FILE_FORMAT: Final = ("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
"""Formats of a line and of its time, which is in UTC."""

Level = Literal["debug", "info", "warning", "error"]

_warnings: ContextVar[tuple[str, ...]] = ContextVar("tradepipe-warnings", default=())


def warn_later(message: str) -> None:
    """Log a warning once logging is configured."""
    if message not in _warnings.get():
        _warnings.set((*_warnings.get(), message))


def configure(level: str, status: StatusLine) -> None:
    """Configure tradepipe's loggers for a level and all others for WARNING, in the format of `log_format`."""
    handler = _StatusLineHandler(status)
    handler.setFormatter(JsonFormatter() if log_format.get() == "json" else text_formatter(status))
    # `force` replaces the handlers of an earlier command in the same process, as in tests.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("tradepipe").setLevel(level.upper())
    # Our own lines report connection failures; librdkafka would add two lines for each attempt to connect.
    logging.getLogger("tradepipe.kafka.librdkafka").setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)
    sys.excepthook = _log_printed
    for warning in _warnings.get():
        logger.warning("%s", warning)


def _log_printed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log an error that psycopg2 prints with its traceback, before it raises another: a session has ended in a COPY."""
    # By its name: importing psycopg2 takes every command longer.
    if kind is SystemError and type(error.__cause__).__module__.startswith("psycopg2"):
        logger.debug("psycopg2 could not raise: %s", error.__cause__)
    else:
        sys.__excepthook__(kind, error, trace)


def print_status(text: str) -> None:
    """Print a result to stderr at any log level, as plain text or as a JSON event."""
    if log_format.get() == "json":
        text = JsonFormatter().format(logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None))
    with ignore_full_disk():
        echo(wrap(text), err=True)


def print_summary(text: str, document: Mapping[str, object], output: OutputFormat) -> None:
    """Print the summary of a stage: text to stderr, as stdout may have a line for each trade, or JSON to stdout."""
    if output == "json":
        echo(to_json(document))
    else:
        print_status(text)


@contextmanager
def ignore_full_disk() -> Iterator[None]:
    """Drop output that a full disk does not take, rather than stop the pipeline."""
    try:
        yield
    except BrokenPipeError:  # the reader is gone, so the command ends
        raise
    except OSError:
        pass


def text_formatter(status: StatusLine) -> logging.Formatter:
    """Return the formatter of text lines, which are shorter on a terminal."""
    return _TextFormatter(*(TERMINAL_FORMAT if status.is_live else FILE_FORMAT))


class _TextFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return " ".join(super().formatMessage(record).splitlines())

    def format(self, record: logging.LogRecord) -> str:
        return wrap(escape_lines(redact(as_typed(super().format(record)))), indent="  ")


class JsonFormatter(logging.Formatter):
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
        return to_json(event, indent=None)


class _StatusLineHandler(logging.Handler):
    """Write log lines above the status line."""

    def __init__(self, status: StatusLine) -> None:
        super().__init__()
        self._status = status
        self._has_reader = True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._has_reader:
                with ignore_full_disk():
                    self._status.write(self.format(record))
        except BrokenPipeError:
            # Once: it ends the command, and must not stop what the command then does to close.
            self._has_reader = False
            raise
