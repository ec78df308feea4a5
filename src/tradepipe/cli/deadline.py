"""Retries of calls to unavailable services, with a deadline."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import typer

from tradepipe.errors import DeadlineExceeded, Unavailable
from tradepipe.outage import Backoff, Outage

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_DELAY_SECONDS: Final = 2.0
"""Short, because a person waits for the command."""

_CALL_TIMEOUT: Final = 10.0


class RetryUntil:
    """Repeats calls while a service is unavailable, for some seconds in all; `stopped` ends the command."""

    def __init__(self, seconds: float, *, stopped: threading.Event | None = None) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._stopped = stopped or threading.Event()
        # One for all calls, of whichever service.
        self._outage = Outage("a service", logger)

    @property
    def call_timeout(self) -> float:
        """Timeout of a single call, in seconds."""
        return min(_CALL_TIMEOUT, self._seconds)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._until - time.monotonic())

    def __call__(self, call: Callable[[], T]) -> T:
        """Return what `call` returns; `DeadlineExceeded` if the service is still unavailable."""
        backoff = Backoff(longest=MAX_DELAY_SECONDS)
        while True:
            try:
                answer = call()
            except Unavailable as error:
                if self.remaining == 0:
                    advice = "check the address, or increase --deadline" if error.service else "increase --deadline"
                    raise DeadlineExceeded(f"{error}; gave up after {self._seconds:g} s: {advice}") from error
                self._outage.begin(error, f"retrying for up to {self._seconds:g} s")
            else:
                self._outage.end()
                return answer
            if self._stopped.wait(min(backoff.next_delay(), self.remaining)):
                raise typer.Exit
