"""The refusal limit: the share of refusals at which a stage stops."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from tradepipe.errors import ConfigurationError, TooManyRefusals
from tradepipe.kafka.admin import TopicAdmin, Watermarks
from tradepipe.kafka.config import Config
from tradepipe.kafka.dead_letters import DeadLetterRecord, parse
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.trade.record import Code, Refusal

if TYPE_CHECKING:
    from tradepipe.postgres.batch import BatchResult

MAX_SHARE: Final = 0.5
"""Share of refusals among the last `WINDOW` offsets of a partition above which the stage stops."""

WINDOW: Final = 1_000
MIN_SAMPLE: Final = 100
"""Offsets that must have been seen before the share is meaningful."""

MAX_CONSECUTIVE: Final = 100
"""Refusals in a row that stop the stage whatever the share is."""


WRITER_CODES: Final = frozenset({Code.FRAMING, Code.EMPTY, Code.RECORD_KEY, Code.UNREADABLE, Code.TOO_LARGE})
"""Codes of records for which only their writer can be the cause: no registry, build or topic makes them look bad."""


def is_counted(codes: Iterable[str]) -> bool:
    """Return whether a refusal with these codes may be our mistake, so that the limit counts it."""
    return not WRITER_CODES.issuperset(codes)


class Window(NamedTuple):
    """
    The recent refusals of one partition.

    `first` is the first offset that counts as seen, `refused` the refused
    offsets in ascending order, `run` the number of refusals it ends with.
    """

    first: int
    refused: tuple[int, ...] = ()
    run: int = 0


class RefusalLimit:
    """
    Stop a stage before it commits a batch with too many refusals.

    With a wrong registry, build or topic every record looks bad; the limit keeps
    the stage from refusing the whole topic. Refusals that only a writer can cause
    (`WRITER_CODES`) are not counted, or a writer could stop the stage with them. A
    partition's window is loaded from the stored refusals, so a restart does not
    reset the limit.

    Args:
        share: share of the last `WINDOW` offsets of one partition, above 0 and
            below 1; None disables the limit.
    """

    def __init__(self, share: float | None = MAX_SHARE) -> None:
        if share is not None and not (isinstance(share, int | float) and 0 < share < 1):
            raise ConfigurationError(f"max_refused is {share!r}: it must be a share above 0 and below 1, or off")
        self._share = share
        self.windows: dict[int, Window] = {}
        """The window of each partition, as of its last commit."""

    @property
    def is_disabled(self) -> bool:
        """Whether any share of refusals is allowed."""
        return self._share is None

    def preload(self, partition: int, *, first: int, next_offset: int, refused: Sequence[int]) -> None:
        """Load a partition's window: the offsets below `next_offset` of the refusals that are counted."""
        # A run counts only if it reaches up to the next offset; any valid record in between has ended it.
        run = 0
        while run < len(refused) and refused[-1 - run] == next_offset - 1 - run:
            run += 1
        self.windows[partition] = Window(first, tuple(refused), run)

    def check(self, partition: int, results: Iterable[tuple[int, Refusal | None]]) -> Window:
        """
        Return a partition's window after a batch.

        The caller puts it into `windows` after the commit: a batch that is rolled back is read again and must not
        count twice.

        Args:
            results: the batch's offsets in ascending order, each with its refusal or None.

        Raises:
            TooManyRefusals: the batch must not be committed.
        """
        window = self.windows.get(partition, Window(0))
        refused, run = list(window.refused), window.run
        for offset, refusal in results:
            if refusal is None:
                run = 0
                continue
            # It ends no run either: one record of a writer among a hundred says nothing of the others.
            if not is_counted(refusal.codes):
                continue
            run += 1
            refused.append(offset)
            # Offsets, not records: gaps count as passed, so transaction markers can only lower the share.
            recent = len(refused) - bisect_right(refused, offset - WINDOW)
            # A new partition has no history: its share is taken of the offsets seen so far.
            seen = min(WINDOW, offset + 1 - window.first)
            if self._share is not None and (
                run >= MAX_CONSECUTIVE or (seen >= MIN_SAMPLE and recent > self._share * seen)
            ):
                record = refusal.record
                raise TooManyRefusals(
                    f"{recent} of the last {seen} records of {record.topic}[{record.partition}] would be refused, the "
                    f"last one, {record.coordinates}, as {', '.join(refusal.codes)}: {refusal.details[0]}. None of "
                    f"them was committed. Check the registry, the topic and this build, and start again; if the "
                    f"records are really bad, start with --max-refused off",
                    partition,
                )
        return Window(window.first, tuple(refused[-WINDOW:]), run)

    def check_batch(self, result: "BatchResult") -> dict[int, Window]:
        """
        Return the windows of a sink's batch that change with its COMMIT.

        The caller puts them into `windows` afterwards, as for `check`.

        Raises:
            TooManyRefusals: the batch must not be committed.
        """
        # Almost every batch: valid records change a window only by ending its run.
        before = (self.windows.get(number) for number in result.batch.partitions)
        if not result.refusals and not any(window.run for window in before if window is not None):
            return {}
        refused = {(refusal.record.partition, refusal.record.offset): refusal for refusal in result.refusals}
        outcomes: dict[int, list[tuple[int, Refusal | None]]] = {}
        for run in result.batch.records.records.runs:
            outcome = [(offset, refused.get((run.partition, offset))) for offset in run.offsets]
            outcomes.setdefault(run.partition, []).extend(outcome)
        return {partition: self.check(partition, each) for partition, each in outcomes.items()}


PRELOADED_OFFSETS: Final = 2 * WINDOW
"""Offsets read back in each partition of the dead-letter topic: half of them may be transaction markers."""

PRELOAD_TIMEOUT: Final = 20.0
"""Seconds without an answer after which reading the dead letters is retried later."""


class RecentRefusals:
    """
    Load a validator's recent refusals from its dead letters.

    Args:
        topic: the topic the refused records came from.

        group: the consumer group that refused them.
    """

    def __init__(
        self,
        kafka: Config,
        topics: TopicAdmin,
        refusal_limit: RefusalLimit,
        *,
        topic: str,
        group: str,
        dead_letters: str,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._refusal_limit = refusal_limit
        self._topic = topic
        self._group = group
        self._dead_letters = dead_letters

    def load(self, partitions: Iterable[int], committed: Mapping[int, int], extents: Mapping[int, Watermarks]) -> None:
        """Load the windows of these partitions with the refusals before their offsets; raises as `TopicAdmin`."""
        refused: dict[int, set[int]] = {number: set() for number in partitions}
        if self._refusal_limit.is_disabled:
            return
        last = self._topics.watermarks(self._dead_letters, self._topics.describe(self._dead_letters).partitions)
        # No wait for open transactions: their refusals are of records after the committed offsets.
        with TopicReader(
            self._kafka, topic=self._dead_letters, timeout=PRELOAD_TIMEOUT, open_transaction_timeout=0.0
        ) as reader:
            for dead_letter in map(parse, reader.read(last, last=PRELOADED_OFFSETS)):
                if (
                    isinstance(dead_letter, DeadLetterRecord)
                    and dead_letter.group == self._group
                    and dead_letter.origin.topic == self._topic
                    and is_counted(dead_letter.refusal.codes)
                ):
                    number, offset = dead_letter.origin.partition, dead_letter.origin.offset
                    if number in refused and committed[number] - WINDOW <= offset < committed[number]:
                        refused[number].add(offset)
        for number, offsets in refused.items():
            first = extents[number].low
            self._refusal_limit.preload(number, first=first, next_offset=committed[number], refused=sorted(offsets))
