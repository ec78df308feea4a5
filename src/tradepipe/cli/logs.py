"""Logging, set up in this one place: a line for each event, to stderr."""

import logging
import time
from typing import Final

import typer

from tradepipe.cli.masking import masked
from tradepipe.cli.terminal import StatusLine

FOR_A_PERSON: Final = ("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
FOR_A_FILE: Final = ("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
"""Of a line, and of the time in it, which is UTC."""

LEVELS: Final = ("debug", "info", "warning", "error")


def configure(level: str | None, *, usual: str = "info", status: StatusLine | None = None) -> None:
    """
    Log our own loggers at `level`, others at WARNING.

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
    handler.setFormatter(_OneLine(*(FOR_A_PERSON if status.is_live else FOR_A_FILE)))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("tradepipe").setLevel(chosen.upper())
    # What matters of librdkafka's errors is told by our own lines; it would add two for each try to connect.
    logging.getLogger("tradepipe.kafka.librdkafka").setLevel(logging.DEBUG if chosen == "debug" else logging.CRITICAL)


class _OneLine(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return masked(" ".join(super().formatMessage(record).splitlines()))


class _Handler(logging.Handler):
    def __init__(self, status: StatusLine) -> None:
        super().__init__()
        self._status = status

    def emit(self, record: logging.LogRecord) -> None:
        self._status.write(self.format(record))
