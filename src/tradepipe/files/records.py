"""Records of an input file: valid trades, or violations."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, BinaryIO, NamedTuple, Protocol, Self

from tradepipe.files.errors import format_names
from tradepipe.files.fields import FIELDS, OPTIONAL, ValueParser, read
from tradepipe.files.headers import Columns
from tradepipe.files.mapping import FileMapping
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code, Violation
from tradepipe.trade.rules import violations

logger = logging.getLogger(__name__)


class InputRecord(NamedTuple):
    """
    One record of a file.

    Attributes:
        line: number of its first line, of its row, or of its item in a JSON array.

        raw: its lines, without the last line end; empty if it has none.

        trade: the trade, if it is valid.

        cells: its cells, or None if it was not split into cells.
    """

    line: int
    raw: str
    trade: Trade | None
    violations: tuple[Violation, ...] = ()
    cells: Sequence[object] | None = None


class FileProgress(NamedTuple):
    """Bytes or rows read of a file, their number, and a description of both."""

    done: int
    total: int
    text: str

    @property
    def share(self) -> float:
        """The share that was read, from 0 to 1; 1 for an empty file."""
        return min(1.0, self.done / self.total) if self.total else 1.0

    @classmethod
    def of_rows(cls, done: int, total: int) -> Self:
        """Describe the rows read."""
        return cls(done, total, f"{cls(done, total, '').share:.0%} of {total:,} rows")


Notify = Callable[[str], None]
"""Shows the user a line about a file."""


def drop(_text: str) -> None:
    """Show nothing."""


class RejectWriter(Protocol):
    """Writes invalid records with their reasons, in the format of the input."""

    def add(self, record: InputRecord) -> None:
        """Write a record."""

    def close(self) -> None:
        """Write what is buffered; the file stays open."""


class Reader(Protocol):
    """
    An open file of trades.

    Attributes:
        name: the file's name in messages.

        unit: what its records are numbered by, such as line.

        ending: appended to the file's name, the name of a file of rejects.

        headers: headers of its columns, or keys of its first record.
    """

    name: str
    unit: str
    ending: str
    headers: list[str]

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: object) -> None: ...

    def records(self) -> Iterator[InputRecord]:
        """
        Yield the records, in order; blank ones are skipped.

        Raises:
            InvalidOption: a required column is missing; raised before the first record.

            BadInput: the rest of the file has no recognizable records.
        """

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the cells of records that can be read, below the headers, instead of `records`."""

    def progress(self) -> FileProgress | None:
        """Return the progress through a file whose size is known."""

    def reject_writer(self, file: BinaryIO) -> RejectWriter:
        """Return a writer of rejects for this file, whose headers were read."""


class RowParser:
    """
    Parses the cells of a row.

    Args:
        form: the parser of a cell, by the kind of the file.
    """

    def __init__(
        self, columns: Columns, mapping: FileMapping, form: Callable[[ValueParser], Callable[[Any], object]]
    ) -> None:
        parsers = mapping.parsers()
        self._steps = [
            (at, form(parsers[field]))
            if (at := columns.positions.get(field)) is not None
            else (0, lambda _, value=value: value)
            for field in FIELDS
            for value in [mapping.defaults.get(field, OPTIONAL.get(field))]
        ]

    def __call__(self, row: Sequence[Any]) -> Trade | tuple[Violation, ...]:
        try:
            return Trade._make([parse(row[at]) for at, parse in self._steps])
        except ValueError:
            # Again, for the violations of all fields.
            steps = zip(FIELDS, self._steps, strict=True)
            return read({field: partial(parse, row[at]) for field, (at, parse) in steps})


def to_record(
    line: int, raw: str, parsed: Trade | tuple[Violation, ...], cells: Sequence[object] | None = None
) -> InputRecord:
    """Validate what was parsed of a record."""
    if isinstance(parsed, Trade):
        found = violations(parsed)
        return InputRecord(line, raw, None if found else parsed, found, cells)
    return InputRecord(line, raw, None, parsed, cells)


def undecodable(detail: str) -> tuple[Violation, ...]:
    """Return the violation of a record that has no fields."""
    return (Violation(Code.UNDECODABLE, detail),)


def format_error(name: str, record: InputRecord) -> str:
    """Format the violations of a record, as `FILE:LINE: FIELD: detail (CODE)`."""
    return f"{name}:{record.line}: {format_reasons(record)}"


def format_reasons(record: InputRecord) -> str:
    """Format the violations of a record, as `FIELD: detail (CODE)`."""
    reasons = []
    for code, detail in record.violations:
        # Details of rules begin with the field; those of parsers already have it before a colon.
        field, _, rest = detail.partition(" ")
        is_of_rule = field == code.lower() and field in FIELDS
        reasons.append(f"{field}: {rest} ({code})" if is_of_rule else f"{detail} ({code})")
    return "; ".join(reasons)


def describe_columns(
    name: str, found: Columns, notify: Notify, detected: Sequence[str] = (), what: str = "columns"
) -> None:
    """Show in one line what was detected, and warn if columns are unused that may hold missing fields."""
    notes = list(detected)
    if found.renamed:
        notes.append(f"headers matched without case and blanks: {format_names(list(found.renamed.values()), 4)}")
    if notes:
        notify(f"{name}: {', '.join(notes)}")
    if found.lacking and found.unused:
        logger.warning(
            "%s: no column for %s; unused %s: %s", name, ", ".join(found.lacking), what, format_names(found.unused, 4)
        )
