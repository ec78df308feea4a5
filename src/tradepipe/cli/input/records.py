"""Records of an input file: valid trades, or violations."""

import csv
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from tradepipe.cli.input.columns import ColumnMapping, Form, format_names
from tradepipe.cli.input.lines import BadInput, LineReader
from tradepipe.cli.input.values import FIELDS, from_json, from_text, quote_cell, read
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Code, Violation
from tradepipe.trade.rules import violations

logger = logging.getLogger(__name__)

_not_utf8 = re.compile("[\udc80-\udcff]").search


class InputRecord(NamedTuple):
    """
    One record of a file.

    Attributes:
        line: number of its first line.

        raw: its lines, without the last line end.

        trade: the trade, if it is valid.
    """

    line: int
    raw: str
    trade: Trade | None
    violations: tuple[Violation, ...] = ()


def records(source: LineReader, form: Form, mapping: ColumnMapping) -> Iterator[InputRecord]:
    """
    Yield the records of a file, in order; blank lines are skipped.

    Raises:
        BadParameter: a required column is missing; raised before the first record.

        BadInput: the rest of the file cannot be split into records.
    """
    return _csv(source, mapping) if form == "csv" else _json_lines(source, mapping)


def format_error(name: str, record: InputRecord) -> str:
    """Format the violations of a record, as `FILE:LINE: FIELD: detail (CODE)`."""
    return f"{name}:{record.line}: " + "; ".join(_format_violation(violation) for violation in record.violations)


def _format_violation(violation: Violation) -> str:
    # Details of rules begin with the field; those of parsers already have it before a colon.
    field, detail = violation.code.lower(), violation.detail
    if field in FIELDS and detail.startswith(f"{field} "):
        detail = f"{field}: {detail.removeprefix(f'{field} ')}"
    return f"{detail} ({violation.code})"


class _LineRecorder:
    """Passes lines on to a parser, and keeps those of the current record."""

    def __init__(self, source: LineReader) -> None:
        self._source = source
        self._lines = iter(source)
        self._recorded: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._recorded.append(line)
            yield line

    def begin(self) -> None:
        """Start a new record at the next line."""
        self._recorded.clear()

    @property
    def line(self) -> int:
        """Number of the record's first line."""
        return self._source.number - len(self._recorded) + 1

    @property
    def raw(self) -> str:
        """The record's lines, without the last line end."""
        return "".join(self._recorded).rstrip("\r\n")


def _csv(source: LineReader, mapping: ColumnMapping) -> Iterator[InputRecord]:
    recorder = _LineRecorder(source)
    rows = csv.reader(iter(recorder), strict=True)
    headers = _headers(source, rows, recorder)
    mapping.require(source.name, headers)
    _warn_ignored(mapping.ignored(headers), source.name, "columns")
    columns = {field: headers.index(header) for field, header in mapping.headers.items() if header in headers}
    while True:
        recorder.begin()
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield _broken(source, recorder, error)
            continue
        if row is None:
            return
        if row:
            yield _record(recorder, partial(_row, mapping, columns, len(headers), row))


def _headers(source: LineReader, rows: Iterator[list[str]], recorder: _LineRecorder) -> list[str]:
    """Return the first row that is not blank, or no headers for an empty file."""
    try:
        return next((row for row in rows if row), [])
    except csv.Error as error:
        raise BadInput(f"{source.name}:{recorder.line}: the header line is not CSV: {error}") from None


def _broken(source: LineReader, recorder: _LineRecorder, error: csv.Error) -> InputRecord:
    """Return a record that is not CSV; raise `BadInput` for an unclosed quote, which hides the following records."""
    # csv limits a cell to 131,072 characters, so an unclosed quote does not fill the memory.
    if "end of data" in str(error) or "field limit" in str(error):
        raise BadInput(
            f"{source.name}:{recorder.line}: a quote in this record is not closed up to line {source.number}, "
            "so the following records cannot be read"
        )
    return InputRecord(
        recorder.line, recorder.raw, None, (Violation(Code.UNDECODABLE, f"the record is not CSV: {error}"),)
    )


