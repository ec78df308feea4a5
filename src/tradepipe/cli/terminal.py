"""Terminal output: tables, the status line, progress."""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

import typer

from tradepipe.cli.settings import current_settings

logger = logging.getLogger(__name__)


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = ()) -> str:
    """
    The rows below their headings, each column as wide as it needs, to the right but for those in `left`.

    >>> print(columns(("partition", "owner"), [("0", "a"), ("10", "bc")], left={1}))
    partition  owner
            0  a
           10  bc
    """
    table = [headings, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


REFRESH: Final = 0.25
"""Seconds between two looks of a person."""

INTERVAL: Final = 10.0
"""Seconds between two log lines where no person watches."""

_WINDOW: Final = 8
"""Looks over which a rate is told: two seconds."""

_BAR: Final = 10
"""Characters between a bar's brackets."""

_TO_THE_START: Final = "\r\x1b[K"


class StatusLine:
    """What stderr shows last, rewritten in place; all else is written above it. On no terminal there is none."""

    def __init__(self) -> None:
        self.is_live = sys.stderr.isatty() and current_settings().log_format == "text"
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


class FileProgress(NamedTuple):
    """How far it is through something whose end is known: what is done of all, and both as a text."""

    done: int
    all: int
    text: str

    @property
    def share(self) -> float:
        """From 0 to 1, and 1 of nothing."""
        return min(1.0, self.done / self.all) if self.all else 1.0


class Progress:
    """
    Tell how far it is while the block runs: on a terminal in its last line, else as a log line every ten seconds
    in which something happened.

    Args:
        tell: how many so far, for the rate, and all numbers as a text; called in another thread.

        way: how far through what is being read, where its end is known; called in the same thread.
    """

    def __init__(
        self,
        status: StatusLine,
        tell: Callable[[], tuple[int, str]],
        unit: str,
        *,
        way: Callable[[], FileProgress] | None = None,
    ) -> None:
        self._status = status
        self._tell = tell
        self._unit = unit
        self._way = way
        self._began = time.monotonic()
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
            self._status.show(self._line(text, rate)[: _width() - 1])

    def _log(self) -> None:
        before, last = self._tell()
        while not self._ended.wait(INTERVAL):
            number, text = self._tell()
            if text != last:
                rate = f"{(number - before) / INTERVAL:,.0f} {self._unit}/s"
                logger.info("%s", f"{self._way().text}: {text}, {rate}" if self._way else f"{text}, {rate}")
            before, last = number, text

    def _line(self, text: str, rate: float) -> str:
        if self._way is None:
            return f"{text}, {rate:,.0f} {self._unit}/s"
        way = self._way()
        return f"{_bar(way.share)} {way.text}, {text}, {rate:,.0f}/s{_time_left(way, time.monotonic() - self._began)}"


def _bar(share: float) -> str:
    full = int(share * _BAR)
    return f"[{'#' * full}{'-' * (_BAR - full)}]"


def _time_left(way: FileProgress, seconds: float) -> str:
    """How long it will take at the speed it had on the whole; nothing, while nobody can tell."""
    if way.done == 0 or seconds < 1:
        return ""
    left = round(seconds * (way.all - way.done) / way.done)
    return f", {left // 60}:{left % 60:02d} left" if left < 3600 else f", {left / 3600:.1f} h left"


def _width() -> int:
    return typer.get_terminal_size()[0]
