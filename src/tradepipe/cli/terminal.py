"""Terminal output: tables, the status line, progress."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

import typer

from tradepipe.cli.logs import StatusLine

logger = logging.getLogger(__name__)


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = ()) -> str:
    """
    Format rows below their headings; columns are right-aligned, except those in `left`.

    >>> print(format_table(("partition", "owner"), [("0", "a"), ("10", "bc")], left={1}))
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


REFRESH_SECONDS: Final = 0.25
"""Interval of status line updates on a terminal."""

LOG_SECONDS: Final = 10.0
"""Interval of progress log lines without a terminal."""

_RATE_SAMPLES: Final = 8
"""Updates over which the rate is averaged: two seconds."""

_BAR_WIDTH: Final = 10
"""Characters between the brackets of a progress bar."""


class FileProgress(NamedTuple):
    """Bytes read of a file, its size, and a description of both."""

    done: int
    total: int
    text: str

    @property
    def share(self) -> float:
        """The share that was read, from 0 to 1; 1 for an empty file."""
        return min(1.0, self.done / self.total) if self.total else 1.0


class Progress:
    """
    Show progress while the block runs: a status line on a terminal, otherwise a log line every ten seconds
    if something changed.

    Args:
        status: the status line.

        counts: returns the number of records, for the rate, and a description; called in another thread.

        unit: what is counted.

        file: returns the progress through the input file, if its size is known; called in another thread.
    """

    def __init__(
        self,
        status: StatusLine,
        counts: Callable[[], tuple[int, str]],
        unit: str,
        *,
        file: Callable[[], FileProgress] | None = None,
    ) -> None:
        self._status = status
        self._counts = counts
        self._unit = unit
        self._file = file
        self._started_at = time.monotonic()
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
        samples = deque([(time.monotonic(), self._counts()[0])], maxlen=_RATE_SAMPLES)
        while not self._ended.wait(REFRESH_SECONDS):
            number, text = self._counts()
            samples.append((time.monotonic(), number))
            rate = (number - samples[0][1]) / (samples[-1][0] - samples[0][0])
            # A full line would wrap, and the next update would rewrite only its second half.
            self._status.show(self._line(text, rate)[: typer.get_terminal_size()[0] - 1])

    def _log(self) -> None:
        last_number, last_text = self._counts()
        while not self._ended.wait(LOG_SECONDS):
            number, text = self._counts()
            if text != last_text:
                rate = f"{(number - last_number) / LOG_SECONDS:,.0f} {self._unit}/s"
                logger.info("%s", f"{self._file().text}: {text}, {rate}" if self._file else f"{text}, {rate}")
            last_number, last_text = number, text

    def _line(self, text: str, rate: float) -> str:
        if self._file is None:
            return f"{text}, {rate:,.0f} {self._unit}/s"
        file = self._file()
        full = int(file.share * _BAR_WIDTH)
        bar = f"[{'#' * full}{'-' * (_BAR_WIDTH - full)}]"
        return f"{bar} {file.text}, {text}, {rate:,.0f}/s{_time_left(file, time.monotonic() - self._started_at)}"


def _time_left(file: FileProgress, elapsed: float) -> str:
    """Estimate the remaining time at the average speed; empty in the first second."""
    if file.done == 0 or elapsed < 1:
        return ""
    left = round(elapsed * (file.total - file.done) / file.done)
    return f", {left // 60}:{left % 60:02d} left" if left < 3600 else f", {left / 3600:.1f} h left"
