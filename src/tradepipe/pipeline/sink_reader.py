"""The reader thread's side of a sink: claimed partitions, and validated records in a buffer for the writer."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from tradepipe.errors import OffsetOutOfRange, Unavailable
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.assignment import Assignment
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.failures import Confirmation
from tradepipe.outage import Backoff
from tradepipe.pipeline.partitions import (
    MAX_BATCH_BYTES,
    MAX_POLL_RECORDS,
    PartitionReader,
    PartitionState,
    StartPosition,
    start_offsets,
    warn_of_dropped_records,
)
from tradepipe.pipeline.sink_writer import Claim, ClaimGranted
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.postgres.batch import Batch
from tradepipe.postgres.offsets import OffsetRange, Ownership
from tradepipe.postgres.sink_store import RangeDropped
from tradepipe.trade.validated import ValidatedRecords

logger = logging.getLogger(__name__)

FENCED_OFTEN: Final = 3

DIVIDED_RECORDS: Final = 1_000
"""Records from which on several connections store them: fewer are stored sooner by one transaction after the other."""

_POSITIONS: Final = "earliest|latest|TIME|NUMBER"


@dataclass(slots=True)
class SinkPartition(PartitionState):
    """
    Read state of one assigned partition, which is claimed first.

    `stored_offset` is the next offset in the database, `queued_offset` the one up
    to which the writer has all records, `queued_topic_id` the topic's id in the last
    batch. `buffer` holds the records behind the queued offset, whose first was produced
    at the Unix time `first_timestamp`, if that is known. A claim is requested until its
    ownership ends.
    """

    buffer: ValidatedRecords = field(kw_only=True)
    first_timestamp: float | None = None
    queued_topic_id: str | None = None
    ownership: Ownership | None = None
    claim_requested: bool = False
    stored_offset: int = 0
    queued_offset: int = 0

    @property
    def has_start_offset(self) -> bool:
        """True once the partition is claimed: the claim returns the offset to read from."""
        return self.ownership is not None

    def take(self, limit: int, *, into: ValidatedRecords) -> OffsetRange:
        """Move up to `limit` buffered records, at least one, into a batch; return the offsets that it covers."""
        assert self.ownership is not None
        start, self.queued_offset = self.queued_offset, self.position
        taken, self.buffer = self.buffer, self.buffer[limit:]
        if self.buffer:
            taken = taken[:limit]
            self.queued_offset = taken.records.runs[-1].end
        into.add_all(taken)
        return OffsetRange(self.ownership, start, self.queued_offset)


class SinkReader(PartitionReader[SinkPartition]):
    """
    Claims partitions, reads and validates their records, and buffers them for the writer.

    Only records of claimed partitions are buffered. Records of a revoked partition
    are dropped: its next owner reads them.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: TopicAdmin,
        validator: RecordValidator,
        *,
        topic: str,
        start: StartPosition,
        batch_rows: int,
        connections: int = 1,
    ) -> None:
        self._reset = f"tradepipe sink offsets reset --topic {topic} --group {consumer.group}"
        reset = f"choose where to resume: {self._reset} --to {_POSITIONS}"
        super().__init__(consumer, topics, topic=topic, reset=reset)
        self._validator = validator
        self._start = start
        self._batch_rows = batch_rows
        self._buffer_rows = connections * batch_rows
        self._buffer_bytes = MAX_BATCH_BYTES // connections
        self._claim_backoff = Backoff()
        self._claim_problem: Unavailable | None = None
        # The topic was described successfully before the group is joined.
        self._confirm_claims = Confirmation(has_succeeded=True)
        self._confirm_offsets: defaultdict[int, Confirmation] = defaultdict(Confirmation)

    @property
    def buffered(self) -> int:
        """Number of validated records in the buffers."""
        return sum(len(each.buffer) for each in self._states.values())

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the keys and values that were read for the buffers."""
        return sum(each.buffer.payload_bytes for each in self._states.values())

    @property
    def free(self) -> int:
        """Records that the buffers still take; 0 at an unsupported schema, whose record ends the last batch."""
        if self.unsupported_schema is not None or self.buffered_bytes >= self._buffer_bytes:
            return 0
        # They may hold more: a poll can return an unreadable batch beside the records that were asked for.
        return max(0, self._buffer_rows - self.buffered)

    @property
    def kafka_problem(self) -> Unavailable | None:
        """Why Kafka does not let this reader claim its partitions."""
        return None if all(each.ownership for each in self._states.values()) else self._claim_problem

    def read(self, timeout: float) -> bool:
        """
        Read and validate as many records as the batch takes; wait up to `timeout` seconds for the first.

        If the batch takes no more, return False and read nothing. Raises as `read_some`.
        """
        free = self.free
        if not free:
            return False
        if self.is_paused:
            self.resume()
        self.read_some(free, timeout)
        return True

    def read_some(self, limit: int, timeout: float) -> None:
        """
        Read and validate at most `limit` records, whatever the batch takes; wait up to `timeout` seconds for the first.

        Raises:
            ConfigurationError: the brokers refuse the consumer, or the log was truncated.
        """
        records = self._poll(min(limit, MAX_POLL_RECORDS), timeout)
        start = 0
        for run in records.runs:
            partition = self._states[run.partition]
            if not partition.buffer:
                partition.first_timestamp = self._consumer.first_timestamp
            count, error = self._validator.validate_all(run, partition.buffer)
            if error is not None:
                self._requeue(records[start + count :], error)
                break
            start += count
        if self.unsupported_schema is not None:
            self.pause()
        self._update_positions()

    def take_batch(self, *, without: Set[int] = frozenset(), connections: int = 1) -> Batch | None:
        """
        Empty buffers into the next batch; return None if there is nothing to store.

        If the topic's id became known since a partition's last batch, the partition
        has a range, which stores the id even without records.

        Args:
            without: partitions whose last batch is not stored yet; only many records are stored beside it.

            connections: how many batches can be stored now; many records are divided among them by partition.
        """
        topic_id = self.topic_id_watch.topic_id
        ready = [
            each
            for number, each in self._states.items()
            if each.ownership is not None
            and number not in without
            and (each.queued_topic_id != topic_id or each.position > each.queued_offset)
        ]
        are_many = sum(len(each.buffer) for each in ready) >= DIVIDED_RECORDS
        if not ready or (without and not are_many):
            return None
        if connections > 1 and are_many:
            ready = sorted(ready, key=lambda each: len(each.buffer), reverse=True)[::connections]
        ranges, records = [], ValidatedRecords(self._validator.trade)
        timestamps = [each.first_timestamp for each in ready if each.buffer and each.first_timestamp is not None]
        for partition in ready:
            if len(records) == self._batch_rows:
                break
            partition.queued_topic_id = topic_id
            ranges.append(partition.take(self._batch_rows - len(records), into=records))
        return Batch(
            self._consumer.group, topic_id, tuple(ranges), records, first_timestamp=min(timestamps, default=None)
        )

    def pending_claims(self) -> list[Claim]:
        """Return the claims to queue now, one per assignment or lost ownership; error if the topic was recreated."""
        waiting = [each for each in self._states.values() if not each.claim_requested and each.backoff.is_due]
        if not waiting or not self._claim_backoff.is_due:
            return []

        def build_claims() -> list[Claim]:
            numbers = [partition.assignment.partition for partition in waiting]
            extents = self._topics.watermarks(self._topic, numbers)
            starts = start_offsets(self._start, self._topics, self._topic, extents)
            topic_id = self.topic_id_watch.topic_id
            return [
                Claim(partition.assignment, self._topic, topic_id, starts[number], extents[number].low)
                for number, partition in zip(numbers, waiting, strict=True)
            ]

        try:
            described = self._confirm_claims(lambda: self._topics.describe(self._topic))
            # Not among the errors to confirm: an id never comes back, and no record of another topic may be read.
            self.topic_id_watch.check(described.topic_id)
            claims = self._confirm_claims(build_claims)
        except Unavailable as error:
            self._claim_backoff.next_delay()
            self._claim_problem = error
            return []
        self._claim_problem = None
        self._claim_backoff.reset()
        for partition in waiting:
            partition.claim_requested = True
        return claims

    def accept_claim(self, granted: ClaimGranted) -> None:
        """Start a claimed partition that is still assigned; an offset outside the log is an `OffsetOutOfRange`."""
        number = granted.claim.assignment.partition
        partition = self._states.get(number)
        # The claim was queued behind a batch, and the group may have moved the partition since. The claim does no harm:
        # that of the next owner is later and gets a higher epoch.
        if partition is None or partition.assignment != granted.claim.assignment:
            return
        ownership, next_offset = granted.result
        try:
            self._confirm_offsets[number](lambda: self._check_in_log(number, next_offset))
        except Unavailable as error:
            partition.claim_requested = False
            partition.backoff.next_delay()
            self._claim_problem = error
            return
        # Only the state changes here; `_start_partitions` seeks and resumes. In between nothing can be delivered, so
        # the first record under this epoch is the one at `next_offset`.
        partition.ownership = ownership
        partition.stored_offset = partition.queued_offset = partition.position = next_offset
        partition.backoff.retry_at = 0.0
        # If the claim stored no id, the next batch does, once it is known.
        partition.queued_topic_id = granted.claim.topic_id
        # The first claim of a group that never stored the partition.
        if ownership.epoch == 1 and self._start == "earliest" and next_offset > 0:
            warn_of_dropped_records(self._consumer.group, self._topic, number, next_offset)
        logger.info("claimed %s[%d] from offset %d, epoch %d", self._topic, number, next_offset, ownership.epoch)

    def drop_ownership(self, ownership: Ownership) -> None:
        """Drop the records read under an ownership that has ended, and claim the partition again after a back-off."""
        partition = self._states.get(ownership.partition)
        # An older epoch: this sink has claimed the partition again meanwhile, and the new ownership is not affected.
        if partition is None or partition.ownership != ownership:
            return
        self._stop_partition(ownership.partition)
        partition.ownership, partition.claim_requested = None, False
        partition.backoff.next_delay()
        level = logging.ERROR if partition.backoff.failures >= FENCED_OFTEN else logging.WARNING
        logger.log(
            level,
            "%s[%d] was claimed by another sink, or its offset was reset (%d times by now); if this repeats, two "
            "consumer groups with the same name store into this database",
            self._topic,
            ownership.partition,
            partition.backoff.failures,
        )

    def stop_rejected(self, dropped: RangeDropped) -> None:
        """Stop a partition whose records were rejected; raise the reason if it was the last one."""
        partition = self._states.get(dropped.ownership.partition)
        if partition is not None and partition.ownership == dropped.ownership:
            partition.queued_offset = partition.position = partition.stored_offset
            self._stop_at_limit(dropped.ownership.partition, dropped.reason)

    def detect_reset(self, next_offsets: Mapping[int, int]) -> None:
        """
        Compare the stored offsets with what this sink stored; a difference means that an offset was reset.

        A sink without records to store would not notice a reset otherwise.
        """
        for number, partition in list(self._states.items()):
            if (
                partition.ownership is not None
                and next_offsets.get(number, partition.stored_offset) != partition.stored_offset
            ):
                self.drop_ownership(partition.ownership)

    def confirm_stored(self, ranges: Sequence[OffsetRange]) -> None:
        """Note stored offset ranges."""
        for stored in ranges:
            partition = self._states.get(stored.ownership.partition)
            # A batch may be committed after its partition was revoked: then the next owner reports the position.
            if partition is not None and partition.ownership == stored.ownership:
                partition.backoff.failures = 0
                partition.stored_offset = stored.end

    @property
    def done_offsets(self) -> dict[int, int]:
        """The stored offset of each claimed partition."""
        return {number: each.stored_offset for number, each in self._states.items() if each.ownership is not None}

    def run_housekeeping(self) -> None:
        """Start partitions that were claimed or whose back-off has passed; `TopicUnusable` for a recreated topic."""
        self._start_partitions()
        self.topic_id_watch.poll()

    def _create_state(self, assignment: Assignment) -> SinkPartition:
        return SinkPartition(assignment, buffer=ValidatedRecords(self._validator.trade))

    def _drop(self, number: int) -> None:
        # A partition that is no longer assigned has no state, and no buffer.
        if partition := self._states.get(number):
            partition.buffer = ValidatedRecords(self._validator.trade)

    def _check_in_log(self, number: int, next_offset: int) -> None:
        begin, end = self._topics.watermarks(self._topic, [number])[number]
        if begin <= next_offset <= end:
            return
        lost = (
            f"{begin - next_offset} records were dropped before they were stored"
            if next_offset < begin
            else "the log ends before the stored offset: the topic was restored or its broker lost records"
        )
        raise OffsetOutOfRange(
            f"the stored offset of {self._topic}[{number}] is {next_offset}, but its log reaches from {begin} to "
            f"{end}: {lost}; choose where to resume: {self._reset} --partition {number} --to {_POSITIONS}"
        )
