"""Records of an input file: the columns of their fields, and valid trades or violations."""

import logging
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO, Final, NamedTuple, Self

from tradepipe.files.errors import InvalidOption, format_names, quote_cell
from tradepipe.files.fields import FIELDS, OPTIONAL, ValueParser, read
from tradepipe.files.mapping import FileMapping
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code, Violation
from tradepipe.trade.rules import violations

logger = logging.getLogger(__name__)

REASON: Final = "reason"
"""First header of a file of rejects, which is ignored when the corrected file is loaded."""

_OTHER_NAMES: Final[Mapping[str, str]] = {
    "trade_id": "trade id|trade ref|trade reference|trade no|trade number|deal id|deal ref|deal no|deal number|"
    "reference|ref|id|external id|geschäftsnummer|geschäftsnr|handelsnummer",
    "version": "ver|rev|revision|trade version|amendment|version no",
    "counterparty_id": "counterparty|cpty|cpty id|cp|client|client id|customer|party|gegenpartei|kontrahent|kunde",
    "book_id": "book|portfolio|portfolio id|trading book|desk book|buch|handelsbuch",
    "maturity_date": "maturity|end date|ends|expiry|expiry date|expiration date|termination date|settlement date|"
    "settle date|value date|payment date|fälligkeit|laufzeitende|enddatum",
    "created_at": "created|created on|creation time|booked|booked at|booking time|trade time|trade date time|"
    "trade timestamp|timestamp|execution time|entry time|trade date|deal date|erfasst|erfasst am|handelszeit",
    "side": "buy sell|b s|bs|direction|buy or sell|seite|kauf verkauf|richtung",
    "notional": "notional amount|nominal|amount|face amount|nennwert|nennbetrag|betrag",
    "currency": "ccy|cur|curr|notional currency|notional ccy|währung",
}
"""Usual headers beyond the names of fields, the more exact first."""


class Columns(NamedTuple):
    """
    The columns of a file.

    Attributes:
        renamed: headers that match except for case and blanks, by field.

        unused: headers that belong to no field.

        lacking: optional fields without a column and a default.
    """

    positions: dict[str, int]
    renamed: dict[str, str]
    unused: list[str]
    lacking: list[str]


def find_columns(name: str, headers: Sequence[str], mapping: FileMapping, what: str = "headers") -> Columns:
    """
    Find the column of each field: its exact header, else the same without regard to case and surrounding blanks.

    Raises:
        InvalidOption: a required column is missing, or several headers match.
    """
    positions: dict[str, int] = {}
    for field in FIELDS:
        header = mapping.header(field)
        found = [at for at, each in enumerate(headers) if each == header] or [
            at for at, each in enumerate(headers) if _fold(each) == _fold(header)
        ]
        if len(found) > 1:
            raise InvalidOption(
                f"{name} has {len(found)} columns for {field}: {format_names([headers[at] for at in found])}; "
                + (
                    f"choose one with --column {field}=HEADER"
                    if len({headers[at] for at in found}) == len(found)
                    else "rename all but one"
                )
            )
        if found:
            positions[field] = found[0]
    missing = [
        field
        for field in FIELDS
        if field not in positions and (field in mapping.columns or field not in {*OPTIONAL, *mapping.defaults})
    ]
    if missing:
        raise _missing_columns(name, missing, headers, mapping, what)
    used = set(positions.values())
    return Columns(
        positions,
        {field: headers[at] for field, at in positions.items() if headers[at] != mapping.header(field)},
        # The reasons of an earlier run are expected, and not reported as unused.
        [header for at, header in enumerate(headers) if at not in used and not (at == 0 and header == REASON)],
        [field for field in FIELDS if field not in positions and field not in mapping.defaults],
    )


