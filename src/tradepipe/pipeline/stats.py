"""Counters and metrics of the stages."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tradepipe.metrics import (
    AGE,
    ASSIGNED,
    BATCH_ROWS,
    BATCH_SECONDS,
    CLAIMS,
    CONSUMED,
    FENCED,
    GAPS,
    KAFKA_ERRORS,
    LAG,
    LAST_POLL,
    LAST_PROGRESS,
    OUTAGES,
    PAUSED,
    PRODUCERS,
    READING,
    REBALANCES,
    REFUSED,
    STORED_OFFSET,
    TRANSACTIONS,
    UNAVAILABLE,
    VALIDATED,
    WRITTEN,
    Meter,
)
from tradepipe.postgres.batch import BatchResult
from tradepipe.trade.record import Code, Refusal

logger = logging.getLogger(__name__)

KAFKA: Final = "Kafka"
REGISTRY: Final = "the registry"
"""Parts that any stage may wait for."""

UNHEALTHY_AFTER: Final = 60.0
"""Seconds of an outage after which a stage calls itself not ready."""

_ZEROED: Final = (CONSUMED, GAPS, KAFKA_ERRORS)


class StageStats:
    """The numbers of one stage that reads a topic as a member of a group."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._away: dict[str, float] = {}
        self._counted: Counter[str] = Counter()
        self.meter = Meter()
        self.lag: int | None = None
        """Offsets between what is done and the end of the log, over all partitions that are ours."""
        # Every counter from the start: what appears with its first event has no increase to alarm of.
        for metric in _ZEROED:
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

    def set_waiting(self, part: str, *, away: bool) -> None:
        """Whether work waits for this part."""
        if away:
            self._away.setdefault(part, time.monotonic())
        else:
            self._away.pop(part, None)

    def record_poll(self, records: int) -> None:
        """Kafka was polled."""
        self.meter.set(LAST_POLL, time.time())
        self.meter.count(CONSUMED, self._topic, by=records)

    def record_client_counters(self, *, gaps: int, errors: int, rebalances: Mapping[str, int]) -> None:
        """What the consumer has counted since it began."""
        for number, metric in ((gaps, GAPS), (errors, KAFKA_ERRORS)):
            self.meter.count(metric, self._topic, by=number - self._counted[metric.name])
            self._counted[metric.name] = number
        for kind, number in rebalances.items():
            self.meter.count(REBALANCES, self._topic, kind, by=number - self._counted[kind])
            self._counted[kind] = number

    def set_partitions(self, assigned: int, done: Mapping[int, int], ends: Mapping[int, int], *, paused: bool) -> None:
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

    def mark_closed(self) -> None:
        """The stage has ended: no partition is ours, nothing is waited for; `lag` stays what it was last."""
        lag = self.lag
        self.set_partitions(0, {}, {}, paused=False)
        self.lag = lag
        self._away.clear()


DATABASE: Final = "PostgreSQL"

_SINK_RESULTS: Final = ("inserted", "replayed", "collided", "refused")
_SINK_ZEROED: Final = (FENCED, CLAIMS)


