"""What a sink and a validator have in common: running, stopping, the end of the log."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from tradepipe.errors import SchemaNotRegistered
from tradepipe.kafka.admin import Topic, TopicAdmin, Watermarks
from tradepipe.kafka.config import Config
from tradepipe.metrics import Meter
from tradepipe.pipeline.retry import RetryForever, StopRequested
from tradepipe.pipeline.stats import KAFKA, REGISTRY, StageStats
from tradepipe.pipeline.topic_watch import HighWatermarks
from tradepipe.registry.client import SchemaRegistry

logger = logging.getLogger(__name__)

PROGRESS_QUERY_INTERVAL: Final = 0.5
PROGRESS_LOG_INTERVAL: Final = 5.0


class EndOfLog:
    """The end of a topic's log at one moment; reached when the group is done with every partition up to there."""

    def __init__(self, extents: Mapping[int, Watermarks]) -> None:
        # An emptied log counts too: what it held may never have been stored, which its claim finds out.
        self._missing = {number: extent.high for number, extent in extents.items() if extent.high > 0}
        self._next: dict[int, int] = {}
        self._ask_due = time.monotonic() + PROGRESS_QUERY_INTERVAL
        self._tell_due = time.monotonic() + PROGRESS_LOG_INTERVAL

    @property
    def reached(self) -> bool:
        """Whether nothing is missing any more."""
        return not self._missing

    def update(self, next_offsets: Mapping[int, int]) -> None:
        """Take account of what is done."""
        self._next |= next_offsets
        for number, offset in next_offsets.items():
            if offset >= self._missing.get(number, offset + 1):
                del self._missing[number]
                self._tell_due = time.monotonic() + PROGRESS_LOG_INTERVAL

    def should_query(self, waiting_for: str | None) -> bool:
        """Whether it is time to ask what others of the group have done, while we wait for a part or for nothing."""
        now = time.monotonic()
        if now < self._ask_due:
            return False
        self._ask_due = now + PROGRESS_QUERY_INTERVAL
        if now >= self._tell_due:
            self._tell_due = now + PROGRESS_LOG_INTERVAL
            self._log_progress(waiting_for)
        return True

    def _log_progress(self, waiting_for: str | None) -> None:
        missing = (f"[{number}] {self._next.get(number, 'nothing')} of {end}" for number, end in self._missing.items())
        whom = f"for {waiting_for}" if waiting_for else "for others of the group, or the end of a transaction"
        logger.info("waiting for the end of the log: %s; %s", ", ".join(sorted(missing)), whom)


CountsT_co = TypeVar("CountsT_co", covariant=True)

IDLE_POLL_SECONDS: Final = 0.5
"""Seconds to wait for a record while there is nothing else to do; a stop is noticed as late."""

UNASSIGNED_POLL_SECONDS: Final = 0.05
"""Seconds to wait for a record while no partition is read; an assignment is noticed as late."""

STATS_INTERVAL: Final = 0.5

LIVENESS_TIMEOUT: Final = 60.0
"""Seconds within which the loop turns, whatever is away: three times what a batch may take."""

MAX_BATCH_BYTES: Final = 32 << 20
"""Bytes of values in one batch; what bounds memory where records are large."""


