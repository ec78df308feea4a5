"""A stage: what the sink and the validator share."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Set
from concurrent.futures import wait
from typing import Any, Final, Generic, Self, TypeVar

from tradepipe import metrics
from tradepipe.background import run_in_thread
from tradepipe.errors import ConfigurationError, Unavailable
from tradepipe.kafka.admin import TopicAdmin, Watermarks
from tradepipe.kafka.config import RESPONSE_OVERHEAD, Config, max_batch_bytes, without_producer_keys
from tradepipe.kafka.consumer import Consumer
from tradepipe.metrics import Meter
from tradepipe.outage import Backoff, Outage
from tradepipe.pipeline.partitions import PartitionReader
from tradepipe.pipeline.stats import KAFKA, REGISTRY, StageStats
from tradepipe.pipeline.topic_watch import (
    SEARCH_AFTER_SECONDS,
    STANDSTILL_SECONDS,
    HighWatermarks,
    StandstillWatch,
)
from tradepipe.registry.client import SchemaRegistry, open_registry
from tradepipe.registry.schema_ids import SubjectCheck

logger = logging.getLogger(__name__)

T = TypeVar("T")

STOP_CHECK_SECONDS: Final = 0.2
"""Seconds until a waiting stage notices a stop."""


class StopRequested(Exception):
    """The stage was stopped while it waited for a service."""


class RetryForever:
    """Calls a service until it answers, however long it is unavailable, or until `should_continue` returns False."""

    def __init__(self, stats: StageStats, should_continue: Callable[[], bool]) -> None:
        self._stats = stats
        self._should_continue = should_continue

    def __call__(self, service: str, call: Callable[[], T]) -> T:
        """Return the answer of the service; `StopRequested` if the stage was stopped first."""
        backoff, outage = Backoff(), Outage(service, logger)
        # Before the first try: a call that hangs is an outage too, and /readyz should name the service.
        self._stats.set_waiting(service, waiting=True)
        while True:
            if not self._should_continue():
                raise StopRequested
            try:
                # In a thread: a stop need not wait for the end of a timeout, which may be 10 s.
                result = run_in_thread(call, "tradepipe-retry")
                while not wait([result], STOP_CHECK_SECONDS).done:
                    if not self._should_continue():
                        raise StopRequested
                answer = result.result()
            except Unavailable as error:
                outage.begin(error)
                # In slices: a stop need not wait for the end of a delay.
                until = time.monotonic() + backoff.next_delay()
                while self._should_continue() and (left := until - time.monotonic()) > 0:
                    time.sleep(min(left, STOP_CHECK_SECONDS))
            else:
                outage.end()
                self._stats.set_waiting(service, waiting=False)
                return answer


PROGRESS_QUERY_INTERVAL: Final = 0.5
PROGRESS_LOG_INTERVAL: Final = 5.0


class EndOfLog:
    """The end of each partition at one moment; reached when the group has processed every partition up to it."""

    def __init__(self, extents: Mapping[int, Watermarks]) -> None:
        # A partition emptied by retention counts too: its records may never have been stored. Its claim detects that.
        self._ends = {number: extent.high for number, extent in extents.items() if extent.high > 0}
        self._next: dict[int, int] = {}
        self._query_due = time.monotonic() + PROGRESS_QUERY_INTERVAL
        self._log_due = time.monotonic() + PROGRESS_LOG_INTERVAL

    @property
    def missing(self) -> Set[int]:
        """The partitions that are not processed up to their ends."""
        return self._ends.keys()

    def update(self, next_offsets: Mapping[int, int]) -> None:
        """Record the group's next offsets."""
        self._next |= next_offsets
        for number, offset in next_offsets.items():
            if offset >= self._ends.get(number, offset + 1):
                del self._ends[number]
                self._log_due = time.monotonic() + PROGRESS_LOG_INTERVAL

    def should_query(self, waiting_for: str | None) -> bool:
        """
        Return whether to query the progress of the group's other members now.

        Also logs the progress at a longer interval, with the service that is waited for.
        """
        now = time.monotonic()
        if now < self._query_due:
            return False
        self._query_due = now + PROGRESS_QUERY_INTERVAL
        if now >= self._log_due:
            self._log_due = now + PROGRESS_LOG_INTERVAL
            missing = (f"[{number}] {self._next.get(number, 'nothing')} of {end}" for number, end in self._ends.items())
            cause = waiting_for or "other members of the group, or the end of a transaction"
            logger.info("waiting for the end of the log: %s; waiting for %s", ", ".join(sorted(missing)), cause)
        return True


CountsT_co = TypeVar("CountsT_co", covariant=True)

IDLE_POLL_SECONDS: Final = 0.5
"""Seconds to wait for a record when there is nothing else to do; also how late a stop is noticed."""