@dataclass(slots=True)
class SinkCounts:
    """
    What a sink has done since it began.

    `refused` counts records by their first code; collisions are among them.
    """

    stored: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class SinkStats(StageStats):
    """
    The books of one sink.

    Args:
        on_stored: called with each batch behind its commit.
    """

    def __init__(self, topic: str, on_stored: Callable[[BatchResult], None] | None) -> None:
        super().__init__(topic)
        self._on_stored = on_stored
        self._handed_at = time.monotonic()
        self._first_at: float | None = None
        self.counts = SinkCounts()
        self._zero_counters()

    def batch_queued(self, first_at: float | None) -> None:
        """A batch is in the writer's hands; its first record was sent at `first_at`, Unix time, if that is known."""
        self._handed_at = time.monotonic()
        self._first_at = first_at

    def batch_stored(self, stored: BatchResult) -> None:
        """A batch was committed."""
        collided = self._count_refusals(stored)
        self.counts.stored += stored.inserted
        self.counts.duplicates += stored.duplicates
        numbers = (stored.inserted, stored.duplicates, collided, len(stored.refusals) - collided)
        for result, number in zip(_SINK_RESULTS, numbers, strict=True):
            self.meter.count(WRITTEN, self._topic, result, by=number)
        self.meter.set(LAST_PROGRESS, time.time())
        if stored.batch.records:  # none: an offset moved over transaction markers
            self._observe_batch(len(stored.batch.records))
        if self._on_stored is not None:
            self._on_stored(stored)

    def database_down(self, reason: str) -> None:
        """PostgreSQL went away."""
        logger.warning("PostgreSQL is away, waiting: %s", reason)
        self.set_waiting(DATABASE, away=True)
        self.meter.set(UNAVAILABLE, 1)
        self.meter.count(OUTAGES)

    def database_up(self, seconds: float) -> None:
        """PostgreSQL is back."""
        logger.warning("PostgreSQL is back after %.1f s", seconds)
        self.set_waiting(DATABASE, away=False)
        self.meter.set(UNAVAILABLE, 0)

    def partition_claimed(self) -> None:
        """A partition was granted."""
        self.meter.count(CLAIMS, self._topic)

    def partition_fenced(self) -> None:
        """A partition was claimed by another sink."""
        self.meter.count(FENCED, self._topic)

    def mark_closed(self) -> None:
        """The sink has ended."""
        super().mark_closed()
        self.meter.set(UNAVAILABLE, 0)

    def _zero_counters(self) -> None:
        """Tell every counter from the start: what appears with its first event has no increase to alarm of."""
        for metric in _SINK_ZEROED:
            self.meter.count(metric, self._topic, by=0)
        for result in _SINK_RESULTS:
            self.meter.count(WRITTEN, self._topic, result, by=0)
        self.meter.count(OUTAGES, by=0)
        self.meter.set(UNAVAILABLE, 0)
        self.set_partitions(0, {}, {}, paused=False)

    def _observe_batch(self, rows: int) -> None:
        self.meter.observe(BATCH_ROWS, rows, self._topic)
        self.meter.observe(BATCH_SECONDS, time.monotonic() - self._handed_at, self._topic)
        if self._first_at is not None:  # by the producer's clock, which may be ahead of ours
            self.meter.observe(AGE, max(0.0, time.time() - self._first_at), self._topic)

    def _count_refusals(self, stored: BatchResult) -> int:
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


_VALIDATOR_RESULTS: Final = ("passed", "refused")
_OUTCOMES: Final = ("committed", "interrupted")


@dataclass(slots=True)
class ValidatorCounts:
    """
    What a validator has done since it began.

    `refused` counts records by their first code.
    """

    passed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class ValidatorStats(StageStats):
    """The books of one validator."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.counts = ValidatorCounts()
        self._begun_at = time.monotonic()
        self._made = 0
        for result in _VALIDATOR_RESULTS:
            self.meter.count(VALIDATED, topic, result, by=0)
        for outcome in _OUTCOMES:
            self.meter.count(TRANSACTIONS, topic, outcome, by=0)
        self.meter.count(PRODUCERS, topic, by=0)
        self.set_partitions(0, {}, {}, paused=False)

    def batch_started(self) -> None:
        """A batch is about to be written."""
        self._begun_at = time.monotonic()

    def batch_committed(self, passed: int, refusals: Sequence[Refusal], first_at: float | None) -> None:
        """A batch is in the log; its first record was sent at `first_at`, Unix time, if that is known."""
        self.counts.passed += passed
        for refusal in refusals:
            self.counts.refused[refusal.codes[0]] += 1
            self.meter.count(REFUSED, self._topic, refusal.codes[0])
        for result, number in zip(_VALIDATOR_RESULTS, (passed, len(refusals)), strict=True):
            self.meter.count(VALIDATED, self._topic, result, by=number)
        self.meter.count(TRANSACTIONS, self._topic, "committed")
        self.meter.set(LAST_PROGRESS, time.time())
        self.meter.observe(BATCH_ROWS, passed + len(refusals), self._topic)
        self.meter.observe(BATCH_SECONDS, time.monotonic() - self._begun_at, self._topic)
        if first_at is not None:  # by the producer's clock, which may be ahead of ours
            self.meter.observe(AGE, max(0.0, time.time() - first_at), self._topic)

    def batch_interrupted(self) -> None:
        """What became of a batch is to be asked."""
        self.meter.count(TRANSACTIONS, self._topic, "interrupted")

    def set_producers_created(self, made: int) -> None:
        """How many producers it took so far."""
        self.meter.count(PRODUCERS, self._topic, by=made - self._made)
        self._made = made
