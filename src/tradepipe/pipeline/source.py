"""The reading half of a validator: partitions from their committed offsets on, records judged and held."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tradepipe.errors import Away, BrokerAway, Misconfigured, OffsetOutOfRange
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.topics import Extent, Topic, Topics
from tradepipe.pipeline.backoff import delay
from tradepipe.pipeline.identity import Identity
from tradepipe.pipeline.partitions import AT_ONCE, Partition, Partitions
from tradepipe.pipeline.past import Past
from tradepipe.pipeline.start import Start, offsets
from tradepipe.pipeline.targets import Targets
from tradepipe.pipeline.verdicts import Batch, Verdicts

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Place(Partition):
    """One assignment; `committed` is the offset that the group has committed, None as long as it was not asked."""

    committed: int | None = None

    @property
    def is_placed(self) -> bool:
        """Whether it is known where to read."""
        return self.committed is not None


class Source:
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
        topics: Topics,
        verdicts: Verdicts,
        targets: Targets,
        past: Past,
        *,
        topic: str,
        start: Start | None,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._verdicts = verdicts
        self._targets = targets
        self._past = past
        self._topic = topic
        self._start = start
        self._described = Topic(topic, None, ())
        self.partitions = Partitions(consumer, Place, verdicts.drop)
        """What is assigned to us."""
        self._due = 0.0
        self._failed = 0
        self._doubtful: Batch | None = None
        self._first_at: float | None = None
        self.identity = Identity(topics, topic, advice=advice(topic, consumer.group))
        self.is_dry = True
        """Whether the last read took all there was."""

    def open(self, described: Topic) -> None:
        """Join the group."""
        self._described = described
        self.identity.require(described.topic_id)
        self._consumer.open()

    def read(self, room: int, timeout: float) -> int:
        """
        Read and judge at most `room` records, and tell how many came; wait up to `timeout` seconds for the first.

        Raises:
            Misconfigured: the brokers refuse us, the log was cut, or a rule of the user's own is none.
        """
        came = self.fetch(min(room, AT_ONCE), timeout)
        self.judge()
        return came

    def fetch(self, most: int, timeout: float) -> int:
        """
        Read without judging; raises as `read`.

        Until `judge`, all else goes by what was judged before.
        """
        records = self.partitions.poll(most, timeout)
        self.is_dry = len(records) < most
        self._verdicts.hold(records)
        return len(records)

    def judge(self) -> None:
        """Judge all that was read."""
        if not self._verdicts:
            self._first_at = self._consumer.first_at
        left, error = self._verdicts.judge()
        if error is not None:
            self.partitions.put_back(left, error)
        self.partitions.advance()

    def tend(self) -> Batch | None:
        """
        Begin to read what has come, and what had to wait; see that the topic is still the same.

        Returns a batch that was in doubt, when it turns out to be committed.

        Raises:
            Misconfigured: somebody has to decide where to begin, or the topic is not what it was.
        """
        now = time.monotonic()
        settled = self._place(now) if now >= self._due else None
        self.partitions.start()
        self.identity.watch()
        return settled

    def take(self) -> Batch:
        """
        Hand over all that is judged, with the offsets it covers.

        Raises:
            CeilingReached: too much of it is refused.
        """
        first_at, self._first_at = self._first_at, self._consumer.first_at
        return self._verdicts.take(self.moved(), first_at)

    def moved(self) -> dict[int, int]:
        """Up to where each partition was judged that is not committed so far."""
        return {
            number: each.position
            for number, each in self.partitions.items()
            if each.committed is not None and each.position > each.committed
        }

    def committed(self, offsets: Mapping[int, int]) -> None:
        """These offsets are committed."""
        for number, offset in offsets.items():
            partition = self.partitions.get(number)
            if partition is not None and partition.committed is not None:
                partition.committed, partition.failed = offset, 0

    def rewind(self, doubtful: Batch | None = None) -> None:
        """Go back to what is committed, whatever that is; it tells what became of a batch in doubt."""
        self._doubtful = doubtful
        self.partitions.unsupported = None  # what precedes it comes again, and so does it
        for number, partition in self.partitions.items():
            self.partitions.stop(number)
            partition.committed = None

    def extents(self) -> tuple[dict[int, int], dict[int, int]]:
        """Of each partition the committed offset, and where its log ends as far as the last fetch told."""
        done = {number: each.committed for number, each in self.partitions.items() if each.committed is not None}
        return done, self.partitions.ends(done)

    def all_committed(self) -> dict[int, int]:
        """What the group has committed of any partition; raises as `Consumer.committed`."""
        return self._consumer.committed({*self._described.partitions, *self.partitions})

    def _place(self, now: float) -> Batch | None:
        """Find out where to read the partitions that have come, or were rewound."""
        waiting = [number for number, each in self.partitions.items() if each.committed is None]
        if not waiting:
            return None
        try:
            committed, extents = self._offsets(waiting)
            self._past.recall(waiting, committed, extents)
        except Away as error:
            self._due = now + delay(self._failed)
            self._failed += 1
            logger.warning("it cannot be told where to go on: %s", error)
            return None
        self._due = self._failed = 0
        for number in waiting:
            partition = self.partitions[number]
            partition.committed = partition.position = committed[number]
            logger.info("reading %s[%d] from offset %d", self._topic, number, committed[number])
        return self._settled(committed)

    def _settled(self, committed: Mapping[int, int]) -> Batch | None:
        """The batch in doubt, if a partition of it that is still ours shows that it is committed."""
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is None:
            return None
        ours = [number for number in doubtful.offsets if number in self.partitions]
        return doubtful if ours and all(committed[number] >= doubtful.offsets[number] for number in ours) else None

    def _offsets(self, waiting: Sequence[int]) -> tuple[dict[int, int], dict[int, Extent]]:
        """The committed offsets, those of partitions that had none committed now; and the extents of the logs."""
        committed = self.all_committed()
        extents = self._topics.extents(self._topic, waiting)
        if new := [number for number in waiting if number not in committed]:
            if not committed and self._start is None:
                self._require_new_group()
            begun = {number: extents[number] for number in new}
            starts = offsets(self._start or "earliest", self._topics, self._topic, begun)
            # Before anything is written: whoever is killed in its first transaction has begun.
            self._consumer.commit(starts)
            committed |= starts
            # Where a group starts late, what precedes its start was not seen by it.
            extents |= {number: extent._replace(begin=starts[number]) for number, extent in begun.items()}
        for number in waiting:
            self._require_in_log(number, committed[number], extents[number])
        return committed, extents

    def _require_new_group(self) -> None:
        """Nothing is committed: either nothing was ever validated, or Kafka has forgotten how far it was."""
        if self._targets.are_empty():
            return
        if self.all_committed():  # another member has begun meanwhile
            raise BrokerAway(f"group {self._consumer.group} is beginning")
        raise Misconfigured(
            f"group {self._consumer.group} has no committed offsets of topic {self._topic}, but {self._targets.clean} "
            f"or {self._targets.dead_letters} holds records: Kafka forgets the offsets of a group that was idle for "
            f"long, and to begin at the first record again would write all of them twice. Say where to begin: "
            f"--start earliest|latest|TIME, or name empty topics"
        )

    def _require_in_log(self, number: int, committed: int, extent: Extent) -> None:
        if not extent.begin <= committed <= extent.end:
            raise OffsetOutOfRange(
                f"the committed offset of {self._topic}[{number}] is {committed}, but its log reaches from "
                f"{extent.begin} to {extent.end}: records were dropped before they were validated, or the topic was "
                f"created anew; {advice(self._topic, self._consumer.group, number)}"
            )


def advice(topic: str, group: str, partition: int | None = None) -> str:
    """How to tell a group where to go on."""
    place = topic if partition is None else f"{topic}:{partition}"
    return (
        f"stop the validators of the group and decide where they go on: kafka-consumer-groups.sh --group {group} "
        f"--topic {place} --reset-offsets --to-earliest --execute (or --to-latest, --to-offset N, --to-datetime TIME)"
    )
