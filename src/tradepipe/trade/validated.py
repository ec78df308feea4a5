"""Validated records: each has a row for PostgreSQL, or is refused."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, compress, repeat
from typing import Final, cast

from tradepipe.trade.model import Trade
from tradepipe.trade.record import Record, Refusal
from tradepipe.trade.records import Records, Run

ROW_COLUMNS: Final = ("source_topic", *Trade._fields, "source_partition", "source_offset", "schema_id")
"""The columns of a row, in their order."""

_SCHEMA_ID_BYTES: Final = 4


class ValidRecord:
    """
    A record whose trade may be stored.

    Attributes:
        row: the columns of `ROW_COLUMNS` as one row of PostgreSQL's binary COPY: the
            number of fields, then the fields.
    """

    __slots__ = ("_trade", "record", "row")

    def __init__(self, record: Record, row: bytes, trade: Trade | Callable[[Record], Trade]) -> None:
        self.record = record
        self.row = row
        self._trade = trade

    @property
    def trade(self) -> Trade:
        """The trade, given or decoded from the record at the first use."""
        if not isinstance(self._trade, Trade):
            # Kept: a collision and the line of --verbose use it again.
            self._trade = self._trade(self.record)
        return self._trade

    @property
    def schema_id(self) -> int:
        """The id of the writer schema, which ends the row."""
        return int.from_bytes(self.row[-_SCHEMA_ID_BYTES:], "big")


class ValidatedRecords:
    """
    Validated records in the order in which they were read.

    Nearly all are valid, and nearly all of these are stored without another look
    at them, so there is no object for a record beside itself and its row.

    Args:
        trade_of: decodes the trade of a valid record.

    Attributes:
        records: all records; of a refused one, what the refusal keeps.

        results: for each record its row, or its refusal.

        refusals: the refusals among the results.

        payload_bytes: bytes of all keys and values as they were read; in a slice, of what is kept.
    """

    __slots__ = ("_trade_of", "payload_bytes", "records", "refusals", "results")

    def __init__(
        self, trade_of: Callable[[Record], Trade], records: Records | None = None, rows: Sequence[bytes] = ()
    ) -> None:
        self._trade_of = trade_of
        self.records = Records() if records is None else records
        self.results: list[bytes | Refusal] = list(rows)
        self.refusals: list[Refusal] = []
        self.payload_bytes = self.records.payload_bytes

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[ValidRecord | Refusal]:
        for record, result in zip(self.records, self.results, strict=True):
            yield ValidRecord(record, result, self._trade_of) if isinstance(result, bytes) else result

    def __getitem__(self, part: slice) -> "ValidatedRecords":
        return self._select(self.records[part], self.results[part])

    def add_valid(self, run: Run, rows: Sequence[bytes]) -> None:
        """Add valid records with their rows."""
        self.records.add(run)
        self.results += rows
        self.payload_bytes += run.payload_bytes

    def add_all(self, others: "ValidatedRecords") -> None:
        """Add validated records, which are not used again themselves."""
        self.records.extend(others.records)
        self.results += others.results
        self.refusals += others.refusals
        self.payload_bytes += others.payload_bytes

    def add_refusal(self, refusal: Refusal, payload_bytes: int) -> None:
        """Add a refused record, of whose key and value the refusal may not keep all bytes."""
        self.records.append(refusal.record)
        self.results.append(refusal)
        self.refusals.append(refusal)
        self.payload_bytes += payload_bytes

    def without_partition(self, number: int) -> "ValidatedRecords":
        """Return the records of the other partitions."""
        kept = chain.from_iterable(repeat(run.partition != number, len(run)) for run in self.records.runs)
        return self._select(self.records.without_partition(number), list(compress(self.results, kept)))

    def decoded(self) -> "ValidatedRecords":
        """Return the same records with their trades, which need no schema any more."""
        trades = {each.record: each.trade for _, each in self.valid()}
        decoded = self._select(self.records, self.results)
        decoded._trade_of = trades.__getitem__
        return decoded

    def _select(self, records: Records, results: list[bytes | Refusal]) -> "ValidatedRecords":
        selected = ValidatedRecords(self._trade_of, records)
        selected.results = results
        if self.refusals:
            selected.refusals = [result for result in results if isinstance(result, Refusal)]
        return selected

    @property
    def rows(self) -> list[bytes]:
        """The rows of the valid records."""
        if not self.refusals:
            return cast("list[bytes]", self.results)
        return [result for result in self.results if type(result) is bytes]

    def valid_ordinals(self) -> Sequence[int]:
        """Return the ordinals of the valid records among all records, in the order of `rows`."""
        if not self.refusals:
            return range(len(self.results))
        return [ordinal for ordinal, result in enumerate(self.results) if type(result) is bytes]

    def valid_at(self, ordinal: int) -> ValidRecord:
        """Return the record of an ordinal, which is valid."""
        row = self.results[ordinal]
        assert isinstance(row, bytes)
        return ValidRecord(self.records[ordinal], row, self._trade_of)

    def valid(self) -> list[tuple[int, ValidRecord]]:
        """Return the valid records with their ordinals among all records, in the order of `rows`."""
        return [(ordinal, each) for ordinal, each in enumerate(self) if isinstance(each, ValidRecord)]
