"""What a sink has done and how it is: counted for its caller, for Prometheus and for a person who watches."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tradepipe import metrics
from tradepipe.contract.refusal import Code
from tradepipe.metrics import Meter
from tradepipe.postgres.batch import Stored

logger = logging.getLogger(__name__)

UNHEALTHY_AFTER: Final = 60.0
"""Seconds of an outage after which a sink calls itself not ready."""

DATABASE: Final = "PostgreSQL"

_RESULTS: Final = ("inserted", "replayed", "collided", "refused")
_ONES_OWN: Final = (metrics.CONSUMED, metrics.GAPS, metrics.FENCED, metrics.CLAIMS, metrics.KAFKA_ERRORS)


@dataclass(slots=True)
class Counts:
    """
    What a sink has done since it began.

    `refused` counts records by their first code; collisions are among them.
    """

    stored: int = 0
    replayed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Account:
    """
    The books of one sink.

    Args:
        on_stored: called with each batch behind its commit.
    """

    def __init__(self, topic: str, on_stored: Callable[[Stored], None] | None) -> None:
        self._topic = topic
        self._on_stored = on_stored
        self._handed_at = time.monotonic()
        self._first_at: float | None = None
        self._away: dict[str, float] = {}
        self._counted: Counter[str] = Counter()
        self.counts = Counts()
        self.meter = Meter()
        self.lag: int | None = None
        """Offsets between what is stored and the end of the log, over all partitions that are ours."""
        self._begin()

    @property
    def waiting_for(self) -> str | None:
        """The part that is away, if one is; the one that has been for longest."""
        return next(iter(list(self._away)), None)

    @property
    def is_healthy(self) -> bool:
        """Whether no outage has lasted for long."""
        return all(time.monotonic() - since < UNHEALTHY_AFTER for since in list(self._away.values()))

    def handed_over(self, first_at: float | None) -> None:
        """A batch is in the writer's hands; its first record was sent at `first_at`, Unix time, if that is known."""
        self._handed_at = time.monotonic()
        self._first_at = first_at

    def stored(self, stored: Stored) -> None:
        """A batch was committed."""
        collided = self._count_refusals(stored)
        self.counts.stored += stored.inserted
        self.counts.replayed += stored.replayed
        numbers = (stored.inserted, stored.replayed, collided, len(stored.refusals) - collided)
        for result, number in zip(_RESULTS, numbers, strict=True):
            self.meter.count(metrics.WRITTEN, self._topic, result, by=number)
        self.meter.set(metrics.LAST_PROGRESS, time.time())
        if stored.batch.entries:  # none: an offset moved over transaction markers
            self._measure(len(stored.batch.entries))
        if self._on_stored is not None:
            self._on_stored(stored)

    def troubled(self, reason: str) -> None:
        """PostgreSQL went away."""
        logger.warning("PostgreSQL is away, waiting: %s", reason)
        self._lacks(DATABASE, True)
        self.meter.set(metrics.AWAY, 1)
        self.meter.count(metrics.OUTAGES)

    def healed(self, seconds: float) -> None:
        """PostgreSQL is back."""
        logger.warning("PostgreSQL is back after %.1f s", seconds)
        self._lacks(DATABASE, False)
        self.meter.set(metrics.AWAY, 0)

    def waits(self, part: str, *, away: bool) -> None:
        """Whether work waits for this part."""
        self._lacks(part, away)

    def claimed(self) -> None:
        """A partition was granted."""
        self.meter.count(metrics.CLAIMS, self._topic)

    def fenced(self) -> None:
        """A partition was claimed by another sink."""
        self.meter.count(metrics.FENCED, self._topic)

    def polled(self, records: int) -> None:
        """Kafka was polled."""
        self.meter.set(metrics.LAST_POLL, time.time())
        self.meter.count(metrics.CONSUMED, self._topic, by=records)

    def kafka(self, *, gaps: int, errors: int, rebalances: Mapping[str, int]) -> None:
        """What the consumer has counted since it began."""
        for number, metric in ((gaps, metrics.GAPS), (errors, metrics.KAFKA_ERRORS)):
            self.meter.count(metric, self._topic, by=number - self._counted[metric.name])
            self._counted[metric.name] = number
        for kind, number in rebalances.items():
            self.meter.count(metrics.REBALANCES, self._topic, kind, by=number - self._counted[kind])
            self._counted[kind] = number

    def partitions(self, assigned: int, stored: Mapping[int, int], ends: Mapping[int, int], *, paused: bool) -> None:
        """
        Which partitions are ours, how far each is stored, and where its log ends as far as we know.

        As long as any of them is not claimed, or its end not known, the lag of all is not known either.
        """
        lags = {number: max(0, end - stored[number]) for number, end in ends.items() if number in stored}
        self.lag = sum(lags.values()) if lags and len(lags) == assigned else None
        self.meter.set(metrics.ASSIGNED, assigned, self._topic)
        self.meter.set(metrics.READING, len(stored), self._topic)
        self.meter.set(metrics.PAUSED, int(paused))
        self.meter.replace(metrics.STORED_OFFSET, {(self._topic, str(n)): offset for n, offset in stored.items()})
        self.meter.replace(metrics.LAG, {(self._topic, str(n)): lag for n, lag in lags.items()})

    def closed(self) -> None:
        """The sink has ended: no partition is ours, nothing is waited for; `lag` stays what it was last."""
        lag = self.lag
        self.partitions(0, {}, {}, paused=False)
        self.lag = lag
        self._away.clear()
        self.meter.set(metrics.AWAY, 0)

    def _begin(self) -> None:
        """Tell every counter from the start: what appears with its first event has no increase to alarm of."""
        for metric in _ONES_OWN:
            self.meter.count(metric, self._topic, by=0)
        for result in _RESULTS:
            self.meter.count(metrics.WRITTEN, self._topic, result, by=0)
        for code in Code:
            self.meter.count(metrics.REFUSED, self._topic, code.value, by=0)
        self.meter.count(metrics.OUTAGES, by=0)
        self.meter.set(metrics.AWAY, 0)
        self.partitions(0, {}, {}, paused=False)

    def _measure(self, rows: int) -> None:
        self.meter.observe(metrics.BATCH_ROWS, rows, self._topic)
        self.meter.observe(metrics.BATCH_SECONDS, time.monotonic() - self._handed_at, self._topic)
        if self._first_at is not None:  # by the producer's clock, which may be ahead of ours
            self.meter.observe(metrics.AGE, max(0.0, time.time() - self._first_at), self._topic)

    def _lacks(self, part: str, away: bool) -> None:
        if away:
            self._away.setdefault(part, time.monotonic())
        else:
            self._away.pop(part, None)

    def _count_refusals(self, stored: Stored) -> int:
        for refusal in stored.refusals:
            self.counts.refused[refusal.codes[0]] += 1
            self.meter.count(metrics.REFUSED, self._topic, refusal.codes[0])
        collisions = [refusal for refusal in stored.refusals if refusal.codes[0] == Code.VERSION_COLLISION]
        if collisions:
            first = collisions[0]
            logger.warning(
                "%d refused as collisions; %s: %s", len(collisions), first.record.coordinates, first.details[0]
            )
        return len(collisions)
