"""The sink: trades from a topic into PostgreSQL, each exactly once."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from tradepipe.codec.admission import UnknownFields
from tradepipe.errors import ConfigurationError, Unavailable
from tradepipe.kafka.config import Config
from tradepipe.kafka.consumer import Consumer
from tradepipe.pipeline.partitions import StartPosition, check_start
from tradepipe.pipeline.refusal_limit import MAX_SHARE, RefusalLimit
from tradepipe.pipeline.sink_reader import SinkReader
from tradepipe.pipeline.sink_writer import (
    CONNECTIONS,
    ClaimGranted,
    DatabaseDown,
    DatabaseUp,
    Event,
    GroupProgress,
    SinkWriter,
    WriterFailed,
)
from tradepipe.pipeline.stage import IDLE_POLL_SECONDS, RetryForever, Stage
from tradepipe.pipeline.stats import KAFKA, SinkCounts, SinkStats
from tradepipe.pipeline.validation import RecordKey, RecordValidator, Rule
from tradepipe.postgres.batch import BatchResult
from tradepipe.postgres.offsets import FIRST_EPOCH
from tradepipe.postgres.sink_store import OwnershipLost, RangeDropped
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.serde import TradeDeserializer
from tradepipe.trade.record import Stale

logger = logging.getLogger(__name__)

STOP_GRACE_SECONDS: Final = 20.0
"""Seconds the current batch may take after `stop`; then it is rolled back."""

BUSY_POLL_SECONDS: Final = 0.01
"""
Seconds to wait while the writer is busy: for the end of its batch if records wait for it, otherwise for a record.

