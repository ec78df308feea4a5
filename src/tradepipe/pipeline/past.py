"""What a validator refused before it began, read back from its dead letters."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tradepipe.kafka.client import Config
from tradepipe.kafka.dead_letters import Letter, read
from tradepipe.kafka.reader import Reader
from tradepipe.kafka.topics import Extent, Topics
from tradepipe.pipeline.ceiling import WINDOW, Ceiling

OFFSETS: Final = 2 * WINDOW
"""How far back each partition of the dead-letter topic is read: half of its offsets may be transaction markers."""

PATIENCE: Final = 20.0
"""Seconds without any answer after which the dead letters are asked for later."""


class Past:
    """
    The refusals among the last offsets of each partition, as the ceiling wants them.

    Args:
        topic: where the refused records came from.

        group: which refused them.
    """

    def __init__(
        self, kafka: Config, topics: Topics, ceiling: Ceiling, *, topic: str, group: str, dead_letters: str
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._ceiling = ceiling
        self._topic = topic
        self._group = group
        self._dead_letters = dead_letters

    def recall(self, partitions: Iterable[int], committed: Mapping[int, int], extents: Mapping[int, Extent]) -> None:
        """
        Fill the windows of these partitions with what was refused before their committed offsets.

        Raises:
            BrokerAway: the dead letters cannot be read now.

            Misconfigured: the brokers refuse to let us read them.
        """
        refused: dict[int, set[int]] = {number: set() for number in partitions}
        if self._ceiling.is_off:
            return
        for number, offset in self._refused():
            if number in refused and committed[number] - WINDOW <= offset < committed[number]:
                refused[number].add(offset)
        for number, offsets in refused.items():
            begin = extents[number].begin
            self._ceiling.prime(number, begin=begin, next_offset=committed[number], refused=sorted(offsets))

    def _refused(self) -> Iterator[tuple[int, int]]:
        """Partition and offset of what the group refused of the topic, as the last dead letters tell."""
        extents = self._topics.extents(self._dead_letters, self._topics.describe(self._dead_letters).partitions)
        # What an open transaction holds does not precede a committed offset.
        with Reader(self._kafka, topic=self._dead_letters, wait=PATIENCE, wait_for_open=0.0) as reader:
            for record in reader.read(extents, last=OFFSETS):
                letter = read(record)
                if isinstance(letter, Letter) and letter.group == self._group and letter.origin.topic == self._topic:
                    yield letter.origin.partition, letter.origin.offset
