"""The records of a file: each a trade that keeps all rules, or what is wrong with it."""

import csv
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from tradepipe.cli.input.columns import ColumnMapping, Form, parse_list
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
        line: the number of the line it begins on.

        raw: its lines as they stand there, without the last one's end.

        trade: what it holds, if nothing speaks against it.
    """

    line: int
    raw: str
    trade: Trade | None
    violations: tuple[Violation, ...] = ()


def records(source: LineReader, form: Form, layout: ColumnMapping) -> Iterator[InputRecord]:
    """
    The records of a file, in its order; blank lines are none.

    Raises:
        BadParameter: the file has not the columns it must have; raised before the first record.

        BadInput: the rest of the file cannot be told into records.
    """
    return _csv(source, layout) if form == "csv" else _json_lines(source, layout)


def format_error(name: str, record: InputRecord) -> str:
    """What is wrong with a record, as `FILE:LINE: FIELD: what (CODE)`."""
    return f"{name}:{record.line}: " + "; ".join(_format_violation(violation) for violation in record.violations)


def _format_violation(violation: Violation) -> str:
    """Our rules' details begin with the field; the parser's have it already before a colon."""
    field, detail = violation.code.lower(), violation.detail
    if field in FIELDS and detail.startswith(f"{field} "):
        detail = f"{field}: {detail.removeprefix(f'{field} ')}"
    return f"{detail} ({violation.code})"


class _LineRecorder:
    """Lines on their way into a record: how it stood in the file, and where it began."""

    def __init__(self, source: LineReader) -> None:
        self._source = source
        self._lines = iter(source)
        self._taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._taken.append(line)
            yield line

    def begin(self) -> None:
        """The next line begins a record."""
        self._taken.clear()

    @property
    def line(self) -> int:
        """The number of the line the record began on."""
        return self._source.number - len(self._taken) + 1

    @property
    def raw(self) -> str:
        """The record's lines."""
        return "".join(self._taken).rstrip("\r\n")


def _csv(source: LineReader, layout: ColumnMapping) -> Iterator[InputRecord]:
    taken = _LineRecorder(source)
    rows = csv.reader(iter(taken), strict=True)
    headers = _headers(source, rows, taken)
    layout.require(source.name, headers)
    _warn_of(layout.ignored(headers), source.name, "columns")
    columns = {field: headers.index(header) for field, header in layout.headers.items() if header in headers}
    while True:
        taken.begin()
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield _broken(source, taken, error)
            continue
        if row is None:
            return
        if row:
            yield _record(taken, partial(_row, layout, columns, len(headers), row))


def _headers(source: LineReader, rows: Iterator[list[str]], taken: _LineRecorder) -> list[str]:
    """The first row that is not blank; an empty file has none."""
    try:
        return next((row for row in rows if row), [])
    except csv.Error as error:
        raise BadInput(f"{source.name}:{taken.line}: the headers are no CSV: {error}") from None


def _broken(source: LineReader, taken: _LineRecorder, error: csv.Error) -> InputRecord:
    """A record that is no CSV; the next line begins the next one, unless a quote has swallowed it."""
    # csv's own limit of 131,072 characters to a cell is what keeps such a quote from filling the memory.
    if "end of data" in str(error) or "field limit" in str(error):
        raise BadInput(
            f"{source.name}:{taken.line}: a quote is opened in this record and not closed "
            f"up to line {source.number}, so that nobody can tell where the next one begins"
        )
    return InputRecord(taken.line, taken.raw, None, (Violation(Code.UNDECODABLE, f"the record is no CSV: {error}"),))


def _row(layout: ColumnMapping, columns: dict[str, int], width: int, row: list[str]) -> Trade | tuple[Violation, ...]:
    if len(row) != width:
        return (Violation(Code.UNDECODABLE, f"the record has {_cells(len(row))}, the headers are {width}"),)
    values = {field: partial(from_text, field, row[column]) for field, column in columns.items()}
    return read({field: values.get(field) or layout.missing(field) for field in FIELDS})


