"""The refusal limit: the share of refusals at which a stage stops."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from tradepipe.errors import ConfigurationError, TooManyRefusals
from tradepipe.kafka.admin import TopicAdmin, Watermarks
from tradepipe.kafka.config import Config
from tradepipe.kafka.dead_letters import DeadLetterRecord, parse
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.trade.record import Refusal

MAX_SHARE: Final = 0.5
"""Refused of the last `WINDOW` offsets of a partition; above it the stage stops."""

WINDOW: Final = 1_000
MIN_SAMPLE: Final = 100
"""Offsets that must have been seen before a share says anything."""

MAX_CONSECUTIVE: Final = 100
"""Refusals one after the other that stop the stage whatever the share is."""


class Window(NamedTuple):
    """
    The recent past of one partition.

    `first` is the first offset that counts as seen, `refused` the offsets that
    were refused, in ascending order, `run` how many refusals it ends with.
    """

    first: int
    refused: tuple[int, ...] = ()
    run: int = 0


class RefusalLimit:
    """
    Stop a stage before it commits a batch that refuses too much.

    A wrong registry, a wrong build or a wrong topic looks like nothing but bad
    records; the ceiling keeps it from emptying the topic into the refusals. The
    window of a partition is filled from what was stored, so that a restart is no
    way around it.

    Args:
        share: of the last `WINDOW` offsets of one partition, above 0 and below
            1; None lets everything pass.
    """

    def __init__(self, share: float | None = MAX_SHARE) -> None:
        if share is not None and not 0 < share < 1:
            raise ConfigurationError(f"max_refused is {share}: it is a share above 0 and below 1, or off")
        self._share = share
        self._windows: dict[int, Window] = {}

    @property
    def is_disabled(self) -> bool:
        """Whether everything passes."""
        return self._share is None

    def preload(self, partition: int, *, begin: int, next_offset: int, refused: Sequence[int]) -> None:
        """Fill a partition's window with the offsets below `next_offset` at which it was refused."""
        run = 0
        while run < len(refused) and refused[-1 - run] == next_offset - 1 - run:
            run += 1
        self._windows[partition] = Window(begin, tuple(refused), run)

    def check(self, partition: int, verdicts: Iterable[tuple[int, Refusal | None]]) -> Window:
        """
        The window a partition will have behind a batch: its offsets in order, each with its refusal if it has one.

        Raises:
            TooManyRefusals: the batch must not be committed.
        """
        window = self._windows.get(partition, Window(0))
        refused, run = list(window.refused), window.run
        for offset, refusal in verdicts:
            if refusal is None:
                run = 0
                continue
            run += 1
            refused.append(offset)
            recent = len(refused) - bisect_right(refused, offset - WINDOW)
            seen = min(WINDOW, offset + 1 - window.first)
            if self._exceeded(recent, seen, run):
                raise _limit_exceeded(refusal, recent, seen)
        return Window(window.first, tuple(refused[-WINDOW:]), run)

    def commit(self, partition: int, window: Window) -> None:
        """The batch of a `check` was committed."""
        self._windows[partition] = window

    def _exceeded(self, recent: int, seen: int, run: int) -> bool:
        return self._share is not None and (
            run >= MAX_CONSECUTIVE or (seen >= MIN_SAMPLE and recent > self._share * seen)
        )


def _limit_exceeded(refusal: Refusal, recent: int, seen: int) -> TooManyRefusals:
    record = refusal.record
    return TooManyRefusals(
        f"{recent} of the last {seen} records of {record.topic}[{record.partition}] would be refused, the last one, "
        f"{record.coordinates}, as {', '.join(refusal.codes)}: {refusal.details[0]}. Nothing of this batch was "
        f"committed. Check the registry, the topic and this build; if the records are indeed bad, go on with "
        f"--max-refused off"
    )


PRELOADED_OFFSETS: Final = 2 * WINDOW
"""How far back each partition of the dead-letter topic is read: half of its offsets may be transaction markers."""

PRELOAD_TIMEOUT: Final = 20.0
"""Seconds without any answer after which the dead letters are asked for later."""


class RecentRefusals:
    """
    The refusals among the last offsets of each partition, as the ceiling wants them.

    Args:
        topic: where the refused records came from.

        group: which refused them.
    """

    def __init__(
        self, kafka: Config, topics: TopicAdmin, ceiling: RefusalLimit, *, topic: str, group: str, dead_letters: str
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._ceiling = ceiling
        self._topic = topic
        self._group = group
        self._dead_letters = dead_letters

    def load(self, partitions: Iterable[int], committed: Mapping[int, int], extents: Mapping[int, Watermarks]) -> None:
        """
        Fill the windows of these partitions with what was refused before their committed offsets.

        Raises:
            BrokerUnavailable: the dead letters cannot be read now.

            ConfigurationError: the brokers refuse to let us read them.
        """
        refused: dict[int, set[int]] = {number: set() for number in partitions}
        if self._ceiling.is_disabled:
            return
        for number, offset in self._read_refused_offsets():
            if number in refused and committed[number] - WINDOW <= offset < committed[number]:
                refused[number].add(offset)
        for number, offsets in refused.items():
            begin = extents[number].low
            self._ceiling.preload(number, begin=begin, next_offset=committed[number], refused=sorted(offsets))

    def _read_refused_offsets(self) -> Iterator[tuple[int, int]]:
        """Partition and offset of what the group refused of the topic, as the last dead letters tell."""
        extents = self._topics.watermarks(self._dead_letters, self._topics.describe(self._dead_letters).partitions)
        # What an open transaction holds does not precede a committed offset.
        with TopicReader(
            self._kafka, topic=self._dead_letters, timeout=PRELOAD_TIMEOUT, open_transaction_timeout=0.0
        ) as reader:
            for record in reader.read(extents, last=PRELOADED_OFFSETS):
                letter = parse(record)
                if (
                    isinstance(letter, DeadLetterRecord)
                    and letter.group == self._group
                    and letter.origin.topic == self._topic
                ):
                    yield letter.origin.partition, letter.origin.offset
