"""Records that librdkafka neither delivers nor reports: a second consumer finds them, and proves each."""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

import confluent_kafka
from confluent_kafka import TopicPartition

from tradepipe.background import run_in_thread
from tradepipe.kafka.assignment import correct_offset, is_misnumbered
from tradepipe.kafka.clients import create_client
from tradepipe.kafka.misnumbered import is_after_misnumbered
from tradepipe.trade.record import UnreadableBatch

logger = logging.getLogger(__name__)

ERROR: Final = (
    "Kafka's client takes them for incomplete and reports no error, as if the length of a key or value were below -1"
)

PROOFS: Final = 2
"""Answers of the broker with bytes at an offset, but without a record, after which it is malformed."""

CALM_RECORDS: Final = 10_000
"""
Records in a row that end a search: the next malformed one after them is another standstill, of ten seconds.

With fewer, a writer holds the partition for long by few records.
"""

SEARCH_SECONDS: Final = 20.0
"""Seconds of one search; another one continues after what it has found."""

PAUSE_SECONDS: Final = 30.0
"""Seconds between two searches at one offset."""

_POLL_SECONDS: Final = 0.005
_CONFIG: Final = {"statistics.interval.ms": 5, "fetch.error.backoff.ms": 1}

Range = tuple[int, int]
"""The first and the last of consecutive offsets."""


class Found(NamedTuple):
    """The malformed records of a search, and whether it ran out of time among them."""

    ranges: list[Range]
    is_cut: bool


class _Failures:
    """Counts the fetched batches of which librdkafka could not read a single record, from its statistics."""

    def __init__(self, topic: str, partition: int) -> None:
        self._topic, self._partition = topic, str(partition)
        self._base: tuple[int, int] | None = None
        self.number = 0

    def restart(self) -> None:
        """Count from the next statistics on."""
        self._base, self.number = None, 0

    def record(self, statistics: str) -> None:
        """Take librdkafka's statistics, see its STATISTICS.md."""
        found: dict[str, Any] = json.loads(statistics)
        partition = found["topics"].get(self._topic, {}).get("partitions", {}).get(self._partition, {})
        partial = sum(broker["rxpartial"] for broker in found["brokers"].values())
        received = partition.get("rxmsgs", 0)
        if self._base is None or received != self._base[1]:
            self._base = partial, received
        self.number = partial - self._base[0]


class _Search:
    """
    The walk of one client through a partition.

    Attributes:
        ranges: the malformed records that were found.

        calm: how many other records were read since.
    """

    def __init__(self, config: dict[str, Any], topic: str, partition: int, first: int) -> None:
        self._topic, self._partition = topic, partition
        self._failures = _Failures(topic, partition)
        callbacks = {"stats_cb": self._failures.record, "error_cb": lambda _error: None}
        self.client = create_client(confluent_kafka.Consumer, {**config, **_CONFIG, **callbacks})
        self.ranges: list[Range] = []
        self.calm = 0
        self._position = first
        self._ends = 0
        """How often a misnumbered record has led the client away from the position."""
        self._begin()

    def step(self) -> bool:
        """Poll once; return whether the search is over."""
        message = self.client.poll(_POLL_SECONDS)
        if message is None:
            if self._failures.number >= PROOFS:
                self._skip()
                self.client.seek(TopicPartition(self._topic, self._partition, self._position))
                self._failures.restart()
            return False
        error, offset = message.error(), message.offset()
        if error is None and offset is not None:
            self._read(offset)
            return self.calm >= CALM_RECORDS
        if is_after_misnumbered(message, self._position):
            self._continue()
            return False
        return True  # the end of the partition, or a batch that is refused otherwise

    def _begin(self) -> None:
        self.client.assign([TopicPartition(self._topic, self._partition, self._position)])
        self._failures.restart()
        self._is_misled = False
        self._begun_at = self._position

    def _read(self, offset: int) -> None:
        self._failures.restart()
        found: int | None = offset
        if is_misnumbered(offset, self._position):
            self._is_misled = True
            found = correct_offset(offset, self._position)
        if found is not None and found >= self._position:
            self._position, self.calm, self._ends = found + 1, self.calm + 1, 0

    def _continue(self) -> None:
        """
        Begin again at the position, because a misnumbered record has led the client out of the log.

        If reading began at the position, and the misnumbered record was delivered since, it is of the same batch and
        before the position. So a record at the position would have followed it. The report of an earlier reading
        proves nothing.
        """
        if self._is_misled and self._begun_at == self._position:
            self._ends += 1
            if self._ends >= PROOFS:
                self._skip()
        self._begin()

    def _skip(self) -> None:
        begin = self.ranges.pop()[0] if self.ranges and self.ranges[-1][1] == self._position - 1 else self._position
        self.ranges.append((begin, self._position))
        self._position, self.calm, self._ends = self._position + 1, 0, 0


