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
        self._away_since: float | None = None
        self.counts = Counts()
        self.meter = Meter()
        self.lag: int | None = None
        """Offsets between what is stored and the end of the log, over all partitions that are ours."""
        self.waiting_for: str | None = None
        """The part that is away, if one is."""

    @property
    def is_healthy(self) -> bool:
        """Whether no outage has lasted for long."""
        return self._away_since is None or time.monotonic() - self._away_since < UNHEALTHY_AFTER

    def handed_over(self) -> None:
        """A batch is in the writer's hands."""
        self._handed_at = time.monotonic()

    def stored(self, stored: Stored) -> None:
        """A batch was committed."""
        collided = self._count_refusals(stored)
        self.counts.stored += stored.inserted
        self.counts.replayed += stored.replayed
        results = {"inserted": stored.inserted, "replayed": stored.replayed, "collided": collided}
        results["refused"] = len(stored.refusals) - collided
        for result, number in results.items():
            self.meter.count(metrics.WRITTEN, self._topic, result, by=number)
        self.meter.observe(metrics.BATCH_ROWS, len(stored.batch.entries), self._topic)
        self.meter.observe(metrics.BATCH_SECONDS, time.monotonic() - self._handed_at, self._topic)
        self.meter.set(metrics.LAST_PROGRESS, time.time())
        if self._on_stored is not None:
            self._on_stored(stored)

    def troubled(self, reason: str) -> None:
        """PostgreSQL went away."""
        logger.warning("PostgreSQL is away, waiting: %s", reason)
        self._away_since = time.monotonic()
        self.waiting_for = "PostgreSQL"
        self.meter.set(metrics.AWAY, 1)
        self.meter.count(metrics.OUTAGES)

    def healed(self, seconds: float) -> None:
        """PostgreSQL is back."""
        logger.warning("PostgreSQL is back after %.1f s", seconds)
        self._away_since = None
        self.waiting_for = None
        self.meter.set(metrics.AWAY, 0)

    def waits(self, part: str | None) -> None:
        """The start waits for a part; None: it is there."""
        self.waiting_for = part

    def claimed(self) -> None:
        """A partition was granted."""
        self.meter.count(metrics.CLAIMS, self._topic)

    def fenced(self) -> None:
        """A partition was claimed by another sink."""
        self.meter.count(metrics.FENCED, self._topic)

    def polled(self, records: int, gaps: int) -> None:
        """Kafka was polled."""
        self.meter.set(metrics.LAST_POLL, time.time())
        self.meter.count(metrics.CONSUMED, self._topic, by=records)
        self.meter.count(metrics.GAPS, self._topic, by=gaps)

    def partitions(self, assigned: int, stored: Mapping[int, int], ends: Mapping[int, int], *, paused: bool) -> None:
        """Which partitions are ours, how far each is stored, and where its log ends as far as we know."""
        lags = {number: max(0, end - stored[number]) for number, end in ends.items() if number in stored}
        self.lag = sum(lags.values()) if lags else None
        self.meter.set(metrics.ASSIGNED, assigned, self._topic)
        self.meter.set(metrics.READING, len(stored), self._topic)
        self.meter.set(metrics.PAUSED, int(paused))
        self.meter.replace(metrics.STORED_OFFSET, {(self._topic, str(n)): offset for n, offset in stored.items()})
        self.meter.replace(metrics.LAG, {(self._topic, str(n)): lag for n, lag in lags.items()})

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
