"""Retries with back-off while a service is unavailable."""

import logging
import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tradepipe.errors import Unavailable
from tradepipe.pipeline.stats import StageStats

logger = logging.getLogger(__name__)

FIRST_DELAY: Final = 0.2
MAX_DELAY: Final = 30.0
"""Seconds; so long a part that is back goes unnoticed at most."""


def backoff_delay(failed: int) -> float:
    """
    Seconds to wait after so many failed tries behind the first, spread at random.

    The interval doubles from `FIRST` to `LONGEST`; nearly any moment of it is as
    likely as any other, so that many clients of a part that is back do not come
    together (Brooker, "Exponential Backoff And Jitter", 2015: full jitter).

    >>> delay(0) <= 0.2 and delay(1000) <= 30.0
    True
    """
    interval = min(MAX_DELAY, FIRST_DELAY * 2 ** min(failed, 16))  # beyond 16 doublings any interval is the longest
    return random.uniform(interval / 10, interval)


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
        failed = 0
        self._books.set_waiting(part, away=True)
        while True:
            if not self._goes_on():
                raise StopRequested
            try:
                answer = ask()
            except Unavailable as error:
                logger.warning("waiting: %s", error)
                self._sleep(backoff_delay(failed))
                failed += 1
            else:
                self._books.set_waiting(part, away=False)
                return answer

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._goes_on() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STOP_CHECK_SECONDS))