Without records, the end of the batch is noticed within this time.
"""

PAUSE_AFTER_SECONDS: Final = 5.0
"""Seconds a full batch waits for the writer before fetching is paused; must be below `max.poll.interval.ms`."""

LAG_COMMIT_SECONDS: Final = 1.0
"""Seconds between two commits of offsets for lag tools: how late they see an offset that was claimed or stored."""

LAG_REPEAT_SECONDS: Final = 5.0
"""Seconds after which unchanged offsets are committed again: a commit may be lost, or reset by an operator."""

RESET_CHECK_SECONDS: Final = 5.0
"""Seconds between two queries of the stored offsets by an idle sink; a reset is noticed within this time."""


class Sink(Stage[SinkCounts]):
    """
    Consume trades and store each exactly once.

    A batch's trades, its refusals and its offsets are one database transaction,
    so a crash leaves either all of a batch or nothing of it. Offsets committed to
    Kafka only serve lag tools; they are never read.

    If Kafka, the registry or PostgreSQL is unavailable, the sink pauses and
    resumes on its own. A record that cannot be stored is kept as a refusal, with
    its bytes.

    Args:
        kafka: librdkafka properties, at least `bootstrap.servers`.

        registry: the schema registry, or its URL.

        database: a PostgreSQL URL whose database has tradepipe's tables.

        topic: the topic to read; it must not be compacted.

        group: the consumer group; offsets are stored under its name.

        subject: the registry subject whose schema versions are decoded.

        start: start position of partitions that the group never stored:
            "earliest", "latest", or the first record not older than a datetime;
            None for "earliest", without a warning if the group has offsets.

        batch_rows: maximum number of records in one transaction.

        max_refused: the share of refusals among a partition's last 1000 offsets
            above which the sink stops, before the commit; None for no limit.

        unknown_fields: "stop" at a schema version with fields that this build
            cannot hold, or "drop" those fields.

        rules: additional rules: functions from a `Trade` to a list or tuple of
            `Violation`; pure, so that a replay has the same result.

        record_key: "refuse" a record whose Kafka key is not its trade_id, or
            "accept" it: it may be out of order with the trade's other versions.

        stale: "accept" or "refuse" a version older than one of the same trade
            stored before it; exact if all versions of a trade are on one partition.

        connections: maximum number of database connections. A further one is opened
            when batches of other partitions wait.

        on_stored: called with each batch after its commit, in the thread of
            `run`; it must return quickly, and what it raises ends `run`.

    Raises:
        ConfigurationError: an argument is invalid.
    """

    _stats: SinkStats
    _reader: SinkReader

    def __init__(
        self,
        kafka: Config,
        *,
        registry: SchemaRegistry | str,
        database: str,
        topic: str = "trades",
        group: str = "tradepipe-sink",
        subject: str = "trades-value",
        start: StartPosition | None = None,
        batch_rows: int = 10_000,
        max_refused: float | None = MAX_SHARE,
        unknown_fields: UnknownFields = "stop",
        rules: Sequence[Rule] = (),
        record_key: RecordKey = "refuse",
        stale: Stale = "accept",
        connections: int = CONNECTIONS,
        on_stored: Callable[[BatchResult], None] | None = None,
    ) -> None:
        if not isinstance(batch_rows, int) or batch_rows < 1:
            raise ConfigurationError(f"batch_rows is {batch_rows!r}: it must be a whole number, at least 1")
        check_start(start)
        super().__init__(kafka, SinkStats(topic, on_stored), registry=registry, topic=topic, subject=subject)
        self._group = group
        deserializer = TradeDeserializer(self._registry, subject=subject, unknown_fields=unknown_fields)
        self._consumer = Consumer(kafka, topic=topic, group=group)
        validator = RecordValidator(deserializer, rules, record_key)
        owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(3)}"
        self._writer = SinkWriter(
            database,
            group=group,
            owner=owner,
            refusal_limit=RefusalLimit(max_refused),
            stale=stale,
            connections=connections,
        )
        self._reader = SinkReader(
            self._consumer,
            self._admin,
            validator,
            topic=topic,
            start=start or "earliest",
            batch_rows=batch_rows,
            connections=connections,
        )
        self._failure: BaseException | None = None
        self._is_start_unused = start is not None
        self._full_since: float | None = None
        self._lag_offsets: dict[int, int] = {}
        self._lag_committed_at = 0.0
        self._reset_checked_at = time.monotonic()

    @property
    def counts(self) -> SinkCounts:
        """Counts since the sink was created."""
        return self._stats.counts

    @property
    def has_batch(self) -> bool:
        """Whether records are held or being stored, which `stop` lets finish."""
        return bool(self._reader.buffered) or self._writer.has_batch

    def run(self, *, until_end: bool = False) -> SinkCounts:
        """
        Store the topic's records until `stop` is called.

        Args:
            until_end: return when the records that the topic contained at the call
                are stored, by this sink or by others of its group.

        Raises:
            ConfigurationError: an operator is needed; the message says what to do.

            TooManyRefusals: every partition exceeds the refusal limit.

            RuntimeError: the sink is running, has run or is closed.
        """
        self._run_loop(until_end)
        if self._failure is not None:
            raise self._failure
        return self.counts

    def _open(self, until_end: bool) -> None:
        self._writer.start()  # it connects meanwhile
        super()._open(until_end)

    def _close(self) -> None:
        """Finish or roll back the current batch, leave the group, and close all connections."""
        # The writer before the consumer: while the last batch is written, this member keeps its partitions, so the next
        # owner does not claim them in the middle of the batch.
        self._writer.stop(STOP_GRACE_SECONDS)
        try:
            for event in self._writer.events():
                if isinstance(event, BatchResult):
                    self._on_stored(event)
                elif isinstance(event, WriterFailed):
                    self._failure = event.error
        finally:  # the user's `on_stored` may have raised
            # Only the first time: if that failed, the consumer is closed, and the partitions are still known.
            if not self._closed:
                self._close_stats()
                self._commit_for_lag(only_if_due=False)
            self._consumer.close()
            super()._close()

    def _check_topics(self, retry: RetryForever) -> None:
        retry(KAFKA, lambda: self._admin.check_not_compacted(self._topic))

    def _run_once(self) -> None:
        # Events first: an ownership that was lost must be dropped before more records are buffered under it, and a
        # claim must be accepted before the partitions are started below.
        for event in self._writer.events():
            self._handle_event(event)
        if claims := self._reader.pending_claims():
            self._writer.claim(claims)
        self._reader.run_housekeeping()
        is_writing = self._hand_over_batches()
        self._read(is_writing=is_writing)
        self._commit_for_lag(only_if_due=True)
        self._update_stats_if_due()

    def _update_stats(self) -> None:
        super()._update_stats()
        self._stats.log_more_collisions()

    def _handle_event(self, event: Event) -> None:
        match event:
            case BatchResult():
                self._on_stored(event)
            case ClaimGranted():
                self._stats.record_claim()
                self._record_progress({event.claim.assignment.partition: event.result.next_offset})
                self._warn_of_unused_start(event)
                self._reader.accept_claim(event)
            case OwnershipLost():
                self._stats.record_fence()
                self._reader.drop_ownership(event.ownership)
            case RangeDropped():
                self._reader.stop_rejected(event)
            case GroupProgress():
                self._record_progress(event.next_offsets)
                self._reader.detect_reset(event.next_offsets)
            case DatabaseDown():
                self._stats.record_outage(event.reason)
            case DatabaseUp():
                self._stats.record_recovery(event.seconds)
            case WriterFailed():
                raise event.error

    def _warn_of_unused_start(self, granted: ClaimGranted) -> None:
        """Warn at the first claim if a start position was given, but the group has offsets from earlier runs."""
        if self._is_start_unused and granted.result.ownership.epoch > FIRST_EPOCH:
            logger.warning(
                "the group %s has stored offsets of topic %s, so the start position is not used; to move them: "
                "tradepipe sink offsets reset --topic %s --group %s --to earliest|latest|TIME|NUMBER",
                self._group,
                self._topic,
                self._topic,
                self._group,
            )
        # Later claims in this run follow rebalances: then the offsets are those of this run.
        self._is_start_unused = False

    def _on_stored(self, stored: BatchResult) -> None:
        if self._end_of_log is not None:
            self._end_of_log.update({each.ownership.partition: each.end for each in stored.batch.ranges})
        self._reader.confirm_stored(stored.batch.ranges)
        self._stats.record_stored_batch(stored)

    def _commit_for_lag(self, *, only_if_due: bool) -> None:
        elapsed = time.monotonic() - self._lag_committed_at
        if only_if_due and elapsed < LAG_COMMIT_SECONDS:
            return
        offsets = self._reader.done_offsets
        if only_if_due and elapsed < LAG_REPEAT_SECONDS and offsets == self._lag_offsets:
            return
        self._lag_offsets, self._lag_committed_at = offsets, time.monotonic()
        self._consumer.commit_for_lag(offsets)

    def _hand_over_batches(self) -> bool:
        """Give each idle connection a batch; return whether the writer has something to do now."""
        while idle := self._writer.idle_connections:
            batch = self._reader.take_batch(without=self._writer.partitions, connections=idle)
            if batch is None:
                break
            self._writer.store(batch)
        if self._writer.is_busy:
            return True
        if self._reader.unsupported_schema is not None:
            # Only now: the writer has stored every record before the one with that schema.
            raise self._reader.unsupported_schema
        # The stored offsets show the end of the log, or a reset by an operator.
        now = time.monotonic()
        if self._end_of_log is not None:
            is_due = self._end_of_log.should_query(self.waiting_for)
        else:
            is_due = now - self._reset_checked_at >= RESET_CHECK_SECONDS
            self._reset_checked_at = now if is_due else self._reset_checked_at
        if is_due:
            self._writer.request_progress(self._topic)
        return is_due

    def _read(self, *, is_writing: bool) -> None:
        # Records that are read already wait for the end of a batch, not for further records; those that come meanwhile
        # are stored with them.
        waits_for_writer, consumed = is_writing and self._reader.buffered > 0, self._reader.consumed
        timeout = BUSY_POLL_SECONDS if is_writing else IDLE_POLL_SECONDS
        if self._reader.read(0.0 if waits_for_writer else timeout):
            self._full_since = None
            if waits_for_writer and self._reader.consumed == consumed:
                self._writer.wait(timeout)
                self._reader.read(0.0)
            return
        # Wait for the writer without polling for as long as the group allows it; then pause once and poll.
        now = time.monotonic()
        self._full_since = self._full_since or now
        if self._reader.is_paused:
            self._reader.read_some(1, IDLE_POLL_SECONDS)
        elif now - self._full_since > PAUSE_AFTER_SECONDS:
            # Once, not in each turn: a pause discards what librdkafka has fetched ahead.
            self._reader.pause()
        else:
            self._writer.wait(IDLE_POLL_SECONDS)

    @property
    def _kafka_problem(self) -> Unavailable | None:
        return self._reader.kafka_problem

    def _is_idle(self) -> bool:
        return not self._writer.is_busy and not self._reader.buffered

    def _should_keep_waiting(self) -> bool:
        """Handle events of the writer while waiting for a service; return False once the stage is to stop."""
        for event in self._writer.events():
            self._handle_event(event)
        return super()._should_keep_waiting()
