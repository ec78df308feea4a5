"""Waiting for parts that are away, but not for ever."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import typer

from tradepipe.backoff import Backoff
from tradepipe.errors import DeadlineExceeded, Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_DELAY_SECONDS: Final = 2.0
"""Seconds between two tries: somebody waits for the command."""

_CALL_TIMEOUT: Final = 10.0


class RetryUntil:
    """
    Ask until there is an answer, or the deadline has passed.

    Args:
        seconds: from now, for all that is asked.

        stopped: ends the command, as done, when it is set.
    """

    def __init__(self, seconds: float, *, stopped: threading.Event | None = None) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._stopped = stopped or threading.Event()

    @property
    def call_timeout(self) -> float:
        """Seconds to allow a single call."""
        return min(_CALL_TIMEOUT, self._seconds)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._until - time.monotonic())

    def __call__(self, ask: Callable[[], T]) -> T:
        """
        The answer.

        Raises:
            DeadlineExceeded: the part is still away.
        """
        backoff = Backoff(longest=MAX_DELAY_SECONDS)
        while True:
            try:
                return ask()
            except Unavailable as error:
                if self.remaining == 0:
                    raise DeadlineExceeded(
                        f"{error}; given up after {self._seconds:g} s: check the address, or allow more by --deadline"
                    ) from error
                if backoff.failures == 0:
                    logger.warning("waiting up to %g s in all: %s", self._seconds, error)
            if self._stopped.wait(min(backoff.next_delay(), self.remaining)):
                raise typer.Exit
