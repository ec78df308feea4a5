"""Waiting for parts that are away, but not for ever."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import typer

from tradepipe.errors import Away, DeadlineExceeded
from tradepipe.pipeline.backoff import delay

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST: Final = 2.0
"""Seconds between two tries: somebody waits for the command."""

_ONE_CALL: Final = 10.0


class Patience:
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
    def one_call(self) -> float:
        """Seconds to allow a single call."""
        return min(_ONE_CALL, self._seconds)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._until - time.monotonic())

    def __call__(self, ask: Callable[[], T]) -> T:
        """
        The answer.

        Raises:
            DeadlineExceeded: the part is still away.
        """
        failed = 0
        while True:
            try:
                return ask()
            except Away as error:
                if self.left == 0:
                    raise DeadlineExceeded(
                        f"{error}; given up after {self._seconds:g} s: check the address, or allow more by --deadline"
                    ) from error
                if failed == 0:
                    logger.warning("waiting up to %g s in all: %s", self._seconds, error)
            if self._stopped.wait(min(delay(failed), LONGEST, self.left)):
                raise typer.Exit
            failed += 1
