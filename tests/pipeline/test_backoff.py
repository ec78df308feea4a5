"""How long to wait before the next try."""

import pytest

from tradepipe.pipeline.retry import FIRST_DELAY, MAX_DELAY, backoff_delay


@pytest.mark.parametrize(
    ("failed", "longest"),
    [
        (0, FIRST_DELAY),
        (1, 2 * FIRST_DELAY),
        (3, 8 * FIRST_DELAY),
        (7, 128 * FIRST_DELAY),
        (8, MAX_DELAY),
        (9, MAX_DELAY),
    ],
)
def test_the_longest_wait_doubles_up_to_its_bound(failed, longest):
    waits = [backoff_delay(failed) for _ in range(2_000)]

    assert max(waits) <= longest
    assert max(waits) > 0.9 * longest


@pytest.mark.parametrize("failed", [0, 5, 100, 10**9])
def test_no_wait_is_nothing_or_beyond_the_bound(failed):
    """However many tries have failed."""
    assert all(FIRST_DELAY / 10 <= backoff_delay(failed) <= MAX_DELAY for _ in range(500))


def test_waits_are_spread():
    """So that many who lost one part do not come back together: each tenth of the interval has its share."""
    tenths = [int(backoff_delay(8) / MAX_DELAY * 10) for _ in range(5_000)]

    assert set(range(1, 10)) <= set(tenths)
    assert max(tenths.count(tenth) for tenth in range(1, 10)) < 1_000
