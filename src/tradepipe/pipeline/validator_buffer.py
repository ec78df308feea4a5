"""Buffer of validated records, held until they are written."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from tradepipe.errors import ConfigurationError, RegistryUnavailable, TooManyRefusals, UnsupportedSchema
from tradepipe.kafka.dead_letters import OVERHEAD, size, strip_replay_header
from tradepipe.kafka.messages import UNREADABLE
from tradepipe.kafka.record_batch import batch_size
from tradepipe.pipeline.partitions import MAX_BATCH_BYTES
from tradepipe.pipeline.refusal_limit import RefusalLimit, Window
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.trade.record import HEADER_BYTES, Code, Record, Refusal, Violation
from tradepipe.trade.records import Records, Run

BATCH_RECORDS: Final = 10_000
"""Records in one transaction at most: a transaction has a fixed cost, which its records share."""

CHUNK_RECORDS: Final = 100
"""Records validated ahead in Python between two looks at the transaction in flight: it must not wait for slow rules."""

AHEAD_BYTES: Final = MAX_BATCH_BYTES // 4
"""Bytes of the next batch with which nothing more is read while a transaction is in flight."""

UNCHECKED_RECORD_BYTES: Final = 1_000_000
"""Bytes of a record if the brokers do not report their limits: librdkafka's own limit."""

_UNREADABLE_HEADERS: Final = Violation(
    Code.UNDECODABLE, "the record's headers cannot be read: a name among them is not UTF-8"
)


def _may_exceed(run: Run, size: int) -> bool:
    """Return whether a record without headers may have more bytes, uncompressed and alone in a batch."""
    if run.payload_bytes + OVERHEAD <= size:  # nearly always
        return False
    return sum(max(map(len, filter(None, column)), default=0) for column in (run.keys, run.values)) + OVERHEAD > size


class ValidatorBatch(NamedTuple):
    """
    The content of one transaction.

    `offsets` holds each partition's next offset after it, `windows` its refusal
    window after it. Nothing is in it of the partitions that exceed the refusal
    limit, which are in `exceeded`.
    """

    passed: Records
    refusals: list[Refusal]
    offsets: Mapping[int, int]
    windows: Mapping[int, Window]
    exceeded: Mapping[int, TooManyRefusals]
    first_timestamp: float | None


