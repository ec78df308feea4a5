"""Waiting for a part that is away, before there is anything else to do."""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tradepipe.errors import Away
from tradepipe.pipeline.backoff import delay
from tradepipe.pipeline.books import Books

logger = logging.getLogger(__name__)

T = TypeVar("T")

STEP: Final = 0.5
"""Seconds after which a stop is noticed."""


class Stopped(Exception):
    """`stop` was called while a part was waited for."""


class Waiting:
    """
    Ask a part until it has an answer, however long it is away.

    Args:
        goes_on: called between two tries; False stops the waiting.
    """

    def __init__(self, books: Books, goes_on: Callable[[], bool]) -> None:
        self._books = books
        self._goes_on = goes_on

    def __call__(self, part: str, ask: Callable[[], T]) -> T:
        """
        The answer of a part, which is waited for until it comes.

        Raises:
            Stopped: nobody wants it any more.
        """
        failed = 0
        self._books.waits(part, away=True)
        while True:
            if not self._goes_on():
                raise Stopped
            try:
                answer = ask()
            except Away as error:
                logger.warning("waiting: %s", error)
                self._sleep(delay(failed))
                failed += 1
            else:
                self._books.waits(part, away=False)
                return answer

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._goes_on() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, STEP))
