"""Reader of the validator: polls from the committed offsets and validates."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tradepipe.errors import BrokerUnavailable, ConfigurationError, OffsetOutOfRange, Unavailable
from tradepipe.kafka.admin import TopicAdmin, Watermarks
from tradepipe.kafka.assignment import Assignment
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.failures import Confirmation
from tradepipe.outage import Backoff
from tradepipe.pipeline.partitions import (
    MAX_POLL_RECORDS,
    PartitionReader,
    PartitionState,
    StartPosition,
    start_offsets,
    warn_of_dropped_records,
)
from tradepipe.pipeline.refusal_limit import RecentRefusals
from tradepipe.pipeline.validator_buffer import ValidatorBatch, ValidatorBuffer
from tradepipe.pipeline.validator_outputs import OutputTopics

logger = logging.getLogger(__name__)


AHEAD_RECORDS: Final = 500
"""Records polled at once while a transaction is in flight."""

AHEAD_WAIT_SECONDS: Final = 0.001
"""Seconds between two looks at a transaction while nothing can be done ahead."""

AHEAD_POLL_SECONDS: Final = 0.005
"""Seconds to wait for a record while a transaction is in flight; also how late its end is noticed."""


@dataclass(slots=True)
class ValidatorPartition(PartitionState):
    """An assigned partition; `committed` is the group's committed offset, None until it was queried."""

    committed: int | None = None

    @property
    def has_start_offset(self) -> bool:
        """Whether the committed offset is known."""
        return self.committed is not None


