"""The reading half of a sink: partitions claimed, records read and judged, held until the writer takes them."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tradepipe.errors import Away, OffsetOutOfRange, RegistryAway, UnsupportedSchema
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.topics import Topic, Topics
from tradepipe.pipeline.backoff import delay
from tradepipe.pipeline.identity import Identity
from tradepipe.pipeline.judge import Judge, RowJudge
from tradepipe.pipeline.partitions import AT_ONCE, Partition, Partitions
from tradepipe.pipeline.start import Start, offsets
from tradepipe.pipeline.writer import Claim, Granted
from tradepipe.postgres.batch import Entry
from tradepipe.postgres.offsets import Ownership, Span

logger = logging.getLogger(__name__)

FENCED_OFTEN: Final = 3

_PLACES: Final = "earliest|latest|TIME|NUMBER"


@dataclass(slots=True)
class Place(Partition):
    """
    One assignment: claimed, then read.

    `stored` is the next offset the database knows of, `handed` the one up to
    which the writer has everything.
    """

    ownership: Ownership | None = None
    asked: bool = False
    stored: int = 0
    handed: int = 0

    @property
    def is_placed(self) -> bool:
        """Whether it is claimed."""
        return self.ownership is not None


class Intake:
    """
    What a sink reads.

    Only records of partitions that the database has granted are held, and what
    was held of a partition that left us is dropped: its next owner reads it.
    """

    def __init__(
        self, consumer: Consumer, topics: Topics, judge: Judge | RowJudge, *, topic: str, start: Start
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._judge = judge
        self._topic = topic
        self._reset = f"python -m tradepipe.sink offsets reset --topic {topic} --group {consumer.group}"
        self._start = start
        self._identity = Identity(topics, topic, advice=f"decide where to go on: {self._reset} --to {_PLACES}")
        self._handed_id: str | None = None
        self._claims_due = 0.0
        self._claims_failed = 0
        self.partitions = Partitions(consumer, Place, self._drop)
        """What is assigned to us."""
        self._held: list[Entry] = []
        self._held_bytes = 0
        self._first_at: float | None = None

    @property
    def topic_id(self) -> str | None:
        """The topic's id, as far as it is known."""
        return self._identity.topic_id

    @property
    def held(self) -> int:
        """How many judged records wait for the writer."""
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """How many bytes of values they have."""
        return self._held_bytes

    @property
    def first_at(self) -> float | None:
        """When the first of them was sent, Unix time, if that is known."""
        return self._first_at

    @property
    def waits_for_kafka(self) -> bool:
        """Whether partitions cannot be claimed because Kafka does not say where their logs begin and end."""
        return self._claims_failed > 0 and not all(each.ownership for each in self.partitions.values())

    def open(self, described: Topic) -> None:
        """Join the group."""
        self._identity.require(described.topic_id)
        self._handed_id = described.topic_id
        self._consumer.open()

    def read(self, room: int, timeout: float) -> int:
        """
        Read and judge at most `room` records, and tell how many came; wait up to `timeout` seconds for the first.

        Raises:
            Misconfigured: the brokers refuse us, or the log was cut.
        """
        records = self.partitions.poll(min(room, AT_ONCE), timeout)
        if not self._held:
            self._first_at = self._consumer.first_at
        for number, record in enumerate(records):
            try:
                self._held.append(self._judge(record))
            except (RegistryAway, UnsupportedSchema) as error:
                self.partitions.put_back(records[number:], error)
                break
            self._held_bytes += len(record.value or b"")
        if self.partitions.unsupported is not None:
            self.partitions.pause()
        self.partitions.advance()
        return len(records)

    def take(self) -> tuple[tuple[Span, ...], list[Entry]]:
        """
        Hand over all that is held, with the offsets it covers.

        Of all partitions when the topic's id was learned meanwhile: it is to be
        stored, also where there is nothing else to store.
        """
        learned, self._handed_id = self._handed_id != self.topic_id, self.topic_id
        spans = []
        for partition in self.partitions.values():
            if partition.ownership is not None and (learned or partition.position > partition.handed):
                spans.append(Span(partition.ownership, partition.handed, partition.position))
                partition.handed = partition.position
        entries, self._held, self._held_bytes = self._held, [], 0
        return tuple(spans), entries

    def claims(self) -> list[Claim]:
        """
        The partitions to claim now, each asked for once.

        Raises:
            Misconfigured: the topic is not what it was.
        """
        now = time.monotonic()
        waiting = [
            each for each in self.partitions.values() if not each.ownership and not each.asked and each.due <= now
        ]
        if not waiting or now < self._claims_due:
            return []
        try:
            claims = self._ask_kafka(waiting)
        except Away as error:
            self._claims_due = time.monotonic() + delay(self._claims_failed)
            self._claims_failed += 1
            logger.warning("partitions cannot be claimed yet: %s", error)
            return []
        self._claims_failed = 0
        for partition in waiting:
            partition.asked = True
        return claims

    def grant(self, granted: Granted) -> None:
        """
        Take a granted claim; one whose assignment has ended meanwhile is dropped.

        Raises:
            OffsetOutOfRange: the stored offset is not in the log.
        """
        number = granted.claim.assignment.partition
        partition = self.partitions.get(number)
        if partition is None or partition.assignment != granted.claim.assignment:
            return
        ownership, next_offset = granted.claimed
        try:
            self._require_in_log(number, next_offset)
        except Away as error:
            partition.asked = False
            partition.put_off()
            logger.warning("%s[%d] has to be claimed again: %s", self._topic, number, error)
            return
        partition.ownership = ownership
        partition.stored = partition.handed = partition.position = next_offset
        partition.due = 0.0
        if granted.claim.topic_id is None:
            self._handed_id = None
        logger.info("claimed %s[%d] from offset %d, epoch %d", self._topic, number, next_offset, ownership.epoch)

    def end(self, ownership: Ownership) -> None:
        """Drop what was read under an ownership that has ended; claim again later, if Kafka still assigns it to us."""
        partition = self.partitions.get(ownership.partition)
        if partition is None or partition.ownership != ownership:
            return
        self.partitions.stop(ownership.partition)
        partition.ownership, partition.asked = None, False
        partition.put_off()
        tell = logger.error if partition.failed >= FENCED_OFTEN else logger.warning
        tell(
            "%s[%d] was claimed by another sink, or its offset was reset (%d times by now); if this repeats, two "
            "consumer groups of one name store into this database",
            self._topic,
            ownership.partition,
            partition.failed,
        )

    def compare(self, next_offsets: Mapping[int, int]) -> None:
        """
        Compare what the database tells with what we stored: where they differ, the offset was reset, by whomever.

        A sink with nothing to store would not hear of it otherwise.
        """
        for number, partition in list(self.partitions.items()):
            if partition.ownership is not None and next_offsets.get(number, partition.stored) != partition.stored:
                self.end(partition.ownership)

    def stored(self, spans: Sequence[Span]) -> dict[int, int]:
        """Which of these stored offsets are still ours, by partition."""
        ours = {}
        for span in spans:
            partition = self.partitions.get(span.ownership.partition)
            if partition is not None and partition.ownership == span.ownership:
                partition.failed = 0
                partition.stored = span.after
                ours[span.ownership.partition] = span.after
        return ours

    def extents(self) -> tuple[dict[int, int], dict[int, int]]:
        """Of each claimed partition: the next offset to store, and where its log ends as far as the last fetch told."""
        stored = {number: each.stored for number, each in self.partitions.items() if each.ownership is not None}
        return stored, self.partitions.ends(stored)

    def tend(self) -> None:
        """
        Begin to read what was granted, and what had to wait; see that the topic is still the same.

        Raises:
            TopicUnusable: the topic was created anew.
        """
        self.partitions.start()
        self._identity.watch()

    def _drop(self, number: int) -> None:
        self._held = [entry for entry in self._held if entry.record.partition != number]
        self._held_bytes = sum(len(entry.record.value or b"") for entry in self._held)

    def _ask_kafka(self, waiting: Sequence[Place]) -> list[Claim]:
        described = self._topics.describe(self._topic)
        self._identity.require(described.topic_id)
        numbers = [partition.assignment.partition for partition in waiting]
        extents = self._topics.extents(self._topic, numbers)
        starts = offsets(self._start, self._topics, self._topic, extents)
        return [
            Claim(partition.assignment, self._topic, self.topic_id, starts[number], extents[number].begin)
            for number, partition in zip(numbers, waiting, strict=True)
        ]

    def _require_in_log(self, number: int, next_offset: int) -> None:
        begin, end = self._topics.extents(self._topic, [number])[number]
        if begin <= next_offset <= end:
            return
        lost = (
            f"{begin - next_offset} records were dropped before they were stored"
            if next_offset < begin
            else ("the log is shorter than what was stored of it: the topic was restored or its broker lost records")
        )
        raise OffsetOutOfRange(
            f"the stored offset of {self._topic}[{number}] is {next_offset}, but its log reaches from {begin} to "
            f"{end}: {lost}; decide where to go on: {self._reset} --partition {number} --to {_PLACES}"
        )