def find_malformed(
    config: dict[str, Any], topic: str, partition: int, first: int, is_stopped: Callable[[], bool] = lambda: False
) -> Found:
    """
    Return the malformed records of a partition from an offset on.

    Each answer of a broker begins with a whole batch. So if reading began at this very offset, and
    the broker has answered several times with bytes in which librdkafka read no record, the record
    at this offset is malformed. Silence proves nothing: the broker may not answer, or a transaction
    may be open. The search then continues at the next offset, since librdkafka delivers the later
    records of the same batch if reading begins there.

    Args:
        config: that of a consumer.
    """
    search = _Search(config, topic, partition, first)
    try:
        until = time.monotonic() + SEARCH_SECONDS
        while not search.step():
            if time.monotonic() >= until or is_stopped():
                return Found(search.ranges, is_cut=bool(search.ranges))
    finally:
        search.client.close()
    return Found(search.ranges, is_cut=False)


class MalformedRecords:
    """
    The searches of one consumer, at most one per partition, each in its own thread.

    Args:
        config: that of the consumer.
    """

    def __init__(self, config: dict[str, Any], topic: str) -> None:
        self._config = config
        self._topic = topic
        self._searches: dict[int, tuple[Future[Found], threading.Event]] = {}
        self._found: dict[int, deque[Range]] = {}
        self._cut: set[int] = set()
        self._examined: dict[int, tuple[int, float]] = {}

    @property
    def is_active(self) -> bool:
        """Whether `take` has something to do."""
        return bool(self._searches or self._found)

    def examine(self, partition: int, position: int) -> None:
        """Start a search in a partition that stands still, unless there is one."""
        offset, at = self._examined.get(partition, (-1, 0.0))
        if partition in self._searches or partition in self._found:
            return
        if offset == position and time.monotonic() - at < PAUSE_SECONDS:
            return
        self._start(partition, position)

    def take(self, position_of: Callable[[int], int | None]) -> list[UnreadableBatch]:
        """Return the malformed records that the consumer has reached; it must continue after them."""
        for partition, (search, _) in list(self._searches.items()):
            if search.done():
                del self._searches[partition]
                self._note(partition, search)
        reached = []
        for partition, ranges in list(self._found.items()):
            position = position_of(partition)
            while ranges and position is not None and ranges[0][1] < position:
                ranges.popleft()
            if position is not None and ranges and ranges[0][0] <= position:
                last = ranges.popleft()[1]
                reached.append(UnreadableBatch(self._topic, partition, position, last, ERROR))
                position = last + 1
            if not ranges:
                del self._found[partition]
                if partition in self._cut and position is not None:
                    self._start(partition, position)
        return reached

    def drop(self, partition: int) -> None:
        """Forget what was found in a partition, and end its search."""
        if found := self._searches.pop(partition, None):
            found[1].set()
        self._found.pop(partition, None)
        self._examined.pop(partition, None)

    def clear(self) -> None:
        """Forget all partitions."""
        for partition in [*self._searches, *self._found]:
            self.drop(partition)

    def _start(self, partition: int, position: int) -> None:
        logger.info("searching %s[%d] for malformed records from offset %d on", self._topic, partition, position)
        self._examined[partition] = position, time.monotonic()
        self._cut.discard(partition)
        stop = threading.Event()
        search = run_in_thread(
            lambda: find_malformed(self._config, self._topic, partition, position, stop.is_set), "tradepipe-malformed"
        )
        self._searches[partition] = search, stop

    def _note(self, partition: int, search: "Future[Found]") -> None:
        if error := search.exception():
            logger.warning("the search for malformed records of %s[%d] failed: %s", self._topic, partition, error)
            return
        found = search.result()
        if found.ranges:
            self._found[partition] = deque(found.ranges)
        if found.is_cut:
            self._cut.add(partition)
