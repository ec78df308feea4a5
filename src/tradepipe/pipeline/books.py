"""What any consuming stage counts and how it is."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from tradepipe.contract.refusal import Code
from tradepipe.metrics import (
    ASSIGNED,
    CONSUMED,
    GAPS,
    KAFKA_ERRORS,
    LAG,
    LAST_POLL,
    PAUSED,
    READING,
    REBALANCES,
    REFUSED,
    STORED_OFFSET,
    Meter,
)

KAFKA: Final = "Kafka"
REGISTRY: Final = "the registry"
"""Parts that any stage may wait for."""

UNHEALTHY_AFTER: Final = 60.0
"""Seconds of an outage after which a stage calls itself not ready."""

_ONES_OWN: Final = (CONSUMED, GAPS, KAFKA_ERRORS)


class Books:
    """The numbers of one stage that reads a topic as a member of a group."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._away: dict[str, float] = {}
        self._counted: Counter[str] = Counter()
        self.meter = Meter()
        self.lag: int | None = None
        """Offsets between what is done and the end of the log, over all partitions that are ours."""
        # Every counter from the start: what appears with its first event has no increase to alarm of.
        for metric in _ONES_OWN:
            self.meter.count(metric, topic, by=0)
        for code in Code:
            self.meter.count(REFUSED, topic, code.value, by=0)

    @property
    def waiting_for(self) -> str | None:
        """The part that is away, if one is; the one that has been for longest."""
        return next(iter(list(self._away)), None)

    @property
    def is_healthy(self) -> bool:
        """Whether no outage has lasted for long."""
        return all(time.monotonic() - since < UNHEALTHY_AFTER for since in list(self._away.values()))

    def waits(self, part: str, *, away: bool) -> None:
        """Whether work waits for this part."""
        if away:
            self._away.setdefault(part, time.monotonic())
        else:
            self._away.pop(part, None)

    def polled(self, records: int) -> None:
        """Kafka was polled."""
        self.meter.set(LAST_POLL, time.time())
        self.meter.count(CONSUMED, self._topic, by=records)

    def kafka(self, *, gaps: int, errors: int, rebalances: Mapping[str, int]) -> None:
        """What the consumer has counted since it began."""
        for number, metric in ((gaps, GAPS), (errors, KAFKA_ERRORS)):
            self.meter.count(metric, self._topic, by=number - self._counted[metric.name])
            self._counted[metric.name] = number
        for kind, number in rebalances.items():
            self.meter.count(REBALANCES, self._topic, kind, by=number - self._counted[kind])
            self._counted[kind] = number

    def partitions(self, assigned: int, done: Mapping[int, int], ends: Mapping[int, int], *, paused: bool) -> None:
        """
        Which partitions are ours, how far each is done, and where its log ends as far as we know.

        As long as how far one of them is, or its end, is not known, the lag of all is not known either.
        """
        lags = {number: max(0, end - done[number]) for number, end in ends.items() if number in done}
        self.lag = sum(lags.values()) if lags and len(lags) == assigned else None
        self.meter.set(ASSIGNED, assigned, self._topic)
        self.meter.set(READING, len(done), self._topic)
        self.meter.set(PAUSED, int(paused))
        self.meter.replace(STORED_OFFSET, {(self._topic, str(n)): offset for n, offset in done.items()})
        self.meter.replace(LAG, {(self._topic, str(n)): lag for n, lag in lags.items()})

    def closed(self) -> None:
        """The stage has ended: no partition is ours, nothing is waited for; `lag` stays what it was last."""
        lag = self.lag
        self.partitions(0, {}, {}, paused=False)
        self.lag = lag
        self._away.clear()
