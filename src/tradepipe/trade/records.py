"""Kafka records in columns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, repeat
from operator import itemgetter
from typing import Any, Final, Self, overload

from tradepipe.trade.record import Headers, Record, UnreadableBatch

_new: Final[Any] = tuple.__new__
"""Creates a record without the NamedTuple constructor, which is Python code."""


@dataclass(slots=True, eq=False)
class Run:
    """
    Records of one partition that follow each other, in columns.

    Attributes:
        values: the values; that of an unreadable batch is the batch itself.

        timestamps: in milliseconds since 1970, or None, for each record; None if they were not read.

        headers: those of each record; None if they were not read.

        payload_bytes: bytes of the keys and values.
    """

    topic: str
    partition: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[Any]
    timestamps: list[int | None] | None
    headers: list[Headers] | None
    payload_bytes: int

    @classmethod
    def of(cls, records: Sequence[Record]) -> Self:
        """Return records of one topic and partition as a run."""
        _topics, _partitions, offsets, keys, values, timestamps, headers = map(list, zip(*records, strict=True))
        for place, record in enumerate(records):
            if isinstance(record, UnreadableBatch):
                values[place] = record
        payload_bytes = sum(record.payload_bytes for record in records)
        return cls(records[0].topic, records[0].partition, offsets, keys, values, timestamps, headers, payload_bytes)

    @property
    def end(self) -> int:
        """The offset at which reading continues after the records."""
        last = self.values[-1]
        return last.last_offset + 1 if isinstance(last, UnreadableBatch) else self.offsets[-1] + 1

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[Record]:
        fields = zip(repeat(self.topic), repeat(self.partition), self.offsets, *self._content_columns(), strict=False)
        return map(_as_read, map(_new, repeat(Record), fields))

    def __getitem__(self, place: int) -> Record:
        timestamp = None if self.timestamps is None else self.timestamps[place]
        headers = () if self.headers is None else self.headers[place]
        offset, key, value = self.offsets[place], self.keys[place], self.values[place]
        return _as_read(Record(self.topic, self.partition, offset, key, value, timestamp, headers))

    def contents(self) -> Iterator[tuple[bytes | None, Any, int | None, Headers]]:
        """Yield the key, the value, the timestamp and the headers of each record."""
        return zip(*self._content_columns(), strict=False)

    def cut(self, start: int, end: int) -> "Run":
        """Return the records from one place to another."""
        if start == 0 and end == len(self):
            return self
        offsets, keys, values = self.offsets[start:end], self.keys[start:end], self.values[start:end]
        timestamps = None if self.timestamps is None else self.timestamps[start:end]
        headers = None if self.headers is None else self.headers[start:end]
        payload_bytes = sum_lengths(keys) + sum_lengths(values)
        return Run(self.topic, self.partition, offsets, keys, values, timestamps, headers, payload_bytes)

    def _content_columns(self) -> tuple[Iterable[Any], ...]:
        # The constant columns do not end.
        return self.keys, self.values, self.timestamps or repeat(None), self.headers or repeat(())


def _as_read(record: Record) -> Record:
    return record.value if isinstance(record.value, UnreadableBatch) else record


def sum_lengths(column: Sequence[bytes | None]) -> int:
    """Return the bytes of those that are not None."""
    try:
        return sum(map(len, column))  # type: ignore[arg-type]  # a TypeError is handled
    except TypeError:
        return sum(map(len, filter(None, column)))


class Records(Sequence[Record]):
    """
    Records in runs: an object for each of them would take longer than its decoding.

    Attributes:
        runs: the runs in their order, none of them empty; two that follow each other may be of one partition.
    """

    __slots__ = ("_count", "runs")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self.runs = list(runs)
        self._count = sum(map(len, self.runs))

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Return records in runs."""
        return cls(Run.of(list(run)) for _, run in groupby(records, key=itemgetter(0, 1)))

    def append(self, record: Record) -> None:
        """Add a record."""
        topic, partition, offset, key, value, timestamp, headers = record
        if isinstance(record, UnreadableBatch):
            value = record  # type: ignore[assignment]  # it stands for the bytes
        self.add(Run(topic, partition, [offset], [key], [value], [timestamp], [headers], record.payload_bytes))

    def add(self, run: Run) -> None:
        """Add the records of a run, which is kept and not changed."""
        self.runs.append(run)
        self._count += len(run)

    def extend(self, records: Iterable[Record]) -> None:
        """Add records."""
        if not isinstance(records, Records):
            records = Records.of(records)
        self.runs += records.runs
        self._count += len(records)

    def without_partition(self, number: int) -> "Records":
        """Return the records of the other partitions."""
        return Records(run for run in self.runs if run.partition != number)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the keys and values."""
        return sum(run.payload_bytes for run in self.runs)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> "Records": ...
    def __getitem__(self, place: int | slice) -> "Record | Records":
        if isinstance(place, slice):
            chosen = range(self._count)[place]
            if chosen.step != 1:
                return Records.of(self[each] for each in chosen)
            return Records(self._cut(chosen.start, chosen.stop))
        left = range(self._count)[place]
        for run in self.runs:
            if left < len(run):
                return run[left]
            left -= len(run)
        raise AssertionError("the count is that of the runs")

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(self.runs)

    def _cut(self, start: int, end: int) -> Iterator[Run]:
        passed = 0
        for run in self.runs:
            begin, stop = max(start - passed, 0), min(end - passed, len(run))
            if begin < stop:
                yield run.cut(begin, stop)
            passed += len(run)
