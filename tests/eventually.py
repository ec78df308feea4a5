"""Waiting for what another thread or process will do."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, within: float = 120.0, every: float = 0.02) -> T:
    """The first true value of a condition, asked until it has one; fails after `within` seconds with the last value."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; the last value was {value!r}")
        time.sleep(every)
    return value
