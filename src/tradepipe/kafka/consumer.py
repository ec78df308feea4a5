"""Consumer-group member that leaves offset storage to its caller."""

import logging
import time
from collections.abc import Iterable, Mapping
from itertools import chain, repeat
from typing import Final

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.assignment import Assignment, advance
from tradepipe.kafka.clients import create_client
from tradepipe.kafka.config import LITTLE_PREFETCH, Config, consumer_config, is_cooperative, prefetches_little
from tradepipe.kafka.consumer_errors import ConsumerErrors
from tradepipe.kafka.failures import unwrap
from tradepipe.kafka.group_offsets import commit_for_lag, commit_offsets, committed_offsets, member_metadata
from tradepipe.kafka.leaving import leave_group
from tradepipe.kafka.malformed import MalformedRecords
from tradepipe.kafka.messages import Group, read, read_group, seconds_of
from tradepipe.kafka.misnumbered import MisnumberedRecords, is_after_misnumbered, is_reset
from tradepipe.kafka.unreadable import UnreadableBatches
from tradepipe.names import check_name, check_topic
from tradepipe.trade.record import Record
from tradepipe.trade.records import Records

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT: Final = 10.0
"""Seconds for which a client that is replaced may take to leave the group."""

LEAVE_TIMEOUT: Final = 5.0
"""Seconds to leave the group at the end."""

POLL_BYTES: Final = 16 << 20
"""Bytes of keys and values and memory of headers after which a poll ends, although there are more records."""

UNCOUNTED_BYTES: Final = 8 << 20
"""Bytes of large keys and headers in a poll from which on little is prefetched: librdkafka does not count them."""

UNCOUNTED_RECORDS: Final = 1_000
"""Records of such a poll at most: with more, the keys and headers of each are small."""


