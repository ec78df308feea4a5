"""Warnings that anyone who writes to a topic can cause: a few of them, and the number of the others."""

import time
from collections.abc import Callable
from logging import Logger
from typing import Final

MAX_LINES: Final = 10
"""Warnings that are logged one by one within `LIMIT_SECONDS`."""

LIMIT_SECONDS: Final = 60.0


class LimitedLog:
    """
    Warnings about records: a few within a minute, and then the number of records that the others were about.

    Args:
        summarize: returns the message for the others, from how many records they were about
            and within how many seconds.
    """

    def __init__(self, logger: Logger, summarize: Callable[[int, float], str]) -> None:
        self._logger = logger
        self._summarize = summarize
        self._begun_at = -LIMIT_SECONDS
        self._lines = 0
        self.unlogged = 0
        """Records that the log does not mention yet."""

    def warn(self, records: int, message: str, *args: object) -> None:
        """Log a warning about some records, or count them."""
        self.warn_of_others()
        if time.monotonic() - self._begun_at >= LIMIT_SECONDS:
            self._begun_at, self._lines = time.monotonic(), 0
        if self._lines < MAX_LINES:
            self._lines += 1
            self._logger.warning(message, *args)
        else:
            self.unlogged += records

    def warn_of_others(self, *, at_once: bool = False) -> None:
        """Log how many records were not logged, if it is time."""
        seconds = time.monotonic() - self._begun_at
        if self.unlogged and (at_once or seconds >= LIMIT_SECONDS):
            number, self.unlogged = self.unlogged, 0
            self._logger.warning("%s", self._summarize(number, seconds))
