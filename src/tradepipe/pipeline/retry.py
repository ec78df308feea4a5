"""Retries with back-off while a service is unavailable."""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tradepipe.backoff import Backoff
from tradepipe.errors import Unavailable
from tradepipe.pipeline.stats import StageStats

logger = logging.getLogger(__name__)

T = TypeVar("T")

STOP_CHECK_SECONDS: Final = 0.5
"""Seconds after which a stop is noticed."""


class StopRequested(Exception):
    """`stop` was called while a part was waited for."""


class RetryForever:
    """
    Ask a part until it has an answer, however long it is away.

    Args:
        goes_on: called between two tries; False stops the waiting.
    """

    def __init__(self, books: StageStats, goes_on: Callable[[], bool]) -> None:
        self._books = books
        self._goes_on = goes_on

    def __call__(self, part: str, ask: Callable[[], T]) -> T:
        """
        The answer of a part, which is waited for until it comes.

        Raises:
            Stopped: nobody wants it any more.
        """
        backoff = Backoff()
        self._books.set_waiting(part, away=True)
        while True:
            if not self._goes_on():
                raise StopRequested
            try:
                answer = ask()
            except Unavailable as error:
                logger.warning("waiting: %s", error)
                self._sleep(backoff.next_delay())
            else:
                self._books.set_waiting(part, away=False)
                return answer

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._goes_on() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STOP_CHECK_SECONDS))
