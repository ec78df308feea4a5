"""What a sink has done and how it is: counted for its caller, for Prometheus and for a person who watches."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tradepipe.contract.refusal import Code
from tradepipe.metrics import (
    AGE,
    AWAY,
    BATCH_ROWS,
    BATCH_SECONDS,
    CLAIMS,
    FENCED,
    LAST_PROGRESS,
    OUTAGES,
    REFUSED,
    WRITTEN,
)
from tradepipe.pipeline.books import Books
from tradepipe.postgres.batch import Stored

logger = logging.getLogger(__name__)

DATABASE: Final = "PostgreSQL"

_RESULTS: Final = ("inserted", "replayed", "collided", "refused")
_ONES_OWN: Final = (FENCED, CLAIMS)


@dataclass(slots=True)
class Counts:
    """
    What a sink has done since it began.

    `refused` counts records by their first code; collisions are among them.
    """

    stored: int = 0
    replayed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class SinkBooks(Books):
    """
    The books of one sink.

    Args:
        on_stored: called with each batch behind its commit.
    """

    def __init__(self, topic: str, on_stored: Callable[[Stored], None] | None) -> None:
        super().__init__(topic)
        self._on_stored = on_stored
        self._handed_at = time.monotonic()
        self._first_at: float | None = None
        self.counts = Counts()
        self._begin()

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
            self.meter.count(WRITTEN, self._topic, result, by=number)
        self.meter.set(LAST_PROGRESS, time.time())
        if stored.batch.entries:  # none: an offset moved over transaction markers
            self._measure(len(stored.batch.entries))
        if self._on_stored is not None:
            self._on_stored(stored)

    def troubled(self, reason: str) -> None:
        """PostgreSQL went away."""
        logger.warning("PostgreSQL is away, waiting: %s", reason)
        self.waits(DATABASE, away=True)
        self.meter.set(AWAY, 1)
        self.meter.count(OUTAGES)

    def healed(self, seconds: float) -> None:
        """PostgreSQL is back."""
        logger.warning("PostgreSQL is back after %.1f s", seconds)
        self.waits(DATABASE, away=False)
        self.meter.set(AWAY, 0)

    def claimed(self) -> None:
        """A partition was granted."""
        self.meter.count(CLAIMS, self._topic)

    def fenced(self) -> None:
        """A partition was claimed by another sink."""
        self.meter.count(FENCED, self._topic)

    def closed(self) -> None:
        """The sink has ended."""
        super().closed()
        self.meter.set(AWAY, 0)

    def _begin(self) -> None:
        """Tell every counter from the start: what appears with its first event has no increase to alarm of."""
        for metric in _ONES_OWN:
            self.meter.count(metric, self._topic, by=0)
        for result in _RESULTS:
            self.meter.count(WRITTEN, self._topic, result, by=0)
        self.meter.count(OUTAGES, by=0)
        self.meter.set(AWAY, 0)
        self.partitions(0, {}, {}, paused=False)

    def _measure(self, rows: int) -> None:
        self.meter.observe(BATCH_ROWS, rows, self._topic)
        self.meter.observe(BATCH_SECONDS, time.monotonic() - self._handed_at, self._topic)
        if self._first_at is not None:  # by the producer's clock, which may be ahead of ours
            self.meter.observe(AGE, max(0.0, time.time() - self._first_at), self._topic)

    def _count_refusals(self, stored: Stored) -> int:
        for refusal in stored.refusals:
            self.counts.refused[refusal.codes[0]] += 1
            self.meter.count(REFUSED, self._topic, refusal.codes[0])
        collisions = [refusal for refusal in stored.refusals if refusal.codes[0] == Code.VERSION_COLLISION]
        if collisions:
            first = collisions[0]
            logger.warning(
                "%d refused as collisions; %s: %s", len(collisions), first.record.coordinates, first.details[0]
            )
        return len(collisions)
