"""Counters and metrics of the stages."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tradepipe import metrics
from tradepipe.limited_log import LimitedLog
from tradepipe.metrics import Meter, Metric, Series
from tradepipe.plural import format_count
from tradepipe.trade.record import CODES, Code, Refusal

if TYPE_CHECKING:
    from tradepipe.postgres.batch import BatchResult

logger = logging.getLogger(__name__)

KAFKA: Final = "Kafka"
REGISTRY: Final = "the registry"
"""Services that any stage may wait for."""

UNHEALTHY_AFTER: Final = 60.0
"""Seconds of an outage after which a stage is no longer ready."""

TRANSACTION: Final = "the end of an open transaction"
"""The service name for a stage that waits because an open transaction withholds its next records."""
UNREAD: Final = "a record that Kafka's client does not deliver"
"""The service name for a stage that waits because librdkafka silently delivers nothing of a partition."""

_ZEROED: Final = (metrics.CONSUMED, metrics.GAPS, metrics.KAFKA_ERRORS, metrics.MISPLACED)
_LAST_POLL: Final = Series(metrics.LAST_POLL)
_LAST_PROGRESS: Final = Series(metrics.LAST_PROGRESS)


class StageStats:
    """Counters and metrics of one stage."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        # In the order of their outages: the main thread writes, the health server's threads read.
        self._outages: dict[str, float] = {}
        self._counted: Counter[Series] = Counter()
        self._withheld: set[int] = set()
        self._unread: dict[int, int] = {}
        self.meter = Meter()
        self.lag: int | None = None
        """Offsets between the stage's progress and the end of the log, summed over its partitions."""
        # Every counter starts at zero: a series that appears with its first event has no increase to alert on.
        for metric in _ZEROED:
            self.meter.count(metric, topic, by=0)
        for code in CODES:
            self.meter.count(metrics.REFUSED, topic, code, by=0)

    @property
    def waiting_for(self) -> str | None:
        """The service that has been unavailable for longest, or None."""
        # A copy: the main thread may change the dictionary during the iteration.
        return next(iter(list(self._outages)), None)

    @property
    def is_healthy(self) -> bool:
        """Whether no outage has lasted longer than `UNHEALTHY_AFTER`."""
        return all(time.monotonic() - since < UNHEALTHY_AFTER for since in list(self._outages.values()))

    def set_withheld(self, seconds: Mapping[int, float], positions: Mapping[int, int]) -> None:
        """Report the partitions in which an open transaction withholds all records from their positions on."""
        self.meter.replace(metrics.WITHHELD, {(self._topic, str(number)): age for number, age in seconds.items()})
        for number in seconds.keys() - self._withheld:
            logger.warning(
                "an open transaction withholds all records of %s[%d] from offset %d on, for %.0f s now; they are read "
                "when it ends. Find its producer with kafka-transactions.sh find-hanging, or abort it",
                self._topic,
                number,
                positions[number],
                seconds[number],
            )
        for number in self._withheld - seconds.keys():
            logger.warning("records of %s[%d] are no longer withheld by an open transaction", self._topic, number)
        self._withheld = set(seconds)
        # It has lasted a minute already, so the stage is not ready from now on.
        self.set_waiting(TRANSACTION, waiting=bool(seconds), for_seconds=max(seconds.values(), default=0.0))

    def set_unread(self, positions: Mapping[int, int]) -> None:
        """Report the positions at which Kafka's client delivers nothing, although the brokers have records there."""
        for number, offset in positions.items() - self._unread.items():
            logger.error(
                "%s[%d] stands still at offset %d: the brokers have records there, and Kafka's client delivers none "
                "and reports no error, as for a malformed record; if a restart does not help, move the group past it",
                self._topic,
                number,
                offset,
            )
        self._unread = dict(positions)
        self.set_waiting(UNREAD, waiting=bool(positions), for_seconds=UNHEALTHY_AFTER)

    def set_waiting(self, service: str, *, waiting: bool, for_seconds: float = 0.0) -> None:
        """Record whether the stage waits for a service, and for how long already."""
        if waiting:
            self._outages.setdefault(service, time.monotonic() - for_seconds)
        else:
            self._outages.pop(service, None)

    def record_reader_counters(
        self, counts: Mapping[Metric, int], rebalances: Mapping[str, int], last_poll: float | None
    ) -> None:
        """Raise the counters to the totals of the reader; `last_poll` is the Unix time of its last poll."""
        totals = {Series(metric, (self._topic,)): number for metric, number in counts.items()}
        totals |= {Series(metrics.REBALANCES, (self._topic, kind)): number for kind, number in rebalances.items()}
        # The reader counts totals, Prometheus counters take increments.
        increments = {series: total - self._counted[series] for series, total in totals.items()}
        self._counted.update(increments)
        self.meter.record(increments, {} if last_poll is None else {_LAST_POLL: last_poll})

    def set_partitions(
        self, assigned: int, done: Mapping[int, int], ends: Mapping[int, int], *, paused: bool, stopped: int = 0
    ) -> None:
        """
        Set the gauges of the assigned partitions.

        The total lag is unknown while the progress or the end of one partition is.

        Args:
            assigned: how many partitions are assigned.

            done: the next offset of each partition that is read.

            ends: the high watermark of each partition where it is known.

            paused: whether fetching is paused.

            stopped: how many partitions exceed the refusal limit.
        """
        lags = {number: max(0, end - done[number]) for number, end in ends.items() if number in done}
        self.lag = sum(lags.values()) if lags and len(lags) == assigned else None
        self.meter.set(metrics.ASSIGNED, assigned, self._topic)
        self.meter.set(metrics.READING, len(done), self._topic)
        self.meter.set(metrics.PAUSED, int(paused))
        self.meter.set(metrics.STOPPED, stopped, self._topic)
        self.meter.replace(metrics.STORED_OFFSET, {(self._topic, str(n)): offset for n, offset in done.items()})
        self.meter.replace(metrics.LAG, {(self._topic, str(n)): lag for n, lag in lags.items()})

    def _count_refusals(self, codes: Mapping[str, int]) -> dict[Series, float]:
        """Return the increments of the refusals' counters, from the number of refusals by first code."""
        return {Series(metrics.REFUSED, (self._topic, code)): number for code, number in codes.items()}

    def _observe_batch(self, rows: int, started_at: float, first_at: float | None) -> dict[Series, float]:
        """Return the observations of a committed batch; `first_at` is the Unix time of its first record, if known."""
        observed = {
            Series(metrics.BATCH_ROWS, (self._topic,)): float(rows),
            Series(metrics.BATCH_SECONDS, (self._topic,)): time.monotonic() - started_at,
        }
        if first_at is not None:  # by the producer's clock, which may be ahead of this one
            observed[Series(metrics.AGE, (self._topic,))] = max(0.0, time.time() - first_at)
        return observed

    def close(self) -> None:
        """Clear the gauges of partitions and outages; `lag` keeps its last value for the summary."""
        # `set_partitions` without partitions would set the lag to unknown.
        lag = self.lag
        self.set_partitions(0, {}, {}, paused=False)
        self.meter.replace(metrics.WITHHELD, {})
        self.lag = lag
        self._outages.clear()