class Stage(ABC, Generic[CountsT_co]):
    """
    A member of a group that works on what a topic holds, turn by turn, until it is stopped.

    Args:
        stats: counts what the stage does.
    """

    def __init__(
        self, kafka: Config, stats: StageStats, *, registry: SchemaRegistry | str, topic: str, subject: str
    ) -> None:
        self._stats = stats
        self._topic = topic
        self._subject = subject
        self._own_registry = isinstance(registry, str)
        self._registry = SchemaRegistry(registry) if isinstance(registry, str) else registry
        self._admin = TopicAdmin(kafka)
        self._watermarks = HighWatermarks(self._admin, topic)
        self._end_of_log: EndOfLog | None = None
        self._stopping = self._closed = False
        self._last_stats_at = 0.0
        self._last_loop_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def meter(self) -> Meter:
        """The numbers behind the metrics."""
        return self._stats.meter

    @property
    def lag(self) -> int | None:
        """How many offsets lie between what is done and the end of the log; None while that is not known."""
        return self._stats.lag

    @property
    def waiting_for(self) -> str | None:
        """The part that is away, or None."""
        return self._stats.waiting_for

    @property
    def is_alive(self) -> bool:
        """Whether `run` goes on; an outage of any part is no reason why it would not."""
        return time.monotonic() - self._last_loop_at < LIVENESS_TIMEOUT

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it can work: the group has answered, and no part has been away for a minute."""

    @property
    @abstractmethod
    def counts(self) -> CountsT_co:
        """What the stage has done since it began."""

    @abstractmethod
    def run(self, *, until_end: bool = False) -> CountsT_co:
        """Work until `stop`, or until the end that the topic has at the call."""

    def stop(self) -> None:
        """Make `run` return soon; may be called from a signal handler or another thread."""
        self._stopping = True

    def close(self) -> None:
        """Leave the group, let go of all connections."""
        if self._own_registry:
            self._registry.close()

    def _run_loop(self, until_end: bool) -> None:
        """Turn until `stop`, or until the end; closed in any case when this returns."""
        try:
            self._open(until_end)
            while not self._stopping and not self._has_reached_end():
                self._last_loop_at = time.monotonic()
                self._run_once()
        except StopRequested:
            pass
        finally:
            self.close()

    def _open(self, until_end: bool) -> None:
        patiently = RetryForever(self._stats, self._should_keep_waiting)
        patiently(REGISTRY, lambda: check_subject(self._registry, self._subject))
        described = patiently(KAFKA, lambda: self._admin.describe(self._topic))
        self._check_topics(patiently)
        if until_end:
            self._end_of_log = EndOfLog(
                patiently(KAFKA, lambda: self._admin.watermarks(self._topic, described.partitions))
            )
        self._join_group(described)

    @abstractmethod
    def _check_topics(self, patiently: RetryForever) -> None:
        """Look whether all is as it has to be, before the group is joined."""

    @abstractmethod
    def _join_group(self, described: Topic) -> None:
        """Join the group."""

    @abstractmethod
    def _run_once(self) -> None:
        """Do what there is to do now."""

    @abstractmethod
    def _is_idle(self) -> bool:
        """Whether nothing is in hand."""

    @abstractmethod
    def _update_stats(self) -> None:
        """Bring the books up to date."""

    def _should_keep_waiting(self) -> bool:
        """Whether a part that is waited for still is to be."""
        self._last_loop_at = time.monotonic()
        return not self._stopping

    def _record_progress(self, next_offsets: Mapping[int, int]) -> None:
        """Take account of how far the group is."""
        if self._end_of_log is not None:
            self._end_of_log.update(next_offsets)

    def _has_reached_end(self) -> bool:
        return self._end_of_log is not None and self._end_of_log.reached and self._is_idle()

    def _update_stats_if_due(self) -> None:
        now = time.monotonic()
        if now - self._last_stats_at >= STATS_INTERVAL:
            self._last_stats_at = now
            self._update_stats()

    def _close_stats(self) -> None:
        if not self._closed:
            self._closed = True
            self._update_stats()
            self._stats.mark_closed()


def check_subject(registry: SchemaRegistry, subject: str) -> None:
    """
    Refuse to read what nothing could decode.

    Raises:
        SchemaNotRegistered: the registry has no such subject.

        RegistryUnavailable, ConfigurationError: as the registry's methods.
    """
    if not registry.versions(subject):
        raise SchemaNotRegistered(
            f"the registry at {registry.url} has no subject {subject}, so no record could be decoded; "
            f"register the schema: tradepipe schema register --subject {subject}"
        )
