"""Outages of services: the delays between tries, and a line of the log when an outage begins and when it ends."""

import logging
import random
import time
from typing import Final

from tradepipe.errors import Unavailable

FIRST_DELAY_SECONDS: Final = 0.2
MAX_DELAY_SECONDS: Final = 30.0
"""A service that is available again goes unnoticed for this long at most."""

_MAX_DOUBLINGS: Final = 16


class Backoff:
    """
    Count failed tries and space them out.

    The interval doubles from `first` to `longest` seconds. A delay is a random
    moment of its interval, so that the clients of a service that is available
    again do not all reconnect at once (Brooker, "Exponential Backoff And
    Jitter", 2015: full jitter). Only the first tenth of the interval is left
    out: a delay of nearly zero would be a busy loop.
    """

    def __init__(self, *, first: float = FIRST_DELAY_SECONDS, longest: float = MAX_DELAY_SECONDS) -> None:
        self._first = first
        self._longest = longest
        self.failures = 0
        """Failed tries since the last success."""
        self.retry_at = 0.0
        """When the next try is due, by `time.monotonic()`."""

    @property
    def is_due(self) -> bool:
        """Whether the next try may be made now."""
        return time.monotonic() >= self.retry_at

    def next_delay(self) -> float:
        """
        Count a failed try and return the seconds to wait before the next one.

        >>> backoff = Backoff(first=1.0, longest=4.0)
        >>> [backoff.next_delay() <= longest for longest in (1.0, 2.0, 4.0, 4.0)]
        [True, True, True, True]
        """
        interval = min(self._longest, self._first * 2 ** min(self.failures, _MAX_DOUBLINGS))
        delay = random.uniform(interval / 10, interval)
        self.failures += 1
        self.retry_at = time.monotonic() + delay
        return delay

    def postpone(self, seconds: float) -> None:
        """Make the next try due in `seconds`, without counting a failure."""
        self.retry_at = time.monotonic() + seconds

    def reset(self) -> None:
        """Record a success: the next try is due at once, and the next delay is short again."""
        self.failures = 0
        self.retry_at = 0.0


class Outage:
    """
    Log when a service becomes unavailable, and when it is available again.

    Args:
        service: its name in the two lines, if the error names none.

        logger: the caller's.
    """

    def __init__(self, service: str, logger: logging.Logger) -> None:
        self._usual_name = service
        self._service: str | None = service
        self._logger = logger
        self._began_at: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether it has begun and not ended."""
        return self._began_at is not None

    def begin(self, reason: Unavailable | str, what_follows: str = "retrying") -> None:
        """Log that the service is unavailable and what that leads to, unless that is logged already."""
        if self._began_at is not None:
            return
        self._began_at = time.monotonic()
        self._service, cause = self._usual_name, reason
        if isinstance(reason, Unavailable):
            self._service, cause = reason.service, reason.reason
        if self._service is None:  # it is available, but another transaction, for one, is in the way
            self._logger.warning("%s: %s", what_follows, cause)
        else:
            self._logger.warning("%s is unavailable, %s: %s", self._service, what_follows, cause)

    def end(self, what_follows: str | None = None) -> None:
        """Log that the service is available again, if it was unavailable."""
        if self._began_at is not None:
            seconds, self._began_at = time.monotonic() - self._began_at, None
            more = f", {what_follows}" if what_follows else ""
            begin = "continuing" if self._service is None else f"{self._service} is available again"
            self._logger.warning("%s after %.1f s%s", begin, seconds, more)
