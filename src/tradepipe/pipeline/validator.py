"""The validator: valid records to one topic, all others as dead letters to another."""

import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Final, Literal, get_args

from tradepipe.codec.admission import UnknownFields
from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka.admin import Topic
from tradepipe.kafka.config import Config, without_producer_keys
from tradepipe.kafka.consumer import Consumer
from tradepipe.pipeline.partitions import StartPosition
from tradepipe.pipeline.refusal_limit import MAX_SHARE, RecentRefusals, RefusalLimit
from tradepipe.pipeline.retry import RetryForever
from tradepipe.pipeline.stage import IDLE_POLL_SECONDS, MAX_BATCH_BYTES, UNASSIGNED_POLL_SECONDS, Stage
from tradepipe.pipeline.stats import KAFKA, REGISTRY, ValidatorCounts, ValidatorStats
from tradepipe.pipeline.validation import RecordKey, RecordValidator, Rule
from tradepipe.pipeline.validator_buffer import ValidatorBatch, ValidatorBuffer
from tradepipe.pipeline.validator_outputs import OutputTopics, OutputWriter
from tradepipe.pipeline.validator_reader import ValidatorReader, reset_instructions
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.serde import TradeDeserializer

logger = logging.getLogger(__name__)

DeliveryGuarantee = Literal["exactly_once", "at_least_once"]
"""Whether records and offsets are one transaction, or the offsets follow."""

BATCH_RECORDS: Final = 10_000
"""Records in one transaction at most: what a transaction costs is the same for all of them."""

PREFETCH_RECORDS: Final = 3_000
"""Records of the next batch, read before a transaction and judged while the brokers take it in: about so long."""

PREFETCH_VALIDATE_SECONDS: Final = 0.05
"""How long they are judged meanwhile: a transaction does not wait for slow rules of the user's own."""

BATCH_LINGER_SECONDS: Final = 0.05
"""Seconds a batch that is not full waits for more records: a transaction leaves markers in every topic."""

BATCH_MAX_SECONDS: Final = 0.5
"""Seconds it waits while records keep coming: behind a backlog it is full before."""

IDLE_COMMIT_INTERVAL: Final = 0.5
"""Seconds between two commits of an idle validator, for offsets at which the log holds no record."""


