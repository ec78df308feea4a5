"""Kafka records in columns."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, groupby, repeat
from operator import itemgetter
from typing import Any, Final, Self, overload

from tradepipe.trade.record import Record, UnreadableBatch

_new: Final[Any] = tuple.__new__
"""Creates a record without the NamedTuple constructor, which is Python code."""


class Records(Sequence[Record]):
    """
    Records in columns: an object for each of them would take longer than its decoding.

    Attributes:
        columns: a list for each field of `Record`, in their order. The value of an unreadable
            batch is the batch itself.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: tuple[list[Any], ...] | None = None) -> None:
        self.columns = tuple([] for _ in Record._fields) if columns is None else columns

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Return records in columns."""
        made = cls()
        made.extend(records)
        return made

    def append(self, record: Record) -> None:
        """Add a record."""
        for column, value in zip(self.columns, record, strict=True):
            column.append(value)
        if isinstance(record, UnreadableBatch):
            self.values[-1] = record

    def extend(self, records: Iterable[Record]) -> None:
        """Add records."""
        if isinstance(records, Records):
            for column, more in zip(self.columns, records.columns, strict=True):
                column.extend(more)
        else:
            for record in records:
                self.append(record)

    def select(self, flags: Sequence[bool]) -> "Records":
        """Return the records whose flag is true."""
        return Records(tuple(list(compress(column, flags)) for column in self.columns))

    def without_partition(self, number: int) -> "Records":
        """Return the records of the other partitions."""
        return self.select([partition != number for partition in self.partitions])

    def runs(self) -> Iterator[tuple[int, "Records"]]:
        """Yield each partition with its next records up to one of another partition."""
        start = 0
        for partition, run in groupby(self.partitions):
            end = start + len(list(run))
            yield partition, self if end - start == len(self) else self[start:end]
            start = end

    def payload_bytes(self) -> int:
        """Return the bytes of the keys and values."""
        return sum_lengths(self.keys) + sum_lengths(self.values)

    @property
    def partitions(self) -> list[int]:
        """The column of partitions."""
        return self.columns[1]

    @property
    def offsets(self) -> list[int]:
        """The column of offsets."""
        return self.columns[2]

    @property
    def keys(self) -> list[bytes | None]:
        """The column of keys."""
        return self.columns[3]

    @property
    def values(self) -> list[Any]:
        """The column of values, and of unreadable batches."""
        return self.columns[4]

    @property
    def timestamps(self) -> list[int | None]:
        """The column of timestamps, in milliseconds since 1970."""
        return self.columns[5]

    @property
    def headers(self) -> list[Any]:
        """The column of headers."""
        return self.columns[6]

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> "Records": ...
    def __getitem__(self, place: int | slice) -> "Record | Records":
        get = itemgetter(place)
        if isinstance(place, slice):
            return Records(tuple(map(get, self.columns)))
        return _as_read(_new(Record, map(get, self.columns)))

    def __iter__(self) -> Iterator[Record]:
        return map(_as_read, map(_new, repeat(Record), zip(*self.columns, strict=True)))


def _as_read(record: Record) -> Record:
    return record.value if isinstance(record.value, UnreadableBatch) else record


def sum_lengths(column: Sequence[bytes | str | None]) -> int:
    """Return the bytes of those that are not None."""
    try:
        return sum(map(len, column))  # type: ignore[arg-type]  # a TypeError is handled
    except TypeError:
        return sum(map(len, filter(None, column)))
