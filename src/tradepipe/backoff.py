"""Exponential back-off with jitter."""

import random
import time
from typing import Final

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