class Validator(Stage[ValidatorCounts]):
    """
    Sort records: valid ones into one topic, refused ones as dead letters into another.

    What a batch writes and the offsets it was read from are one Kafka
    transaction, so that whoever reads committed records finds each in exactly
    one of the two topics, once. Key, value, timestamp and headers pass
    unchanged; a dead letter has the reasons in headers of its own.

    A part that is away pauses the validator, which goes on by itself when the
    part is back; no record is refused for it.

    Args:
        kafka: librdkafka's properties, `bootstrap.servers` at least.

        registry: the schema registry, or its URL.

        topic: what to read; not compacted.

        clean: where valid records go.

        dead_letters: where the others go.

        group: the consumer group; its committed offsets say how far it is.

        subject: whose versions are decoded.

        rules: of the user's own, beside ours: functions from a `Trade` to a list
            or tuple of `Violation`; pure, so that a record that is read again
            goes where it went.

        record_key: "refuse" a record whose Kafka key is not its trade_id, or
            "accept" it.

        delivery: "exactly_once", or "at_least_once" without transactions: then
            a crash may leave records in the topics twice.

        start: where to begin with a partition without a committed offset:
            "earliest", "latest", or the first record not older than a datetime.
            None begins with the first record if both targets are empty.

        transactional_id: of this process alone; made up if not given.

        batch_records: how many records one transaction writes at most.

        max_refused: the share of refusals among a partition's last 1000 offsets
            above which the validator stops, before the commit; None for no ceiling.

        unknown_fields: "stop" at a schema version that has more than this build
            can hold, or "drop": judge by what it knows.

    Raises:
        ConfigurationError: an argument cannot be.
    """

    _stats: ValidatorStats

    def __init__(
        self,
        kafka: Config,
        *,
        registry: SchemaRegistry | str,
        topic: str = "trades",
        clean: str = "trades.clean",
        dead_letters: str = "trades.dlq",
        group: str = "tradepipe-validator",
        subject: str = "trades-value",
        rules: Sequence[Rule] = (),
        record_key: RecordKey = "refuse",
        delivery: DeliveryGuarantee = "exactly_once",
        start: StartPosition | None = None,
        transactional_id: str | None = None,
        batch_records: int = BATCH_RECORDS,
        max_refused: float | None = MAX_SHARE,
        unknown_fields: UnknownFields = "stop",
    ) -> None:
        _check_arguments(delivery, batch_records, transactional_id)
        super().__init__(kafka, ValidatorStats(topic), registry=registry, topic=topic, subject=subject)
        self._batch_records = batch_records
        self._targets = OutputTopics(self._admin, source=topic, clean=clean, dead_letters=dead_letters)
        for_reading = without_producer_keys(kafka)
        self._consumer = Consumer(
            for_reading,
            topic=topic,
            group=group,
            with_headers=True,
            reset_instructions=lambda number: reset_instructions(topic, group, number),
        )
        self._refusal_limit = RefusalLimit(max_refused)
        deserializer = TradeDeserializer(self._registry, subject=subject, unknown_fields=unknown_fields)
        self._buffer = ValidatorBuffer(RecordValidator(deserializer, rules, record_key), self._refusal_limit)
        past = RecentRefusals(
            for_reading, self._admin, self._refusal_limit, topic=topic, group=group, dead_letters=dead_letters
        )
        self._reader = ValidatorReader(
            self._consumer, self._admin, self._buffer, self._targets, past, topic=topic, start=start
        )
        given = transactional_id or _generate_transactional_id(group)
        self._outputs = OutputWriter(
            dict(kafka),
            self._consumer,
            self._targets,
            topic=topic,
            transactional_id=given if delivery == "exactly_once" else None,
        )
        self._idle_due = 0.0
        self._held_since: float | None = None

    @property
    def counts(self) -> ValidatorCounts:
        """What has been done since the validator began."""
        return self._stats.counts

    @property
    def is_ready(self) -> bool:
        """Whether records can be sorted: the group has answered, and no part has been away for a minute."""
        return self._reader.is_ready and self._stats.is_healthy

    def run(self, *, until_end: bool = False) -> ValidatorCounts:
        """
        Sort what the topic holds, and what comes, until `stop`.

        Args:
            until_end: return when all that the topic held at the call is sorted,
                by this validator or by others of its group.

        Raises:
            ConfigurationError: an operator is needed; the message says what to do.

            TooManyRefusals: too many records would be refused.
        """
        self._run_loop(until_end)
        return self.counts

    def close(self) -> None:
        """Leave the group, let go of all connections; what is not committed is read again by whoever comes next."""
        self._stopping = True
        self._close_stats()
        self._outputs.close()
        self._consumer.close()
        super().close()

    def _check_topics(self, retry: RetryForever) -> None:
        self._outputs.set_limits(retry(KAFKA, self._targets.check))

    def _join_group(self, description: Topic) -> None:
        self._reader.open(description)

    def _run_once(self) -> None:
        now = time.monotonic()
        self._outputs.connect()  # first: offsets are not told before what was open under our id is settled
        self._stats.set_waiting(KAFKA, waiting=not self._outputs.is_open)
        if (settled := self._reader.run_housekeeping()) is not None:
            self._on_committed(settled)
        self._read(now)
        if self._is_due():
            self._write()
        elif not self._buffer and now >= self._idle_due:
            self._commit_positions(now)
        self._update_stats_if_due()

    def _read(self, now: float) -> None:
        if not self._buffer:
            self._held_since = None
        room = self._batch_records - len(self._buffer)
        if room <= 0 or self._buffer.bytes >= MAX_BATCH_BYTES or self._reader.unsupported_schema is not None:
            self._poll_while_blocked()
            return
        if self._reader.is_paused:
            self._reader.resume()
        patience = IDLE_POLL_SECONDS if self._reader.is_reading else UNASSIGNED_POLL_SECONDS
        if self._held_since is not None:
            patience = (
                max(0.0, self._held_since + BATCH_LINGER_SECONDS - now)
                if self._outputs.is_ready
                else UNASSIGNED_POLL_SECONDS
            )
        self._stats.record_poll(self._reader.read(room, patience))
        self._note_batch_start()

    def _poll_while_blocked(self) -> None:
        """Poll without reading where a full batch cannot be written yet: the group gives up who does not poll."""
        if not self._outputs.is_ready:
            self._reader.pause()
            self._reader.read(1, UNASSIGNED_POLL_SECONDS)

    def _is_due(self) -> bool:
        if not self._outputs.is_ready:
            return False
        if self._reader.unsupported_schema is not None:
            return True
        full = len(self._buffer) >= self._batch_records or self._buffer.bytes >= MAX_BATCH_BYTES
        held = 0.0 if self._held_since is None else time.monotonic() - self._held_since
        return full or held >= (BATCH_LINGER_SECONDS if self._reader.caught_up else BATCH_MAX_SECONDS)

    def _write(self) -> None:
        """
        Write what is held, in one transaction.

        No poll lies between the look at what is ours and the end of the
        transaction, so nothing can be taken away in between without the group
        refusing the offsets. What is polled right before it is judged while the
        brokers work.
        """
        unsupported = self._reader.unsupported_schema
        if unsupported is None and self._buffer.bytes < MAX_BATCH_BYTES:
            self._stats.record_poll(self._reader.fetch(min(PREFETCH_RECORDS, self._batch_records), 0.0))
        batch = self._reader.take_batch()
        self._held_since = None
        if (batch.passed or batch.refusals) and not self._write_batch(batch):
            return
        if unsupported is not None:
            raise unsupported
        self._reader.validate()
        self._note_batch_start()

    def _note_batch_start(self) -> None:
        """Note when the batch that is gathered was begun."""
        if self._buffer and self._held_since is None:
            self._held_since = time.monotonic()

    def _write_batch(self, batch: ValidatorBatch) -> bool:
        self._stats.start_batch()
        interrupted = self._outputs.write(
            batch,
            self._reader.topic_id_watch.topic_id,
            while_in_flight=lambda: self._buffer.validate_ahead(PREFETCH_VALIDATE_SECONDS),
        )
        if interrupted is None:
            self._on_committed(batch)
        else:
            self._stats.record_interruption()
            self._reader.rewind_to_committed(None if interrupted.rolled_back else batch)
        return interrupted is None

    def _on_committed(self, batch: ValidatorBatch) -> None:
        self._reader.committed(batch.offsets)
        for number, window in batch.windows.items():
            self._refusal_limit.commit(number, window)
        self._stats.record_committed_batch(len(batch.passed), batch.refusals, batch.first_timestamp)
        self._record_progress(batch.offsets)

    def _commit_positions(self, now: float) -> None:
        """Commit where the log holds no record, as behind transaction markers, so that the lag reaches zero."""
        self._idle_due = now + IDLE_COMMIT_INTERVAL
        if moved := self._reader.uncommitted_offsets():
            try:
                self._consumer.commit(moved)
            except BrokerUnavailable as error:
                logger.debug("offsets without records are committed later: %s", error)
                return
            self._reader.committed(moved)
            self._record_progress(moved)
        if self._end_of_log is not None and self._end_of_log.should_query(self.waiting_for):
            self._query_group_progress()

    def _query_group_progress(self) -> None:
        try:
            self._record_progress(self._reader.committed_offsets())
        except BrokerUnavailable as error:
            logger.debug("how far the group is can be asked later: %s", error)

    def _is_idle(self) -> bool:
        return not self._buffer

    def _update_stats(self) -> None:
        consumer, paused = self._consumer, self._reader.is_paused
        done, fetched = self._reader.watermarks()
        self._stats.set_partitions(
            len(consumer.assignments), done, self._watermarks.get(fetched, paused=paused), paused=paused
        )
        self._stats.set_producers(self._outputs.producers_created)
        self._stats.record_client_counters(
            gaps=consumer.offset_gaps, errors=consumer.errors, rebalances=consumer.rebalances
        )
        self._stats.set_waiting(REGISTRY, waiting=self._reader.waits_for_registry)


def _check_arguments(delivery: str, batch_records: int, transactional_id: str | None) -> None:
    if delivery not in get_args(DeliveryGuarantee):
        raise ConfigurationError(f"delivery is {delivery!r}: it is {' or '.join(get_args(DeliveryGuarantee))}")
    if batch_records < 1:
        raise ConfigurationError(f"batch_records is {batch_records}: a batch has at least one record")
    if transactional_id is not None and (not transactional_id or delivery != "exactly_once"):
        raise ConfigurationError(
            f"transactional_id is {transactional_id!r}: it is a name that no other process has, and goes with "
            f"delivery exactly_once only"
        )


def _generate_transactional_id(group: str) -> str:
    """An id no other process has."""
    return f"{group}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