STATS_INTERVAL: Final = 0.5

LIVENESS_TIMEOUT: Final = 60.0
"""Seconds in which the main loop must turn once, also during an outage: three times what a batch may take."""


class Stage(ABC, Generic[CountsT_co]):
    """A member of a consumer group that processes a topic until it is stopped; `stats` counts what it does."""

    _consumer: Consumer
    _reader: PartitionReader[Any]

    def __init__(
        self, kafka: Config, stats: StageStats, *, registry: SchemaRegistry | str, topic: str, subject: str
    ) -> None:
        self._stats = stats
        self._topic = topic
        self._subject = subject
        self._owns_registry = isinstance(registry, str)
        self._registry = open_registry(registry)
        self._max_batch_bytes = max_batch_bytes(without_producer_keys(kafka))
        self._admin = TopicAdmin(kafka)
        self._watermarks = HighWatermarks(self._admin, topic)
        self._transactions = StandstillWatch(self._admin, topic, after=STANDSTILL_SECONDS)
        self._reading = StandstillWatch(self._admin, topic, after=SEARCH_AFTER_SECONDS)
        self._kafka_outage = Outage(KAFKA, logger)
        self._end_of_log: EndOfLog | None = None
        self._stopping = self._closed = False
        self._unused = threading.Lock()
        """Taken by the first `run`, and never released."""
        self._runner: threading.Thread | None = None
        """The thread of `run`, while it runs."""
        self._run_ended = threading.Event()
        self._last_stats_at = 0.0
        self._last_loop_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def meter(self) -> Meter:
        """The values of the stage's metrics."""
        return self._stats.meter

    @property
    def lag(self) -> int | None:
        """Offsets between the stage's progress and the end of the log; None until both are known."""
        return self._stats.lag

    @property
    def waiting_for(self) -> str | None:
        """The service that is unavailable, or None."""
        return self._stats.waiting_for

    @property
    def has_batch(self) -> bool:
        """Whether records are held or being written, which `stop` lets finish."""
        return not self._is_idle()

    @property
    def is_alive(self) -> bool:
        """Whether the main loop is running; an outage of a service does not stop it."""
        return time.monotonic() - self._last_loop_at < LIVENESS_TIMEOUT

    @property
    def stopped(self) -> Mapping[int, Exception]:
        """Partitions that exceed the refusal limit, of which nothing more is read, with the reasons."""
        return self._reader.stopped

    @property
    def is_ready(self) -> bool:
        """Whether the assigned partitions can be processed, and no service has been unavailable for a minute."""
        return self._reader.is_ready and self._stats.is_healthy

    @property
    @abstractmethod
    def counts(self) -> CountsT_co:
        """What the stage has done since it started."""

    @abstractmethod
    def run(self, *, until_end: bool = False) -> CountsT_co:
        """Process the topic until `stop`, or until the end that the log has at the call."""

    def stop(self) -> None:
        """Make `run` return soon; may be called from a signal handler or another thread."""
        self._stopping = True

    def close(self) -> None:
        """
        Leave the group and close all connections; idempotent.

        A running stage is stopped, and closed at the end of its `run`, for which any
        other thread waits.
        """
        self._stopping = True
        if self._runner is None:
            self._close()
        elif self._runner is not threading.current_thread():
            self._run_ended.wait()

    def _close(self) -> None:
        """Leave the group and close all connections."""
        self._admin.close()
        if self._owns_registry:
            self._registry.close()

    def _run_loop(self, until_end: bool) -> None:
        """Run until `stop` or the end of the log, and close in any case."""
        if self._closed or not self._unused.acquire(blocking=False):
            raise RuntimeError(f"this {type(self).__name__} is running, has run or is closed: create another one")
        self._runner = threading.current_thread()
        try:
            self._open(until_end)
            while not self._stopping and not self._has_reached_end():
                self._last_loop_at = time.monotonic()
                self._run_once()
        except StopRequested:
            pass
        finally:
            try:
                self._stopping = True
                self._close()
            finally:
                self._runner = None
                self._run_ended.set()

    def _open(self, until_end: bool) -> None:
        retry = RetryForever(self._stats, self._should_keep_waiting)
        # Checks before joining: a member that then fails would cause a rebalance for the whole group.
        retry(REGISTRY, SubjectCheck(self._registry, self._subject))
        description = retry(KAFKA, lambda: self._admin.describe(self._topic))
        largest = retry(KAFKA, lambda: self._admin.max_message_bytes(self._topic))
        if largest is not None and largest > self._max_batch_bytes:
            raise ConfigurationError(
                f"topic {self._topic} accepts batches of {largest} bytes, and this consumer receives at most "
                f"{self._max_batch_bytes}: a larger one would never arrive; add "
                f"-X receive.message.max.bytes={largest + RESPONSE_OVERHEAD}"
            )
        self._check_topics(retry)
        # The end is noted before the group is joined: what is sent afterwards is not waited for.
        if until_end:
            self._end_of_log = EndOfLog(
                retry(KAFKA, lambda: self._admin.watermarks(self._topic, description.partitions))
            )
        self._reader.open(description)

    @abstractmethod
    def _check_topics(self, retry: RetryForever) -> None:
        """Check the topics' configuration, before the group is joined."""

    @abstractmethod
    def _run_once(self) -> None:
        """Run one turn of the main loop."""

    @abstractmethod
    def _is_idle(self) -> bool:
        """Whether no record is held or being written."""

    @property
    @abstractmethod
    def _kafka_problem(self) -> Unavailable | None:
        """Why the stage cannot work with Kafka now."""

    def _update_stats(self) -> None:
        """Bring the metrics up to date."""
        consumer, reader = self._consumer, self._reader
        done, ends = reader.done_offsets, self._query_watermarks()
        self._stats.set_partitions(
            len(consumer.assignments), done, ends, paused=reader.is_paused, stopped=len(self.stopped)
        )
        self._find_standstills(done, ends)
        counts = {
            metrics.CONSUMED: reader.consumed,
            metrics.GAPS: consumer.offset_gaps,
            metrics.KAFKA_ERRORS: consumer.errors.outages,
            metrics.MISPLACED: reader.misplaced,
        }
        self._stats.record_reader_counters(counts, consumer.rebalances, reader.last_poll)
        self._stats.set_waiting(REGISTRY, waiting=reader.waits_for_registry)

    def _should_keep_waiting(self) -> bool:
        """Return whether to wait on for a service; waiting counts as a turn of the loop for `is_alive`."""
        self._last_loop_at = time.monotonic()
        return not self._stopping

    def _record_progress(self, next_offsets: Mapping[int, int]) -> None:
        """Record the group's next offsets for `until_end`."""
        if self._end_of_log is not None:
            self._end_of_log.update(next_offsets)

    def _has_reached_end(self) -> bool:
        if self._end_of_log is None or not self._is_idle():
            return False
        missing = self._end_of_log.missing
        if missing and missing <= self.stopped.keys():
            raise self.stopped[min(missing)]
        return not missing

    def _query_watermarks(self) -> dict[int, int]:
        """Return the high watermarks, and report whether Kafka is available."""
        consumer, problem = self._consumer, self._kafka_problem
        ends = self._watermarks.get(self._reader.high_watermarks, errors=consumer.errors.outages)
        error = consumer.errors.last_outage if self._watermarks.has_new_errors else None
        unanswered = self._watermarks.unanswered
        if problem is not None:
            self._kafka_outage.begin(problem)
        # A denial has its own lines, and a topic that is gone has no leaders that could answer.
        elif unanswered and (error is not None or not consumer.errors.confirmation.is_failing):
            partitions = ", ".join(map(str, unanswered))
            self._kafka_outage.begin(error or f"no answer for {self._topic}[{partitions}]")
        elif not unanswered:
            self._kafka_outage.end()
        self._stats.set_waiting(KAFKA, waiting=self._kafka_outage.is_active or consumer.errors.confirmation.is_failing)
        return ends

    def _find_standstills(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """
        Report partitions that an open transaction withholds, or that Kafka's client silently does not deliver.

        The latter are first searched for malformed records, which are refused.

        Args:
            positions: the next offset that the stage will store or commit, of each partition.
        """
        self._transactions.update(positions, ends)
        self._stats.set_withheld(self._transactions.withheld, positions)
        # After an outage the client needs a while to connect again, and its positions have stood still for long.
        is_disturbed = self._kafka_outage.is_active or self._watermarks.has_new_errors
        assigned = {} if is_disturbed else self._consumer.assignments
        running = {
            n: each.next_offset for n, each in assigned.items() if each.next_offset is not None and not each.paused
        }
        self._reading.update(running, ends)
        unread = self._reading.unread
        self._consumer.examine(unread)
        has_stood = self._reading.has_stood
        self._stats.set_unread({n: offset for n, offset in unread.items() if has_stood(n, STANDSTILL_SECONDS)})

    def _update_stats_if_due(self) -> None:
        now = time.monotonic()
        if now - self._last_stats_at >= STATS_INTERVAL:
            self._last_stats_at = now
            self._update_stats()

    def _close_stats(self) -> None:
        # Once: `_close` runs at the end of `run` and again at the end of a `with` block, when the consumer is closed.
        if not self._closed:
            self._closed = True
            self._update_stats()
            self._stats.close()