DATABASE: Final = "PostgreSQL"

_SINK_RESULTS: Final = ("inserted", "duplicate", "collided", "refused")
_SINK_ZEROED: Final = (metrics.FENCED, metrics.CLAIMS)


@dataclass(slots=True)
class SinkCounts:
    """What a sink has done since it started; `refused` counts records by first code, collisions included."""

    stored: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class SinkStats(StageStats):
    """Counters and metrics of one sink; `on_stored` is called with each batch after its commit."""

    def __init__(self, topic: str, on_stored: "Callable[[BatchResult], None] | None") -> None:
        super().__init__(topic)
        self._on_stored = on_stored
        self._collisions = LimitedLog(
            logger,
            lambda records, seconds: (
                f"refused {format_count(records, 'more record')} of {topic} as collisions within {seconds:.0f} s"
            ),
        )
        self.counts = SinkCounts()
        # As in the base class: every counter starts at zero.
        for metric in _SINK_ZEROED:
            self.meter.count(metric, topic, by=0)
        for result in _SINK_RESULTS:
            self.meter.count(metrics.WRITTEN, topic, result, by=0)
        self.meter.count(metrics.OUTAGES, by=0)
        self.meter.set(metrics.UNAVAILABLE, 0)
        self.set_partitions(0, {}, {}, paused=False)

    def record_stored_batch(self, stored: "BatchResult") -> None:
        """Count a committed batch."""
        codes = Counter(refusal.codes[0] for refusal in stored.refusals)
        collided = codes[Code.VERSION_COLLISION]
        self.counts.stored += stored.inserted
        self.counts.duplicates += stored.duplicates
        self.counts.refused.update(codes)
        numbers = (stored.inserted, stored.duplicates, collided, len(stored.refusals) - collided)
        results = {
            Series(metrics.WRITTEN, (self._topic, result)): number
            for result, number in zip(_SINK_RESULTS, numbers, strict=True)
        }
        rows = sum(numbers)
        # Without records only an offset advanced, over transaction markers.
        observed = self._observe_batch(rows, stored.batch.taken_at, stored.batch.first_timestamp) if rows else {}
        self.meter.record(results | self._count_refusals(codes), {_LAST_PROGRESS: time.time()}, observed)
        if collided:
            first = next(refusal for refusal in stored.refusals if refusal.codes[0] == Code.VERSION_COLLISION)
            self._collisions.warn(
                collided,
                "refused %s as a collision, the first at %s: %s",
                format_count(collided, "record"),
                first.record.coordinates,
                first.details[0],
            )
        if self._on_stored is not None:
            self._on_stored(stored)

    def log_more_collisions(self, *, at_once: bool = False) -> None:
        """Log the number of collisions that have no line, if it is time."""
        self._collisions.warn_of_others(at_once=at_once)

    def record_outage(self, reason: str) -> None:
        """Record that PostgreSQL became unavailable, or that another transaction is in the way."""
        logger.warning("cannot store, retrying: %s", reason)
        self.set_waiting(DATABASE, waiting=True)
        self.meter.set(metrics.UNAVAILABLE, 1)
        self.meter.count(metrics.OUTAGES)

    def record_recovery(self, seconds: float) -> None:
        """Record that PostgreSQL is available again, after `seconds`."""
        logger.warning("PostgreSQL is available again after %.1f s", seconds)
        self.set_waiting(DATABASE, waiting=False)
        self.meter.set(metrics.UNAVAILABLE, 0)

    def record_claim(self) -> None:
        """Count a partition that this sink claimed."""
        self.meter.count(metrics.CLAIMS, self._topic)

    def record_fence(self) -> None:
        """Count a partition that another sink claimed."""
        self.meter.count(metrics.FENCED, self._topic)

    def close(self) -> None:
        """Clear the gauges, the database's among them."""
        self.log_more_collisions(at_once=True)
        super().close()
        self.meter.set(metrics.UNAVAILABLE, 0)