def suggest_headers(fields: Sequence[str], headers: Sequence[str]) -> dict[str, str]:
    """Find headers that usually mean one of these fields; each is suggested once."""
    # Reversed, so that of two similar headers the first one remains.
    left = {_letters(header): header for header in reversed(headers)}
    found: dict[str, str] = {}
    for field in fields:
        for name in (field, field.removesuffix("_id"), *_OTHER_NAMES.get(field, "").split("|")):
            if header := left.pop(_letters(name), None):
                found[field] = header
                break
    return found


def _fold(header: str) -> str:
    return header.strip().casefold()


def _letters(header: str) -> str:
    return "".join(character for character in header.casefold() if character.isalnum())


def _missing_columns(
    name: str, missing: list[str], headers: Sequence[str], mapping: FileMapping, what: str
) -> InvalidOption:
    needed = ", ".join(
        f"{field} ({quote_cell(mapping.columns[field])})" if field in mapping.columns else field for field in missing
    )
    found = suggest_headers(missing, [header for header in headers if header not in mapping.columns.values()])
    if found:
        options = " ".join(f"--column {shlex.quote(f'{field}={header}')}" for field, header in found.items())
        advice = f"did you mean {options}?"
    else:
        advice = f"pass --column {missing[0]}=HEADER, or --default {missing[0]}=VALUE for all trades"
    return InvalidOption(
        f"{name} has no column for {needed}; its {what} are {format_names(headers) or 'none'}; {advice} "
        "(--suggest-mapping FILE begins a mapping file)"
    )


class InputRecord(NamedTuple):
    """
    One record of a file.

    Attributes:
        line: number of its first line, of its row, or of its item in a JSON array.

        raw: its lines, without the last line end; empty if it has none.

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


class RowParser:
    """Parses the cells of a row, each by the form of its field's parser."""

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


class RejectWriter(ABC):
    """Writes invalid records with their reasons, in the format of the input."""

    @abstractmethod
    def add(self, record: InputRecord) -> None:
        """Write a record."""

    @abstractmethod
    def close(self) -> None:
        """Write what is buffered; the file stays open."""


class Reader(ABC):
    """
    An open file of trades.

    Attributes:
        name: the file's name in messages.

        unit: what its records are numbered by, such as line.

        ending: appended to the file's name, the name of a file of rejects.

        headers: headers of its columns, or keys of its first record.
    """

    unit = "row"
    ending: str

    def __init__(self, name: str, mapping: FileMapping, notify: Notify) -> None:
        self.name = name
        self.headers: list[str] = []
        self._mapping = mapping
        self._notify = notify
        self._detected: list[str] = []

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *raised: object) -> None: ...

    @abstractmethod
    def records(self) -> Iterator[InputRecord]:
        """
        Yield the records, in order; blank ones are skipped.

        Raises:
            InvalidOption: a required column is missing; raised before the first record.

            BadInput: the rest of the file has no recognizable records.
        """

    @abstractmethod
    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the cells of records that can be read, below the headers, instead of `records`."""

    @abstractmethod
    def progress(self) -> FileProgress | None:
        """Return the progress through a file whose size is known."""

    @abstractmethod
    def reject_writer(self, file: BinaryIO) -> RejectWriter:
        """Return a writer of rejects for this file, whose headers were read."""

    def _parser_of_rows(self, form: Callable[[ValueParser], Callable[[Any], object]]) -> RowParser:
        """Find the columns, and show what was found; `form` is the parser of a cell."""
        columns = find_columns(self.name, self.headers, self._mapping)
        describe_columns(self.name, columns, self._notify, self._detected)
        return RowParser(columns, self._mapping, form)

    @property
    def _reject_headers(self) -> list[str]:
        """The headers of rejects: the reason, then those of the file without the reasons of an earlier run."""
        return [REASON, *self.headers[self._reasons :]]

    @property
    def _reasons(self) -> int:
        """How many first columns have the reasons of an earlier run: 1 or 0."""
        return int(self.headers[:1] == [REASON] and REASON not in self._mapping.columns.values())


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