class Consumer:
    """
    Read the partitions that the group assigns, each from the offset given to `start_delivery`.

    An assigned partition is paused and delivers nothing until `start_delivery`: its
    offset is not known before the partition has been claimed. Rebalances only change
    `assignments`; they happen inside `poll`, never elsewhere. If an offset is not in the
    log, the consumer joins the group again, with a new client.

    Args:
        with_headers: deliver timestamps and headers too, which takes a tenth longer.
    """

    def __init__(self, config: Config, *, topic: str, group: str, with_headers: bool = False) -> None:
        check_topic(topic)
        # librdkafka aborts the process if the group is empty.
        check_name(group, "group")
        self._with_headers = with_headers
        self._config = consumer_config(config, group=group)
        self._prefetches_little = prefetches_little(self._config)
        self._topic = topic
        self.group = group
        self._incremental = is_cooperative(config)
        self._client: confluent_kafka.Consumer | None = None
        self.assignments: dict[int, Assignment] = {}
        """The current assignments by partition; only `poll` and `close` replace or remove one."""
        malformed = MalformedRecords(self._config, topic)
        self._unreadable = UnreadableBatches(topic, malformed, self._seek, self.high_watermark)
        self._misnumbered = MisnumberedRecords(topic, incremental=self._incremental)
        self.has_joined = False
        """Whether the group has made an assignment, even an empty one."""
        self.errors = ConsumerErrors(topic)
        """What librdkafka has reported."""
        self.offset_gaps = 0
        """Offsets without a record, such as transaction markers."""
        self.rebalances = {"assign": 0, "revoke": 0}
        """Number of rebalances that assigned or revoked partitions."""
        self._has_first = False
        """Whether the first record of the last poll was read."""
        self.first_timestamp: float | None = None
        """Timestamp of the first record of the last poll, in Unix seconds; None if it has none."""

    def open(self) -> None:
        """Join the group; `ConfigurationError` if librdkafka rejects the configuration."""
        self._client = self._create_client()
        self._subscribe(self._client)

    def close(self) -> None:
        """Leave the group; its other members take over the partitions."""
        if self._client is not None:
            client, self._client = self._client, None
            self._unreadable.clear()
            leave_group(client, self._config, LEAVE_TIMEOUT)
            self.assignments.clear()

    def high_watermark(self, partition: int) -> int | None:
        """Return the high watermark at the last fetch of an assigned partition; None before the first fetch."""
        try:
            place = TopicPartition(self._topic, partition)
            watermarks = self._require_client().get_watermark_offsets(place, cached=True)
        except KafkaException:
            return None
        return watermarks[1] if watermarks and watermarks[1] >= 0 else None

    def poll(self, max_records: int, timeout: float) -> Records:
        """
        Return up to `max_records` records and any unreadable batches, each partition's in the order of offsets.

        Waits up to `timeout` seconds for the first record only: librdkafka's `consume`
        with a timeout would wait until all `max_records` have arrived.

        Raises:
            ConfigurationError: the brokers reject the consumer, and have done so for a minute.
        """
        if self.errors.rejoin_at is not None and time.monotonic() >= self.errors.rejoin_at:
            self._rejoin()
        client = self._require_client()
        records = Records()
        self._has_first, self.first_timestamp = False, None
        # Before the poll: a message fetched before the move would be taken for one from the new position.
        if self._unreadable.is_active:
            for batch in self._unreadable.step(self._position):
                self.assignments[batch.partition].next_offset = batch.last_offset + 1
                records.append(batch)
        if self._misnumbered.ended:
            self._misnumbered.restart(client, self.assignments)
        before = dict(self.assignments)
        first = client.poll(timeout)
        # Errors of the last poll, whose records have been delivered by now: their position is behind them.
        if self.errors.failure is not None:
            raise self.errors.failure
        missing, budget, uncounted, messages = max_records, POLL_BYTES, 0, [] if first is None else [first]
        while messages:
            group = read_group(
                client,
                messages,
                self._topic,
                limit=missing,
                budget=budget,
                small_slices=self._prefetches_little,
                with_headers=self._with_headers,
                one_by_one=self._unreadable.is_searching,
            )
            uncounted += group.uncounted_bytes()
            received = self._receive(group)
            if records:
                records.extend(received)
            else:
                records = received
            missing, budget = missing - len(group.records) - len(group.messages), budget - group.memory
            messages = group.following
            if not messages and group.next_slice:
                group.messages.clear()  # frees large messages before the next ones
                messages = client.consume(group.next_slice, 0)
        self._watch_uncounted(uncounted, max_records - missing)
        if self.assignments != before:
            # Revoked by this poll or between two slices: the next owner reads these records.
            kept = {each for each, state in before.items() if self.assignments.get(each) is state}
            records = Records(run for run in records.runs if run.partition in kept)
        return records

    def start_delivery(self, assignment: Assignment, offset: int) -> bool:
        """Deliver an assigned partition from `offset`; return False if that is not yet, or no longer, possible."""
        if self.assignments.get(assignment.partition) is not assignment:
            return False
        self._unreadable.drop(assignment.partition)
        if not self._seek(assignment.partition, offset):
            return False
        assignment.next_offset = offset
        self.resume([assignment.partition])
        return True

    def stop_delivery(self, partition: int) -> None:
        """Deliver nothing more of a partition until the next `start_delivery`."""
        if state := self.assignments.get(partition):
            state.next_offset = None
            self._unreadable.drop(partition)
            self.pause([partition])

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop fetching partitions; librdkafka drops its fetched records and fetches them again later."""
        if running := [each for each in partitions if each in self.assignments and not self.assignments[each].paused]:
            self._require_client().pause([TopicPartition(self._topic, partition) for partition in running])
            for partition in running:
                self.assignments[partition].paused = True

    def resume(self, partitions: Iterable[int]) -> None:
        """Fetch paused partitions again."""
        if paused := [each for each in partitions if each in self.assignments and self.assignments[each].paused]:
            self._require_client().resume([TopicPartition(self._topic, partition) for partition in paused])
            for partition in paused:
                self.assignments[partition].paused = False

    def examine(self, positions: Mapping[int, int]) -> None:
        """Search partitions that stand still at these positions, without an error, for malformed records."""
        for partition, position in positions.items():
            self._unreadable.examine(partition, position)

    def committed(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return the group's committed offsets; see `group_offsets.committed_offsets`."""
        return committed_offsets(self._require_client(), self.group, self._topic, partitions)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit offsets to Kafka and wait for the response; see `group_offsets.commit_offsets`."""
        commit_offsets(self._require_client(), self.group, self._topic, offsets)

    def group_metadata(self) -> bytes:
        """
        Return the metadata by which a transaction proves its membership of the group.

        Call it after the last poll of a batch. Brokers accept offsets without a member id
        unchecked, and a member whose session has ended has none before a poll reports that.

        Raises:
            BrokerUnavailable: the session has ended; the next poll revokes the partitions.
        """
        return member_metadata(self._require_client(), self.group)

    def commit_for_lag(self, offsets: Mapping[int, int]) -> None:
        """Commit offsets to Kafka for lag tools only, without waiting; the next commit makes up for a lost one."""
        # A revoked partition's next owner may have committed more: this would move its offset back.
        if ours := {each: offset for each, offset in offsets.items() if each in self.assignments}:
            commit_for_lag(self._require_client(), self._topic, ours)

    def _watch_uncounted(self, uncounted: int, records: int) -> None:
        """Join again, to prefetch little, if keys and headers took many bytes of few records."""
        if uncounted > UNCOUNTED_BYTES and records <= UNCOUNTED_RECORDS and not self._prefetches_little:
            self._config |= LITTLE_PREFETCH
            self._prefetches_little = True
            what = f"{records} records of {self._topic} have keys or headers that are large or unreadable"
            self.errors.request_rejoin(f"{what}; prefetching little from now on")

    def _receive(self, group: Group) -> Records:
        """Return the records of a group that are to be delivered; move the positions on."""
        records = group.records
        if group.messages or self._unreadable.is_searching:
            records = Records.of(self._receive_one_by_one(group))
        else:
            if records:
                records = self._deliver(records, group.first_timestamp)
            for message in group.ends:
                self._handle_end(message)
        if records and self.errors.has_new:
            self.errors.record_success()
        return records

    def _deliver(self, records: Records, first_timestamp: float | None) -> Records:
        """Return what is to be delivered of records."""
        self._note_first(first_timestamp)
        if (gaps := advance(self.assignments, records.runs)) is None:
            return Records.of(self._accept(records))
        self.offset_gaps += gaps
        return records

    def _receive_one_by_one(self, group: Group) -> list[Record]:
        """Return the records among messages, of which some may be errors or are to be dropped."""
        records: list[Record] = []
        assignments, unreadable = self.assignments, self._unreadable
        searching, moved = unreadable.is_searching, set[int]()
        messages, headers_column = chain(group.messages, group.ends), chain(group.headers or (), repeat(None))
        for message, headers in zip(messages, headers_column, strict=False):
            partition: int = message.partition()  # type: ignore[assignment]  # None for errors of no partition
            error = message.error()
            if partition in moved and not is_reset(error):
                continue
            # A callback inside this very poll may have revoked the partition.
            state = assignments.get(partition)
            if (searching or error is not None) and unreadable.concerns(partition, error):
                if state is None or state.next_offset is None:
                    continue
                batch, as_usual = unreadable.handle(partition, state.next_offset, error)
                if batch is not None:
                    state.next_offset = batch.last_offset + 1
                    records.append(batch)
                if not as_usual:
                    moved.add(partition)
                    continue
            if error is not None:
                self._handle_event(error, message, state)
                continue
            self._note_first(seconds_of(message))
            records += self._accept(read([message], self._topic, None if headers is None else [headers]))
        return records

    def _note_first(self, timestamp: float | None) -> None:
        if not self._has_first:
            self._has_first, self.first_timestamp = True, timestamp

    def _accept(self, records: Iterable[Record]) -> list[Record]:
        """Move the positions behind records; return those that are to be delivered."""
        accepted = self._misnumbered.accept(self.assignments, records)
        self.offset_gaps += accepted.gaps
        return accepted.records

    def _handle_event(self, error: KafkaError, message: Message, state: Assignment | None) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._handle_end(message)
        elif not is_reset(error):
            self.errors.handle(error)
        elif state is not None and (state.next_offset is None or is_after_misnumbered(message, state.next_offset)):
            # Fetched before its start, or after a misnumbered record: it can be read once it is assigned again.
            self._misnumbered.ended.add(state.partition)
        elif state is not None:
            # Its position is not in the log, and librdkafka does not seek such a partition. Once assigned again, its
            # owner compares the offset with the log: a broker that has just started may report too short a log.
            state.next_offset = None
            self.errors.request_rejoin(f"{self._topic}[{state.partition}]: {error.str()}")

    def _handle_end(self, message: Message) -> None:
        if self.errors.has_new:
            self.errors.record_success()
        partition, end = message.partition(), message.offset()
        state = None if partition is None else self.assignments.get(partition)
        # Transaction markers at the end of the log are not delivered, so only this report moves past them.
        if state is not None and state.next_offset is not None and end is not None and end > state.next_offset:
            self.offset_gaps += end - state.next_offset
            state.next_offset = end

    def _position(self, partition: int) -> int | None:
        state = self.assignments.get(partition)
        return None if state is None else state.next_offset

    def _seek(self, partition: int, offset: int) -> bool:
        error = None
        try:
            self._require_client().seek(TopicPartition(self._topic, partition, offset))
        except KafkaException as failure:
            error = unwrap(failure)
        if state := self.assignments.get(partition):
            self.errors.record_seek(state, offset, error)
        return error is None

    def _on_assign(self, client: confluent_kafka.Consumer, places: list[TopicPartition]) -> None:
        # An explicit offset, since librdkafka would otherwise start at the offset committed to Kafka.
        start = [TopicPartition(place.topic, place.partition, OFFSET_BEGINNING) for place in places]
        if self._incremental:
            client.incremental_assign(start)
        else:
            client.assign(start)
        # A partition that returns to the same client may still be running, so each one is paused.
        client.pause(start)
        if client is not self._client:
            return  # it is leaving the group
        if not self._incremental:
            self.assignments.clear()
        for place in start:
            self.assignments[place.partition] = Assignment(place.partition)
        self.has_joined = True
        self.rebalances["assign"] += 1
        logger.info("assigned partitions %s of %s", sorted(place.partition for place in places), self._topic)

    def _on_revoke(self, client: confluent_kafka.Consumer, places: list[TopicPartition]) -> None:
        # Nothing is committed or written here: what is buffered of these partitions is dropped, and the next owner
        # reads it again. A write from a callback could outlast the rebalance and race with that owner.
        if client is self._client:
            for place in places:
                self.assignments.pop(place.partition, None)
                self._unreadable.drop(place.partition)
        if self._incremental:
            # Without a partition that the client lacks: it would refuse them all, and never leave the group.
            held = set(client.assignment())
            client.incremental_unassign([each for each in places if each in held])
        else:
            client.unassign()
        self.rebalances["revoke"] += 1
        logger.info("revoked partitions %s of %s", sorted(place.partition for place in places), self._topic)

    def _create_client(self) -> confluent_kafka.Consumer:
        return create_client(confluent_kafka.Consumer, {**self._config, "error_cb": self.errors.handle})

    def _subscribe(self, client: confluent_kafka.Consumer) -> None:
        client.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _rejoin(self) -> None:
        """Join with a new client; nothing changes if it cannot be created now, as while certificates are replaced."""
        self.errors.record_rejoin()
        try:
            client = self._create_client()
        except ConfigurationError as error:
            self.errors.deny(KafkaError(KafkaError._INVALID_ARG), error)
            return
        # The old one's callbacks find that it is no longer the client, also if it leaves only after the timeout.
        old, self._client = self._require_client(), client
        self.assignments.clear()
        self._unreadable.clear()
        # Before the new one joins: as two members they would share the partitions for a moment.
        leave_group(old, self._config, CLOSE_TIMEOUT)
        self._subscribe(client)

    def _require_client(self) -> confluent_kafka.Consumer:
        assert self._client is not None, "the consumer is used before open() or after close()"
        return self._client