def _cells(number: int) -> str:
    return f"{number} cell{'' if number == 1 else 's'}"


def _json_lines(source: LineReader, layout: ColumnMapping) -> Iterator[InputRecord]:
    taken = _LineRecorder(source)
    known: set[str] | None = None
    for line in taken:
        if line.strip():
            try:
                found = _object(line)
            except ValueError as error:
                yield _record(taken, partial(_undecodable, str(error)))
            else:
                known = _read_keys(source, layout, found, known)
                yield _record(taken, partial(_values, layout, found))
        taken.begin()


def _object(line: str) -> dict[str, object]:
    """
    The object on a line.

    Raises:
        ValueError: there is none, or something that JSON has no word for, or a key is there twice.
    """
    try:
        found = json.loads(line, object_pairs_hook=_unique, parse_float=_exact, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"the line is no JSON: {error.msg} at character {error.colno}") from None
    except RecursionError:
        raise ValueError("the line is no JSON of a trade: it is nested too deeply") from None
    except ValueError as error:  # ours, or Python's of a number with thousands of digits
        raise ValueError(f"the line is no JSON of a trade: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"the line is no JSON object, but {quote_cell(line.strip())}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {quote_cell(twice)} is there twice")
    return found


def _exact(number: str) -> Decimal:
    """A JSON number with a point or an exponent, to its last place."""
    try:
        return Decimal(number)
    except ArithmeticError:
        raise ValueError(f"the number {quote_cell(number)} has an exponent that nobody can hold") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


def _read_keys(source: LineReader, layout: ColumnMapping, found: dict[str, object], known: set[str] | None) -> set[str]:
    """
    The keys that were told of; the first object speaks for the file if its keys are other ones.

    Raises:
        BadParameter: the first object lacks fields and has unknown keys in their place.
    """
    ignored = layout.ignored(found)
    if known is None and ignored:
        layout.require(source.name, list(found), "first record's keys")
    new = [key for key in ignored if known is None or key not in known]
    if new and not known:
        _warn_of(new, source.name, "keys")
        return set(new)
    return known or set()


def _values(layout: ColumnMapping, found: dict[str, object]) -> Trade | tuple[Violation, ...]:
    values: dict[str, Callable[[], object]] = {}
    for field in FIELDS:
        if field in layout.defaults and field in found:
            values[field] = partial(_is_there, field)
        elif (header := layout.headers.get(field)) in found:
            values[field] = partial(from_json, field, found[header])
        else:
            values[field] = layout.missing(field)
    return read(values)


def _is_there(field: str) -> object:
    raise ValueError(f"it is there, and --default {field} is for a file that lacks it")


def _undecodable(detail: str) -> tuple[Violation, ...]:
    return (Violation(Code.UNDECODABLE, detail),)


def _record(taken: _LineRecorder, parse: Callable[[], Trade | tuple[Violation, ...]]) -> InputRecord:
    """What a record holds, judged by the rules."""
    line, raw = taken.line, taken.raw
    if wrong := _not_utf8(raw):
        byte = ord(wrong[0]) - 0xDC00
        return InputRecord(
            line, raw, None, _undecodable(f"the record is not UTF-8: byte 0x{byte:02x} in {_around(wrong)}")
        )
    parsed = parse()
    if isinstance(parsed, Trade):
        found = violations(parsed)
        return InputRecord(line, raw, None if found else parsed, found)
    return InputRecord(line, raw, None, parsed)


def _around(wrong: re.Match[str]) -> str:
    """What stands around a byte that is no UTF-8, the byte itself as a question mark."""
    near = wrong.string[max(0, wrong.start() - 10) : wrong.end() + 10]
    return repr(near.encode("utf-8", "replace").decode())


def _warn_of(ignored: Sequence[str], name: str, what: str) -> None:
    if ignored:
        logger.warning(
            "%s: %s that no field has are ignored: %s; if one is a field's, say --column FIELD=HEADER",
            name,
            what,
            parse_list(ignored),
        )