def _row(mapping: ColumnMapping, columns: dict[str, int], width: int, row: list[str]) -> Trade | tuple[Violation, ...]:
    if len(row) != width:
        return (
            Violation(
                Code.UNDECODABLE,
                f"the record has {len(row)} cell{'' if len(row) == 1 else 's'} but there are {width} headers",
            ),
        )
    values = {field: partial(from_text, field, row[column]) for field, column in columns.items()}
    return read({field: values.get(field) or mapping.missing(field) for field in FIELDS})


def _json_lines(source: LineReader, mapping: ColumnMapping) -> Iterator[InputRecord]:
    recorder = _LineRecorder(source)
    known: set[str] | None = None
    for line in recorder:
        if line.strip():
            try:
                found = _object(line)
            except ValueError as error:
                yield _record(recorder, partial(_undecodable, str(error)))
            else:
                known = _read_keys(source, mapping, found, known)
                yield _record(recorder, partial(_values, mapping, found))
        recorder.begin()


def _object(line: str) -> dict[str, object]:
    """
    Parse the JSON object on a line.

    Raises:
        ValueError: the line is not a JSON object, or has a duplicate key.
    """
    try:
        found = json.loads(line, object_pairs_hook=_unique, parse_float=_exact, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"the line is not JSON: {error.msg} at character {error.colno}") from None
    except RecursionError:
        raise ValueError("the line is not a trade: it is nested too deeply") from None
    except ValueError as error:  # from the hooks below, or from Python for a number with thousands of digits
        raise ValueError(f"the line is not a trade: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"the line is not a JSON object but {quote_cell(line.strip())}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {quote_cell(twice)} is duplicated")
    return found


def _exact(number: str) -> Decimal:
    """Parse a JSON number with a point or an exponent, exactly."""
    try:
        return Decimal(number)
    except ArithmeticError:
        raise ValueError(f"the exponent of the number {quote_cell(number)} is too large") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _read_keys(
    source: LineReader, mapping: ColumnMapping, found: dict[str, object], known: set[str] | None
) -> set[str]:
    """
    Warn about unknown keys, and return those warned about.

    Raises:
        BadParameter: the first object lacks required fields and has unknown keys.
    """
    ignored = mapping.ignored(found)
    if known is None and ignored:
        mapping.require(source.name, list(found), "first record's keys")
    new = [key for key in ignored if known is None or key not in known]
    if new and not known:
        _warn_ignored(new, source.name, "keys")
        return set(new)
    return known or set()


def _values(mapping: ColumnMapping, found: dict[str, object]) -> Trade | tuple[Violation, ...]:
    values: dict[str, Callable[[], object]] = {}
    for field in FIELDS:
        if field in mapping.defaults and field in found:
            values[field] = partial(_is_there, field)
        elif (header := mapping.headers.get(field)) in found:
            values[field] = partial(from_json, field, found[header])
        else:
            values[field] = mapping.missing(field)
    return read(values)


def _is_there(field: str) -> object:
    raise ValueError(f"present, but --default {field} is only for files that lack it")


def _undecodable(detail: str) -> tuple[Violation, ...]:
    return (Violation(Code.UNDECODABLE, detail),)


def _record(recorder: _LineRecorder, parse: Callable[[], Trade | tuple[Violation, ...]]) -> InputRecord:
    """Parse and validate a record."""
    line, raw = recorder.line, recorder.raw
    if wrong := _not_utf8(raw):
        byte = ord(wrong[0]) - 0xDC00
        return InputRecord(
            line, raw, None, _undecodable(f"the record is not UTF-8: byte 0x{byte:02x} in {_context(wrong)}")
        )
    parsed = parse()
    if isinstance(parsed, Trade):
        found = violations(parsed)
        return InputRecord(line, raw, None if found else parsed, found)
    return InputRecord(line, raw, None, parsed)


def _context(wrong: re.Match[str]) -> str:
    """Quote the text around an invalid byte, with a question mark for the byte."""
    near = wrong.string[max(0, wrong.start() - 10) : wrong.end() + 10]
    return repr(near.encode("utf-8", "replace").decode())


def _warn_ignored(ignored: Sequence[str], name: str, what: str) -> None:
    if ignored:
        logger.warning(
            "%s: ignored unknown %s: %s; if one of them is a field, pass --column FIELD=HEADER",
            name,
            what,
            format_names(ignored),
        )
