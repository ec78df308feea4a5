"""The last line of a terminal, and how fast things go."""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import typer

logger = logging.getLogger(__name__)

REFRESH: Final = 0.25
"""Seconds between two looks of a person."""

INTERVAL: Final = 10.0
"""Seconds between two log lines where no person watches."""

_WINDOW: Final = 8
"""Looks over which a rate is told: two seconds."""

_TO_THE_START: Final = "\r\x1b[K"


class StatusLine:
    """What stderr shows last, rewritten in place; all else is written above it. On no terminal there is none."""

    def __init__(self) -> None:
        self.is_live = sys.stderr.isatty()
        self._shown = ""
        self._lock = threading.RLock()

    def show(self, text: str) -> None:
        """Put a text in the place of the last one."""
        with self._lock:
            self._shown = text
            sys.stderr.write(_TO_THE_START + text)
            sys.stderr.flush()

    def write(self, line: str) -> None:
        """Write a line above it."""
        with self._lock:
            before = _TO_THE_START if self._shown else ""
            sys.stderr.write(f"{before}{line}\n{self._shown}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take it away."""
        with self._lock:
            if self._shown:
                self.show("")


class Progress:
    """
    Tell how far it is while the block runs: on a terminal in its last line, else as a log line every ten seconds
    in which something happened.

    Args:
        tell: how many so far, for the rate, and all numbers as a text; called in another thread.
    """

    def __init__(self, status: StatusLine, tell: Callable[[], tuple[int, str]], unit: str) -> None:
        self._status = status
        self._tell = tell
        self._unit = unit
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tradepipe-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._status.clear()

    def _watch(self) -> None:
        if self._status.is_live:
            self._refresh()
        else:
            self._log()

    def _refresh(self) -> None:
        seen = deque([(time.monotonic(), self._tell()[0])], maxlen=_WINDOW)
        while not self._ended.wait(REFRESH):
            number, text = self._tell()
            seen.append((time.monotonic(), number))
            rate = (number - seen[0][1]) / (seen[-1][0] - seen[0][0])
            self._status.show(f"{text}, {rate:,.0f} {self._unit}/s"[: _columns() - 1])

    def _log(self) -> None:
        before, last = self._tell()
        while not self._ended.wait(INTERVAL):
            number, text = self._tell()
            if text != last:
                logger.info("%s, %s %s/s", text, f"{(number - before) / INTERVAL:,.0f}", self._unit)
            before, last = number, text


def _columns() -> int:
    return typer.get_terminal_size()[0]
