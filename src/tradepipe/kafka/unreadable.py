"""Batches that librdkafka cannot unpack: search for the end of one."""

import logging
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError

from tradepipe.kafka.malformed import MalformedRecords
from tradepipe.limited_log import LimitedLog
from tradepipe.plural import format_count
from tradepipe.trade.record import UnreadableBatch

logger = logging.getLogger(__name__)

ERRORS: Final = frozenset({KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG})
"""A batch that does not unpack (or only into more than `receive.message.max.bytes`), or whose checksum is wrong."""

CHECKSUM_FAILURES: Final = 5
CHECKSUM_SECONDS: Final = 10.0
"""A wrong checksum is believed after this many equal errors over this time: a damaged connection gives another one."""

STEP_TIMEOUT: Final = 5.0
"""Seconds without an answer to a step, for instance because an open transaction hides the offset."""


class BatchSearch:
    """
    Search for the end of the batch at an offset, step by step.

    Brokers return whole batches, and the error's text names the batch. So the same
    error at a later offset proves that the batch reaches up to there, and anything
    else that it ends before. Only proven offsets are skipped: a missing answer ends
    the search early, and the rest of the batch is found as another one.

    Attributes:
        first: the first unreadable offset.

        offset: the offset to read next.

        error: the error's text.

        end: the high watermark. After it, `auto.offset.reset=error` would end the fetching of the partition.
    """

    def __init__(self, first: int) -> None:
        self.first = self.offset = first
        self.end: int | None = None
        self.error = ""
        self.asked_at = self._begun_at = time.monotonic()
        self._failures = 0
        self._unreadable = first - 1
        self._readable: int | None = None
        self._step = 1

    @property
    def last(self) -> int:
        """The last offset that is proven to be unreadable, `first - 1` before the first proof."""
        return self._unreadable

    @property
    def is_done(self) -> bool:
        """Whether the end is found."""
        return self._readable == self._unreadable + 1

    def record_error(self, error: KafkaError) -> None:
        """Record that reading at `offset` failed."""
        text = error.str()
        if text != self.error:
            # A text names the batch and its size, so another one is that of the next batch.
            if self._unreadable >= self.first:
                self.record_readable()  # another batch
                return
            self.error, self._failures, self._begun_at = text, 0, time.monotonic()
        self._failures += 1
        is_confirmed = self._failures >= CHECKSUM_FAILURES and time.monotonic() - self._begun_at >= CHECKSUM_SECONDS
        # librdkafka verifies the checksum first, so the bytes are as they were written: unpacking fails each time.
        if error.code() == KafkaError._BAD_COMPRESSION or is_confirmed:
            self._unreadable = self.offset
            self._choose_offset()

    def record_readable(self) -> None:
        """Record that reading at `offset` succeeded, or that nothing was there."""
        self._readable = self.offset
        self._choose_offset()

    def _choose_offset(self) -> None:
        """Choose the next offset: by doubled steps up to the first readable one, then halving what is left."""
        if self._readable is None:
            self.offset = self._unreadable + self._step
            if self.end is not None and self._unreadable < self.end < self.offset:
                self.offset = self.end
            self._step *= 2
        else:
            self.offset = (self._unreadable + self._readable + 1) // 2