class ValidatorBuffer:
    """
    Records that were read and not yet written, pending or validated.

    Those of one partition are in the order of their offsets.
    """

    def __init__(
        self, validator: RecordValidator, refusal_limit: RefusalLimit, *, batch_records: int = BATCH_RECORDS
    ) -> None:
        self._validator = validator
        self._batch_records = batch_records
        self._refusal_limit = refusal_limit
        self.pending = Records()
        """Records that `validate` will validate."""
        self._passed = Records()
        self._refusals: list[Refusal] = []
        self.max_record_bytes = UNCHECKED_RECORD_BYTES
        """Bytes of a record, uncompressed, that the output topics take in any case."""
        self.bytes = 0
        """Bytes of validated records, without what refusals omit."""
        self.started_at: float | None = None
        """When the first validated record was buffered, by `time.monotonic()`; None before the first."""
        # By partition. The refusal limit needs every refusal, but only the last valid record before each: it ends a run
        # of refusals, and a list of all valid records would be as long as the batch.
        self._history: dict[int, list[tuple[int, Refusal | None]]] = {}
        self._passed_last: dict[int, int] = {}

    def __len__(self) -> int:
        """Return the number of validated records."""
        return len(self._passed) + len(self._refusals)

    @property
    def free(self) -> int:
        """Records that the batch may still take."""
        return 0 if self.bytes >= MAX_BATCH_BYTES else max(0, self._batch_records - len(self))

    def validate(self) -> tuple[Records, RegistryUnavailable | UnsupportedSchema | None]:
        """
        Validate the pending records; return those that could not be validated, and the reason.

        Valid records lose the header that counts their replays.

        Raises:
            ConfigurationError: a user's rule is broken; it would fail again.
        """
        error = self._validate_next(len(self.pending))
        left, self.pending = self.pending, Records()
        return left, error

    def validate_ahead(self) -> int:
        """
        Validate some pending records while a transaction is in flight, and return how many.

        Stops at a record that needs a query to the registry, or on which a user's
        rule fails: blocking or raising here would disturb the transaction.
        """
        before = len(self.pending)
        with suppress(ConfigurationError):
            count = before if self._validator.is_quick else min(before, CHUNK_RECORDS)
            self._validate_next(count, without_queries=True)
        return before - len(self.pending)

    def drop(self, partition: int) -> None:
        """Drop the records of a partition."""
        self.pending = self.pending.without_partition(partition)
        self._passed = self._passed.without_partition(partition)
        self._refusals = [refusal for refusal in self._refusals if refusal.record.partition != partition]
        self.bytes = sum(map(_memory, self._passed)) + sum(_memory(refusal.record) for refusal in self._refusals)
        self._history.pop(partition, None)
        self._passed_last.pop(partition, None)
        if not self:
            self.started_at = None

    def take_batch(self, offsets: Mapping[int, int], first_timestamp: float | None) -> ValidatorBatch:
        """Remove and return the validated records; partitions that exceed the refusal limit lose theirs."""
        for partition, offset in self._passed_last.items():
            self._history.setdefault(partition, []).append((offset, None))
        windows: dict[int, Window] = {}
        exceeded: dict[int, TooManyRefusals] = {}
        for number, history in self._history.items():
            try:
                windows[number] = self._refusal_limit.check(number, history)
            except TooManyRefusals as error:
                exceeded[number] = error
        for number in exceeded:
            self.drop(number)
        covered = {number: offset for number, offset in offsets.items() if number not in exceeded}
        batch = ValidatorBatch(self._passed, self._refusals, covered, windows, exceeded, first_timestamp)
        self._passed, self._refusals, self.bytes = Records(), [], 0
        self._history, self._passed_last = {}, {}
        self.started_at = None
        return batch

    @property
    def takes_more_ahead(self) -> bool:
        """Whether more records may be read while a transaction is in flight: their bytes add to those in flight."""
        return not self.pending and bool(self.free) and self.bytes < AHEAD_BYTES

    def _validate_next(
        self, count: int, *, without_queries: bool = False
    ) -> RegistryUnavailable | UnsupportedSchema | None:
        """Validate the first `count` pending records; return the error that ended it early."""
        validated, is_announced = 0, False
        try:
            for run in self.pending[:count].runs:
                start = 0
                while start < len(run):
                    valid = self._validator.count_valid(run, start)
                    if valid:
                        self._add_valid(run.cut(start, start + valid))
                        start += valid
                        validated += valid
                        continue
                    # A known schema needs no query; an unknown one would block for as long as the registry is
                    # unavailable.
                    record = run[start]
                    if without_queries:
                        if not self._validator.is_schema_known(record):
                            return None
                    elif not is_announced:
                        self._validator.announce(self.pending)
                        is_announced = True
                    self._add(record)
                    start += 1
                    validated += 1
        except (RegistryUnavailable, UnsupportedSchema) as error:
            # Its traceback would keep the frames, and so the records, for as long as the error is kept.
            return error.with_traceback(None)
        finally:
            # Also after a ConfigurationError: what was validated before the broken rule is kept and can be written.
            self.pending = self.pending[validated:]
            if is_announced:
                self._validator.announce(())  # frees the records' bytes
            if validated and self.started_at is None:
                self.started_at = time.monotonic()
        return None

    def _add(self, record: Record) -> None:
        """Validate a record and add it."""
        if record.headers is UNREADABLE:
            self._add_refusal(Refusal(record._replace(headers=()), (_UNREADABLE_HEADERS,)))
        elif (refusal := self._validator.find_refusal(record)) is not None:
            self._add_refusal(refusal)
        elif (size := batch_size(record)) > self.max_record_bytes:
            detail = (
                f"the record has {size:,} bytes uncompressed, headers included, and the output topics "
                f"take {self.max_record_bytes:,}"
            )
            self._add_refusal(Refusal(record, (Violation(Code.TOO_LARGE, detail),)))
        else:
            # The replay count is ours, not the sender's: consumers of the clean topic get the original headers.
            record = record._replace(headers=strip_replay_header(record.headers))
            self._passed.append(record)
            self._passed_last[record.partition] = record.offset
            self.bytes += _memory(record)

    def _add_valid(self, run: Run) -> None:
        """Add valid records."""
        # Almost no record has headers, or a long key or value.
        if any(run.headers or ()) or _may_exceed(run, self.max_record_bytes):
            for record in run:
                self._add(record)
            return
        self._passed.add(run)
        self._passed_last[run.partition] = run.offsets[-1]
        self.bytes += run.payload_bytes

    def _add_refusal(self, refusal: Refusal) -> None:
        refusal = refusal.within()
        self._refusals.append(refusal)
        self.bytes += _memory(refusal.record)
        partition = refusal.record.partition
        history = self._history.setdefault(partition, [])
        if (passed := self._passed_last.pop(partition, None)) is not None:
            history.append((passed, None))
        history.append((refusal.record.offset, refusal))


def _memory(record: Record) -> int:
    """Return about how many bytes a record takes in memory."""
    # Almost no record has headers.
    return size(record) + HEADER_BYTES * len(record.headers) if record.headers else record.payload_bytes
