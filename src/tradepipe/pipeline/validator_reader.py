"""The reading half of a validator: partitions from their committed offsets on, records judged and held."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tradepipe.backoff import Backoff
from tradepipe.errors import BrokerUnavailable, ConfigurationError, OffsetOutOfRange, Unavailable
from tradepipe.kafka.admin import Topic, TopicAdmin, Watermarks
from tradepipe.kafka.consumer import Consumer
from tradepipe.pipeline.partitions import (
    MAX_POLL_RECORDS,
    PartitionReader,
    Partitions,
    PartitionState,
    StartPosition,
    start_offsets,
)
from tradepipe.pipeline.refusal_limit import RecentRefusals
from tradepipe.pipeline.topic_watch import TopicIdWatch
from tradepipe.pipeline.validator_buffer import ValidatorBatch, ValidatorBuffer
from tradepipe.pipeline.validator_outputs import OutputTopics

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ValidatorPartition(PartitionState):
    """One assignment; `committed` is the offset that the group has committed, None as long as it was not asked."""

    committed: int | None = None

    @property
    def has_start_offset(self) -> bool:
        """Whether it is known where to read."""
        return self.committed is not None


class ValidatorReader(PartitionReader[ValidatorPartition]):
    """
    What a validator reads.

    What was held of a partition that left us is dropped: its next owner reads it.

    Args:
        start: where to begin with a partition without a committed offset; None
            at its first record, if the group has never written anything.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: TopicAdmin,
        verdicts: ValidatorBuffer,
        targets: OutputTopics,
        past: RecentRefusals,
        *,
        topic: str,
        start: StartPosition | None,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._verdicts = verdicts
        self._targets = targets
        self._past = past
        self._topic = topic
        self._start = start
        self._described = Topic(topic, None, ())
        super().__init__(Partitions(consumer, ValidatorPartition, verdicts.drop))
        self._backoff = Backoff()
        self._unresolved_batch: ValidatorBatch | None = None
        self._first_at: float | None = None
        self.topic_id_watch = TopicIdWatch(topics, topic, advice=reset_instructions(topic, consumer.group))
        self.caught_up = True
        """Whether the last read took all there was."""

    def open(self, described: Topic) -> None:
        """Join the group."""
        self._described = described
        self.topic_id_watch.check(described.topic_id)
        self._consumer.open()

    def read(self, room: int, timeout: float) -> int:
        """
        Read and judge at most `room` records, and tell how many came; wait up to `timeout` seconds for the first.

        Raises:
            ConfigurationError: the brokers refuse us, the log was cut, or a rule of the user's own is none.
        """
        came = self.fetch(min(room, MAX_POLL_RECORDS), timeout)
        self.validate()
        return came

    def fetch(self, most: int, timeout: float) -> int:
        """
        Read without judging; raises as `read`.

        Until `judge`, all else goes by what was judged before.
        """
        records = self._partitions.poll(most, timeout)
        self.caught_up = len(records) < most
        self._verdicts.add(records)
        return len(records)

    def validate(self) -> None:
        """Judge all that was read."""
        if not self._verdicts:
            self._first_at = self._consumer.first_timestamp
        left, error = self._verdicts.validate()
        if error is not None:
            self._partitions.requeue(left, error)
        self._partitions.update_positions()

    def run_housekeeping(self) -> ValidatorBatch | None:
        """
        Begin to read what has come, and what had to wait; see that the topic is still the same.

        Returns a batch that was in doubt, when it turns out to be committed.

        Raises:
            ConfigurationError: somebody has to decide where to begin, or the topic is not what it was.
        """
        settled = self._locate_partitions() if self._backoff.is_due else None
        self._partitions.start()
        self.topic_id_watch.poll()
        return settled

    def take_batch(self) -> ValidatorBatch:
        """
        Hand over all that is judged, with the offsets it covers.

        Raises:
            TooManyRefusals: too much of it is refused.
        """
        first_at, self._first_at = self._first_at, self._consumer.first_timestamp
        return self._verdicts.take_batch(self.uncommitted_offsets(), first_at)

    def uncommitted_offsets(self) -> dict[int, int]:
        """Up to where each partition was judged that is not committed so far."""
        return {
            number: each.position
            for number, each in self._partitions.states.items()
            if each.committed is not None and each.position > each.committed
        }

    def committed(self, offsets: Mapping[int, int]) -> None:
        """These offsets are committed."""
        for number, offset in offsets.items():
            partition = self._partitions.states.get(number)
            if partition is not None and partition.committed is not None:
                partition.committed = offset
                partition.backoff.failures = 0

    def rewind_to_committed(self, doubtful: ValidatorBatch | None = None) -> None:
        """Go back to what is committed, whatever that is; it tells what became of a batch in doubt."""
        self._unresolved_batch = doubtful
        self._partitions.unsupported_schema = None  # what precedes it comes again, and so does it
        for number, partition in self._partitions.states.items():
            self._partitions.stop(number)
            partition.committed = None

    def watermarks(self) -> tuple[dict[int, int], dict[int, int]]:
        """Of each partition the committed offset, and where its log ends as far as the last fetch told."""
        done = {
            number: each.committed for number, each in self._partitions.states.items() if each.committed is not None
        }
        return done, self._partitions.high_watermarks(done)

    def committed_offsets(self) -> dict[int, int]:
        """What the group has committed of any partition; raises as `Consumer.committed`."""
        return self._consumer.committed({*self._described.partitions, *self._partitions.states})

    def _locate_partitions(self) -> ValidatorBatch | None:
        """Find out where to read the partitions that have come, or were rewound."""
        waiting = [number for number, each in self._partitions.states.items() if each.committed is None]
        if not waiting:
            return None
        try:
            committed, extents = self._offsets(waiting)
            self._past.load(waiting, committed, extents)
        except Unavailable as error:
            self._backoff.next_delay()
            logger.warning("it cannot be told where to go on: %s", error)
            return None
        self._backoff.reset()
        for number in waiting:
            partition = self._partitions.states[number]
            partition.committed = partition.position = committed[number]
            logger.info("reading %s[%d] from offset %d", self._topic, number, committed[number])
        return self._resolve_batch(committed)

    def _resolve_batch(self, committed: Mapping[int, int]) -> ValidatorBatch | None:
        """The batch in doubt, if a partition of it that is still ours shows that it is committed."""
        doubtful, self._unresolved_batch = self._unresolved_batch, None
        if doubtful is None:
            return None
        ours = [number for number in doubtful.offsets if number in self._partitions.states]
        return doubtful if ours and all(committed[number] >= doubtful.offsets[number] for number in ours) else None

    def _offsets(self, waiting: Sequence[int]) -> tuple[dict[int, int], dict[int, Watermarks]]:
        """The committed offsets, those of partitions that had none committed now; and the extents of the logs."""
        committed = self.committed_offsets()
        extents = self._topics.watermarks(self._topic, waiting)
        if new := [number for number in waiting if number not in committed]:
            if not committed and self._start is None:
                self._check_new_group()
            begun = {number: extents[number] for number in new}
            starts = start_offsets(self._start or "earliest", self._topics, self._topic, begun)
            # Before anything is written: whoever is killed in its first transaction has begun.
            self._consumer.commit(starts)
            committed |= starts
            # Where a group starts late, what precedes its start was not seen by it.
            extents |= {number: extent._replace(low=starts[number]) for number, extent in begun.items()}
        for number in waiting:
            self._check_in_log(number, committed[number], extents[number])
        return committed, extents

    def _check_new_group(self) -> None:
        """Nothing is committed: either nothing was ever validated, or Kafka has forgotten how far it was."""
        if self._targets.are_empty():
            return
        if self.committed_offsets():  # another member has begun meanwhile
            raise BrokerUnavailable(f"group {self._consumer.group} is beginning")
        raise ConfigurationError(
            f"group {self._consumer.group} has no committed offsets of topic {self._topic}, but {self._targets.clean} "
            f"or {self._targets.dead_letters} holds records: Kafka forgets the offsets of a group that was idle for "
            f"long, and to begin at the first record again would write all of them twice. Say where to begin: "
            f"--start earliest|latest|TIME, or name empty topics"
        )

    def _check_in_log(self, number: int, committed: int, extent: Watermarks) -> None:
        if not extent.low <= committed <= extent.high:
            raise OffsetOutOfRange(
                f"the committed offset of {self._topic}[{number}] is {committed}, but its log reaches from "
                f"{extent.low} to {extent.high}: records were dropped before they were validated, or the topic was "
                f"created anew; {reset_instructions(self._topic, self._consumer.group, number)}"
            )


def reset_instructions(topic: str, group: str, partition: int | None = None) -> str:
    """How to tell a group where to go on."""
    place = topic if partition is None else f"{topic}:{partition}"
    return (
        f"stop the validators of the group and decide where they go on: kafka-consumer-groups.sh --group {group} "
        f"--topic {place} --reset-offsets --to-earliest --execute (or --to-latest, --to-offset N, --to-datetime TIME)"
    )