class ValidatorReader(PartitionReader[ValidatorPartition]):
    """
    Read the assigned partitions into the buffer.

    Records of a revoked partition are dropped: its next owner reads them again.

    Args:
        start: start position of a partition without a committed offset; None
            means its first record, provided that the output topics are empty.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: TopicAdmin,
        buffer: ValidatorBuffer,
        outputs: OutputTopics,
        recent_refusals: RecentRefusals,
        *,
        topic: str,
        start: StartPosition | None,
    ) -> None:
        super().__init__(consumer, topics, topic=topic, reset=reset_instructions(topic, consumer.group))
        self._buffer = buffer
        self._outputs = outputs
        self._recent_refusals = recent_refusals
        self._start = start
        self._backoff = Backoff()
        self.kafka_problem: Unavailable | None = None
        """Why Kafka does not let this reader determine its start offsets."""
        self._confirm = Confirmation()
        self._unresolved_batch: ValidatorBatch | None = None
        self._first_timestamp: float | None = None
        self.caught_up = True
        """Whether the last poll returned all records there were."""

    def read(self, limit: int, timeout: float) -> None:
        """
        Poll and validate at most `limit` records.

        Args:
            timeout: seconds to wait for the first record.

        Raises:
            ConfigurationError: the brokers deny access, an offset is outside the log, or a user's rule is broken.
        """
        self.poll(min(limit, MAX_POLL_RECORDS), timeout)
        self.validate()

    def poll(self, limit: int, timeout: float) -> int:
        """
        Poll records without validating them, and return how many; raises as `read`.

        Positions and batches ignore them until `validate`.
        """
        records = self._poll(limit, timeout)
        self.caught_up = len(records) < limit
        self._buffer.pending.extend(records)
        return len(records)

    def validate(self) -> None:
        """Validate the polled records."""
        if self._buffer.started_at is None:
            self._first_timestamp = self._consumer.first_timestamp
        if self._buffer.pending:
            rest, error = self._buffer.validate()
            if error is not None:
                self._requeue(rest, error)
        self._update_positions()

    def work_ahead(self, is_over: Callable[[], bool], may_poll: Callable[[], bool]) -> None:
        """
        Validate and read records of the next batch while the brokers write one.

        Does not raise. Positions and batches ignore the records until `validate`.
        """
        while not is_over():
            polls = may_poll()
            if self._buffer.pending and self._buffer.validate_ahead():
                continue
            if not polls:
                while not is_over() and not may_poll():
                    time.sleep(AHEAD_WAIT_SECONDS)
                continue
            if not self._buffer.takes_more_ahead or self.unsupported_schema is not None:
                break
            with suppress(ConfigurationError):  # raised again by the next poll
                if self.poll(AHEAD_RECORDS, AHEAD_POLL_SECONDS):
                    if self._buffer.started_at is None:
                        self._first_timestamp = self._consumer.first_timestamp
                    continue
            break

    def run_housekeeping(self) -> ValidatorBatch | None:
        """
        Start to read new partitions and those whose wait is over, and check the topic's id.

        Returns:
            The batch of an interrupted transaction, once it is known to be committed.

        Raises:
            ConfigurationError: an operator has to choose the start offset, or the topic was recreated.
        """
        resolved = self._locate_partitions() if self._backoff.is_due else None
        self._start_partitions()
        self.topic_id_watch.poll()
        return resolved

    def take_batch(self) -> ValidatorBatch:
        """Remove and return the validated records; `TooManyRefusals` if every partition exceeds the refusal limit."""
        # The next batch begins with records that are polled already, if there are any.
        first_timestamp, self._first_timestamp = self._first_timestamp, self._consumer.first_timestamp
        batch = self._buffer.take_batch(self.uncommitted_offsets(), first_timestamp)
        for number, error in batch.exceeded.items():
            # Its records are dropped: no batch and no idle commit must cover them.
            self._states[number].position = 0
            self._stop_at_limit(number, error)
        return batch

    def uncommitted_offsets(self) -> dict[int, int]:
        """Return the position of each partition that is ahead of its committed offset."""
        return {
            number: each.position
            for number, each in self._states.items()
            if each.committed is not None and each.position > each.committed
        }

    def record_commit(self, offsets: Mapping[int, int]) -> None:
        """Record that these offsets are committed."""
        for number, offset in offsets.items():
            partition = self._states.get(number)
            if partition is not None and partition.committed is not None:
                partition.committed = offset
                partition.backoff.failures = 0

    def rewind_to_committed(self, interrupted: ValidatorBatch | None) -> None:
        """
        Read all partitions again from their committed offsets.

        Args:
            interrupted: a batch whose outcome is unknown; the committed offsets will show it.
        """
        self._unresolved_batch = interrupted
        # The record with the unsupported schema is read again too, after the valid ones before it.
        self.unsupported_schema = None
        # Every partition, also those the batch did not touch: their buffered records are dropped with the others, and
        # reading from the committed offset is right in each case.
        for number, partition in self._states.items():
            self._stop_partition(number)
            partition.committed = None

    @property
    def done_offsets(self) -> dict[int, int]:
        """The committed offset of each partition where it is known."""
        return {number: each.committed for number, each in self._states.items() if each.committed is not None}

    def committed_offsets(self) -> dict[int, int]:
        """Query the group's committed offsets of all partitions; raises as `Consumer.committed`."""
        return self._consumer.committed({*range(self._partition_count), *self._states})

    def _create_state(self, assignment: Assignment) -> ValidatorPartition:
        return ValidatorPartition(assignment)

    def _drop(self, number: int) -> None:
        self._buffer.drop(number)

    def _locate_partitions(self) -> ValidatorBatch | None:
        """
        Query the committed offsets of new and of rewound partitions, and set their positions.

        Returns the batch of the interrupted transaction if it was committed.
        """
        waiting = [number for number, each in self._states.items() if each.committed is None]
        if not waiting:
            self.kafka_problem = None
            return None
        try:
            committed = self._confirm(lambda: self._offsets(waiting))
        except Unavailable as error:
            self._backoff.next_delay()
            self.kafka_problem = error
            return None
        self.kafka_problem = None
        self._backoff.reset()
        for number in waiting:
            partition = self._states[number]
            partition.committed = partition.position = committed[number]
            logger.info("reading %s[%d] from offset %d", self._topic, number, committed[number])
        # A transaction is all or nothing, so the offsets of the partitions that are still assigned decide. With none
        # left, the next owner starts where it ended.
        batch, self._unresolved_batch = self._unresolved_batch, None
        if batch is None:
            return None
        # At least, not exactly: another member may have committed more of a partition that moved and came back.
        assigned = [number for number in batch.offsets if number in self._states]
        return batch if assigned and all(committed[number] >= batch.offsets[number] for number in assigned) else None

    def _offsets(self, waiting: Sequence[int]) -> dict[int, int]:
        """Return the committed offsets; commit the start offset of a partition that has none."""
        committed = self.committed_offsets()
        extents = self._topics.watermarks(self._topic, waiting)
        if new := [number for number in waiting if number not in committed]:
            if not committed and self._start is None:
                self._check_new_group()
            new_extents = {number: extents[number] for number in new}
            starts = start_offsets(self._start or "earliest", self._topics, self._topic, new_extents)
            # Before anything is written: after a crash in the first transaction, the outputs may hold records while no
            # offset is committed, and `_check_new_group` would refuse to start.
            self._consumer.commit(starts)
            for number, offset in starts.items():
                if self._start in (None, "earliest") and offset > 0:
                    warn_of_dropped_records(self._consumer.group, self._topic, number, offset)
            committed |= starts
            # A group that starts late has not seen earlier records: they are no part of its refusal window.
            extents |= {number: extent._replace(low=starts[number]) for number, extent in new_extents.items()}
        for number in waiting:
            self._check_in_log(number, committed[number], extents[number])
        # Before the positions are set: no record may be validated while its refusal window is empty.
        self._recent_refusals.load(waiting, committed, extents)
        return committed

    def _check_new_group(self) -> None:
        """Distinguish a group that has never validated a record from one whose offsets Kafka has expired."""
        if self._outputs.are_empty():
            return
        if self.committed_offsets():  # another member committed its start between the two queries
            raise BrokerUnavailable(f"group {self._consumer.group} is committing its start offsets")
        raise ConfigurationError(
            f"group {self._consumer.group} has no committed offsets of topic {self._topic}, but {self._outputs.clean} "
            f"or {self._outputs.dead_letters} holds records: Kafka deletes the offsets of a group that is idle for "
            f"long, and starting at the first record again would write all records twice. Choose the start: "
            f"--start earliest|latest|TIME, or name empty topics"
        )

    def _check_in_log(self, number: int, committed: int, extent: Watermarks) -> None:
        if not extent.low <= committed <= extent.high:
            raise OffsetOutOfRange(
                f"the committed offset of {self._topic}[{number}] is {committed}, but its log reaches from "
                f"{extent.low} to {extent.high}: records were dropped before they were validated, or the topic was "
                f"recreated; {reset_instructions(self._topic, self._consumer.group, number)}"
            )


def reset_instructions(topic: str, group: str, partition: int | None = None) -> str:
    """Return the command that resets a group's offsets, for error messages."""
    target = topic if partition is None else f"{topic}:{partition}"
    return (
        f"stop the validators of the group and choose where they resume: kafka-consumer-groups.sh --group {group} "
        f"--topic {target} --reset-offsets --to-earliest --execute (or --to-latest, --to-offset N, --to-datetime TIME)"
    )
