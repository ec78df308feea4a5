"""Retries of a call until a service answers."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import Final, TypeVar

from tradepipe.background import run_in_thread
from tradepipe.backoff import Backoff
from tradepipe.errors import Unavailable
from tradepipe.outage import Outage
from tradepipe.pipeline.stats import StageStats

logger = logging.getLogger(__name__)

T = TypeVar("T")

STOP_CHECK_SECONDS: Final = 0.2
"""Seconds until a waiting stage notices a stop."""


class StopRequested(Exception):
    """The stage was stopped while it waited for a service."""


class RetryForever:
    """
    Call a service until it answers, however long it is unavailable.

    Args:
        should_continue: called between two tries; False ends the waiting.
    """

    def __init__(self, stats: StageStats, should_continue: Callable[[], bool]) -> None:
        self._stats = stats
        self._should_continue = should_continue

    def __call__(self, service: str, call: Callable[[], T]) -> T:
        """Return the answer of the service; `StopRequested` if the stage was stopped first."""
        backoff, outage = Backoff(), Outage(service, logger)
        # Before the first try: a call that hangs is an outage too, and /readyz should name the service.
        self._stats.set_waiting(service, waiting=True)
        while True:
            if not self._should_continue():
                raise StopRequested
            try:
                # In a thread: a stop need not wait for the end of a timeout, which may be 10 s.
                result = run_in_thread(call, "tradepipe-retry")
                while not wait([result], STOP_CHECK_SECONDS).done:
                    if not self._should_continue():
                        raise StopRequested
                answer = result.result()
            except Unavailable as error:
                outage.begin(error)
                # In slices: a stop need not wait for the end of a delay.
                until = time.monotonic() + backoff.next_delay()
                while self._should_continue() and (left := until - time.monotonic()) > 0:
                    time.sleep(min(left, STOP_CHECK_SECONDS))
            else:
                outage.end()
                self._stats.set_waiting(service, waiting=False)
                return answer
