"""How long to wait before the next try."""

import random
from typing import Final

FIRST: Final = 0.2
LONGEST: Final = 30.0
"""Seconds; so long a part that is back goes unnoticed at most."""


def delay(failed: int) -> float:
    """
    Seconds to wait after so many failed tries behind the first, spread at random.

    The interval doubles from `FIRST` to `LONGEST`; nearly any moment of it is as
    likely as any other, so that many clients of a part that is back do not come
    together (Brooker, "Exponential Backoff And Jitter", 2015: full jitter).

    >>> delay(0) <= 0.2 and delay(1000) <= 30.0
    True
    """
    interval = min(LONGEST, FIRST * 2 ** min(failed, 16))  # beyond 16 doublings any interval is the longest
    return random.uniform(interval / 10, interval)
