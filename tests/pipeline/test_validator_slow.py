"""A validator that polls too late for its group: each record is in exactly one topic, once."""

import threading
from collections.abc import Callable

import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import done, mixture, running
from tradepipe import Trade, Violation
from tradepipe.metrics import REBALANCES, TRANSACTIONS

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("targets")]


class PausingRule:
    """A custom rule that accepts everything, and waits once, at one of its calls."""

    def __init__(self, when: Callable[[int], bool]) -> None:
        self.paused, self.resumed = threading.Event(), threading.Event()
        self._when = when
        self._calls = 0

    def __call__(self, _trade: Trade) -> list[Violation]:
        if not self.paused.is_set() and self._when(self._calls):
            self.paused.set()
            assert self.resumed.wait(200)
        self._calls += 1
        return []


def test_a_validator_that_polls_too_late_loses_its_partitions_and_rejoins(pipeline):
    """Its rule blocks during a transaction, which is committed all the same; another validator writes the rest."""
    # Ten are validated and not done: they are being written while this one is validated.
    rule = PausingRule(lambda calls: calls - done(slow) == 10)
    records = mixture(pipeline, 500)
    pipeline.publish_bytes(records[:420])
    pipeline.kafka |= {"max.poll.interval.ms": 6_000, "heartbeat.interval.ms": 500}
    slow = pipeline.validator(batch_records=10, rules=[rule])
    with running(slow):
        assert rule.paused.wait(200)
        with running(pipeline.validator()) as other:
            eventually(lambda: done(slow) + done(other) == 410)
            rule.resumed.set()
            eventually(lambda: slow.meter.values(REBALANCES)[pipeline.topic, "assign"] > 1)
            pipeline.publish_bytes(records[420:])
            eventually(lambda: done(slow) + done(other) == len(records))

    assert len(records) == done(slow) + done(other)
    assert 0 == slow.meter.values(TRANSACTIONS)[pipeline.topic, "interrupted"]
    pipeline.sorted().check()
