"""Exponential back-off with jitter."""

import time

import pytest

from tradepipe.outage import FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS, Backoff


def delay_after(failures: int) -> float:
    """Return a delay that follows a number of failures."""
    backoff = Backoff()
    backoff.failures = failures
    return backoff.next_delay()


@pytest.mark.parametrize(
    ("failures", "longest"),
    [
        (0, FIRST_DELAY_SECONDS),
        (1, 2 * FIRST_DELAY_SECONDS),
        (3, 8 * FIRST_DELAY_SECONDS),
        (7, 128 * FIRST_DELAY_SECONDS),
        (8, MAX_DELAY_SECONDS),
        (9, MAX_DELAY_SECONDS),
    ],
)
def test_the_longest_delay_doubles_up_to_its_maximum(failures, longest):
    delays = [delay_after(failures) for _ in range(2_000)]

    assert max(delays) <= longest
    assert max(delays) > 0.9 * longest


@pytest.mark.parametrize("failures", [0, 5, 100, 10**9])
def test_every_delay_is_within_its_bounds(failures):
    assert all(FIRST_DELAY_SECONDS / 10 <= delay_after(failures) <= MAX_DELAY_SECONDS for _ in range(500))


def test_delays_are_spread_over_their_interval():
    """Each tenth of the interval but the first is about equally likely."""
    tenths = [int(delay_after(8) / MAX_DELAY_SECONDS * 10) for _ in range(5_000)]

    assert set(range(1, 10)) <= set(tenths)
    assert max(tenths.count(tenth) for tenth in range(1, 10)) < 1_000


def test_a_try_is_due_after_the_delay():
    backoff = Backoff(first=60.0, longest=60.0)

    assert backoff.is_due
    backoff.next_delay()
    assert not backoff.is_due


def test_a_success_makes_the_next_try_due_and_the_next_delay_short():
    backoff = Backoff()
    for _ in range(8):
        backoff.next_delay()

    backoff.reset()

    assert backoff.is_due
    assert backoff.next_delay() <= FIRST_DELAY_SECONDS


def test_a_postponed_try_is_no_failure():
    backoff = Backoff()

    backoff.postpone(60.0)

    assert (False, 0) == (backoff.is_due, backoff.failures)
    assert backoff.retry_at > time.monotonic() + 50