class UnreadableBatches:
    """
    The searches of one consumer, at most one per partition.

    Args:
        malformed: the records that the consumer skips although librdkafka reports no error.

        seek: moves a partition to an offset; False if that is not possible at the moment.

        high_watermark: returns that of the last fetch of a partition.
    """

    def __init__(
        self,
        topic: str,
        malformed: MalformedRecords,
        seek: Callable[[int, int], bool],
        high_watermark: Callable[[int], int | None],
    ) -> None:
        self._topic = topic
        self._malformed = malformed
        self._seek = seek
        self._high_watermark = high_watermark
        self._searches: dict[int, BatchSearch] = {}
        self._pending: dict[int, int] = {}
        self._log = LimitedLog(logger, self._summarize)
        # Plain attributes: the consumer reads them in every poll, and almost never is there a search.
        self.is_searching = False
        """Whether messages without an error may be for `handle`."""
        self.is_active = False
        """Whether `step` has something to do."""

    def concerns(self, partition: int, error: KafkaError | None) -> bool:
        """Return whether `handle` takes a message: it reports an unreadable batch, or answers a step of a search."""
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return partition in self._searches or partition in self._pending
        return error.code() in ERRORS

    def handle(self, partition: int, next_offset: int, error: KafkaError | None) -> tuple[UnreadableBatch | None, bool]:
        """
        Take one step.

        Returns:
            The batch if its end is found, and whether the message is delivered as
            usual. If it is not, the partition was moved, and whatever else was
            fetched of it is dropped.
        """
        # Its seek is still pending: this message is from the old position, and says nothing about the new one.
        if partition in self._pending:
            return None, False
        self.is_searching = self.is_active = True
        search = self._searches.setdefault(partition, BatchSearch(next_offset))
        search.end = self._high_watermark(partition)
        asked, is_error = search.offset, error is not None and error.code() in ERRORS
        if is_error:
            search.record_error(error)  # type: ignore[arg-type]  # checked in the line before
        else:
            search.record_readable()
        batch = self._finish(partition) if search.is_done else None
        if search.is_done and search.offset == asked and not is_error:
            return batch, True
        if search.is_done and search.offset == asked:  # the error is that of the next batch
            self._searches[partition] = following = BatchSearch(asked)
            following.end = search.end
            following.record_error(error)  # type: ignore[arg-type]
            search = following
        self._move(partition, search.offset)
        return batch, False

    def examine(self, partition: int, position: int) -> None:
        """Search a partition that stands still, without an error, for malformed records."""
        if partition not in self._searches and partition not in self._pending:
            self._malformed.examine(partition, position)
            self._note_activity()

    def step(self, position_of: Callable[[int], int | None]) -> list[UnreadableBatch]:
        """
        Repeat moves that failed, and end steps without an answer.

        Returns:
            The batches whose end that shows, and malformed records that are at the position of their partition.
        """
        batches: list[UnreadableBatch] = []
        for partition, offset in list(self._pending.items()):
            self._move(partition, offset)
        batches += self._malformed.take(position_of)
        for malformed in batches:
            self._log_batch(malformed)
            self._move(malformed.partition, malformed.last_offset + 1)
        for partition, search in list(self._searches.items()):
            # Taken for readable: ending too early costs another search, while skipping too far would lose records.
            if time.monotonic() - search.asked_at >= STEP_TIMEOUT:
                search.record_readable()
                if search.is_done and (batch := self._finish(partition)) is not None:
                    batches.append(batch)
                self._move(partition, search.offset)
        self._log.warn_of_others()
        self._note_activity()
        return batches

    def clear(self) -> None:
        """Forget all searches."""
        self._log.warn_of_others(at_once=True)
        self._searches.clear()
        self._pending.clear()
        self._malformed.clear()
        self._note_activity()

    def drop(self, partition: int) -> None:
        """Forget the search in a partition that is not read any more, or from elsewhere."""
        self._searches.pop(partition, None)
        self._pending.pop(partition, None)
        self._malformed.drop(partition)
        self._note_activity()

    def _note_activity(self) -> None:
        self.is_searching = bool(self._searches or self._pending)
        self.is_active = self.is_searching or self._malformed.is_active or self._log.unlogged > 0

    def _move(self, partition: int, offset: int) -> None:
        self._pending.pop(partition, None)
        if not self._seek(partition, offset):
            self._pending[partition] = offset
        elif partition in self._searches:
            self._searches[partition].asked_at = time.monotonic()

    def _finish(self, partition: int) -> UnreadableBatch | None:
        search = self._searches.pop(partition)
        if search.last < search.first:  # the next attempt succeeded
            return None
        batch = UnreadableBatch(self._topic, partition, search.first, search.last, search.error)
        self._log_batch(batch)
        return batch

    def _log_batch(self, batch: UnreadableBatch) -> None:
        number, detail = batch.last_offset - batch.offset + 1, batch.violation.detail
        self._log.warn(number, "skipping unreadable records of %s[%d]: %s", self._topic, batch.partition, detail)

    def _summarize(self, records: int, seconds: float) -> str:
        return f"skipped {format_count(records, 'more unreadable record')} of {self._topic} within {seconds:.0f} s"