_VALIDATOR_RESULTS: Final = ("passed", "refused")
_OUTCOMES: Final = ("committed", "interrupted")


@dataclass(slots=True)
class ValidatorCounts:
    """What a validator has done since it started; `refused` counts records by their first code."""

    passed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class ValidatorStats(StageStats):
    """Counters and metrics of one validator."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.counts = ValidatorCounts()
        self._started_at = time.monotonic()
        self._producers = 0
        for result in _VALIDATOR_RESULTS:
            self.meter.count(metrics.VALIDATED, topic, result, by=0)
        for outcome in _OUTCOMES:
            self.meter.count(metrics.TRANSACTIONS, topic, outcome, by=0)
        self.meter.count(metrics.PRODUCERS, topic, by=0)
        self.set_partitions(0, {}, {}, paused=False)

    def start_batch(self) -> None:
        """Start the clock of a batch."""
        self._started_at = time.monotonic()

    def record_committed_batch(self, passed: int, refusals: Sequence[Refusal], first_at: float | None) -> None:
        """Count a committed batch; `first_at` is the Unix time of its first record, if known."""
        codes = Counter(refusal.codes[0] for refusal in refusals)
        self.counts.passed += passed
        self.counts.refused.update(codes)
        results = {
            Series(metrics.VALIDATED, (self._topic, "passed")): passed,
            Series(metrics.VALIDATED, (self._topic, "refused")): len(refusals),
            Series(metrics.TRANSACTIONS, (self._topic, "committed")): 1,
        }
        observed = self._observe_batch(passed + len(refusals), self._started_at, first_at)
        self.meter.record(results | self._count_refusals(codes), {_LAST_PROGRESS: time.time()}, observed)

    def record_interruption(self) -> None:
        """Count a batch whose transaction was rolled back or whose outcome is unknown."""
        self.meter.count(metrics.TRANSACTIONS, self._topic, "interrupted")

    def set_producers(self, created: int) -> None:
        """Raise the counter of producers to how many were created so far."""
        self.meter.count(metrics.PRODUCERS, self._topic, by=created - self._producers)
        self._producers = created
