"""Suggestion of a mapping file, from the headers and the first rows of a file."""

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice, product
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from tradepipe.files.csv_file import CsvFile, find_undecoded
from tradepipe.files.errors import InvalidOption
from tradepipe.files.fields import FIELDS, OPTIONAL
from tradepipe.files.file_kinds import Form, identify
from tradepipe.files.formats import DateFormat, NumberFormat
from tradepipe.files.lines import STDIN, LineReader
from tradepipe.files.mapping import FileMapping
from tradepipe.files.records import REASON, suggest_headers
from tradepipe.files.trade_file import open_reader
from tradepipe.files.values import calendar_date, instant
from tradepipe.trade.constraints import Identifier
from tradepipe.trade.model import DECLARATION

SAMPLE_ROWS: Final = 1_000
_SAMPLE_BYTES: Final = 1 << 20
_MAX_TEXTS: Final = 12
"""Maximum number of texts listed for a field."""

_DATES: Final = (
    "DD.MM.YYYY",
    "DD/MM/YYYY",
    "MM/DD/YYYY",
    "DD-MM-YYYY",
    "MM-DD-YYYY",
    "YYYY/MM/DD",
    "YYYY.MM.DD",
    "YYYYMMDD",
    "DD-MMM-YYYY",
    "DD MMM YYYY",
    "DD.MM.YY",
    "DD/MM/YY",
    "MM/DD/YY",
    "DD-MMM-YY",
    "DD MMM YY",
)
_TIMES: Final = (
    "",
    " hh:mm",
    " hh:mm:ss",
    " hh:mm:ss.fff",
    " hh:mm AM/PM",
    " hh:mm:ss AM/PM",
    "Thh:mm",
    "Thh:mm:ss",
    "Thh:mm:ss.fff",
)
_OFFSETS: Final = ("", "Z", " Z")
_NUMBERS: Final = ((".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", "'"), (",", "'"), (".", " "))
"""Decimal signs and signs that group thousands."""

_OTHER_TEXTS: Final = {
    **dict.fromkeys(("buy", "b", "bot", "bought", "long", "kauf", "k"), "BUY"),
    **dict.fromkeys(("sell", "s", "sld", "sold", "short", "verkauf", "v"), "SELL"),
    **dict.fromkeys(("y", "yes", "1", "x", "ja", "j"), "true"),
    **dict.fromkeys(("n", "no", "0", "nein"), "false"),
}
"""Usual texts for symbols of enums, and for booleans."""

_is_identifier = re.compile(Identifier().expression).fullmatch
_has_offset = re.compile(r".*:.*[0-9] ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)").fullmatch


def suggest_mapping(path: str, form: Form | None, mapping: FileMapping) -> str:
    """Return the text of a first mapping file for a file of trades; `InvalidOption` if that is not readable."""
    if path == STDIN:
        raise InvalidOption("needs a file, not stdin", "--suggest-mapping")
    if identify(path, form) in {"csv", "json", "jsonl"} and mapping.encoding is None:
        with LineReader(path) as source:
            # Not UTF-8: then most likely the encoding of Windows in Western Europe.
            encoding = "cp1252" if find_undecoded(source.read_text(_SAMPLE_BYTES)) else None
        mapping = mapping._replace(encoding=encoding)
    return "\n".join(_suggestion(path, form, mapping)) + "\n"


def _suggestion(path: str, form: Form | None, mapping: FileMapping) -> Iterator[str]:
    with open_reader(path, form, mapping, threading.Event()) as reader:
        headers = [header for at, header in enumerate(reader.headers) if not (at == 0 and header == REASON)]
        rows = list(islice(reader.rows(), SAMPLE_ROWS))
        found = suggest_headers(list(FIELDS), headers)
        cells = {field: [row[reader.headers.index(header)] for row in rows] for field, header in found.items()}
        yield f"# Columns and formats of {_quote(Path(path).name)}, from its headers and first {len(rows):,} rows."
        yield "# Check each line; lines that begin with # have no effect."
        yield ""
        if isinstance(reader, CsvFile):
            yield f"delimiter = {_quote('tab' if reader.delimiter == chr(9) else reader.delimiter)}"
        if mapping.encoding:
            yield f"encoding = {_quote(mapping.encoding)}  # not UTF-8; a guess for files from Windows"
        if mapping.sheet:
            yield f"sheet = {_quote(mapping.sheet)}"
        yield from _formats(cells)
    yield ""
    yield "[columns]"
    for field in FIELDS:
        if field in found:
            yield f"{field} = {_quote(found[field])}"
        else:
            optional = ", and it may be missing" if field in OPTIONAL else ""
            yield f"# {field} = {_quote('')}  # no header looks like it{optional}"
    if unused := [header for header in headers if header not in found.values()]:
        yield f"# Other headers: {', '.join(_quote(header) for header in unused)}"
    yield from ["", "[defaults]  # values for fields that the file lacks, and for empty cells"]
    for field in (field for field in FIELDS if field not in OPTIONAL):
        if field not in found:
            yield f"# {field} = {_quote('')}"
        elif empty := sum(cell in (None, "") for cell in cells[field]):
            yield f"# {field} = {_quote('')}  # empty in {empty:,} of these rows"
    yield from _values(cells)


def _formats(cells: dict[str, list[object]]) -> Iterator[str]:
    dates, times, numbers = (
        _texts(chain.from_iterable(cells.get(field, ()) for field in _fields_of(*kinds)))
        for kinds in (("date",), ("timestamp", "local-timestamp"), ("decimal", "float", "double"))
    )
    instants = [(field, cells.get(field, ())) for field in _fields_of("timestamp")]
    date_patterns = _fitting_patterns(dates, calendar_date, _DATES)
    yield from _date_lines("date-format", dates, date_patterns)
    patterns = [
        f"{date}{time}{offset}"
        for date, time, offset in product(("YYYY-MM-DD", *_DATES), _TIMES, _OFFSETS)
        if time or not offset
    ]
    time_patterns = _fitting_patterns(times, lambda text: instant(text, ZoneInfo("UTC")), patterns)
    # A file rarely writes its days before the months in one column, and after them in another.
    known = date_patterns[0] if date_patterns and len(date_patterns) == 1 else "?"
    alike = [pattern for pattern in time_patterns or () if pattern.startswith(known)]
    yield from _date_lines("time-format", times, alike or time_patterns)
    without = [
        field
        for field, found in instants
        if any(isinstance(cell, datetime) and not cell.tzinfo for cell in found)
        or not all(map(_has_offset, _texts(found)))
    ]
    if without:
        yield f"# The times of {' and '.join(without)} have no offset. Name their zone:"
        yield '# timezone = "Europe/London"'
    yield from _number_lines(numbers)


def _fitting_patterns(
    texts: Sequence[str], plain: Callable[[str], object], patterns: Sequence[str]
) -> list[str] | None:
    """Return the patterns that fit the most texts, at least half of them; None if the plain form fits all."""
    if _count(plain, texts) == len(texts):
        return None
    counts = {pattern: _count(DateFormat(pattern).parse, texts) for pattern in patterns}
    best = max(counts.values())
    return [pattern for pattern, count in counts.items() if count == best] if best > len(texts) / 2 else []


def _date_lines(key: str, texts: Sequence[str], patterns: list[str] | None) -> Iterator[str]:
    if patterns is None:
        return
    if not patterns:
        yield f'# {key} = "DD/MM/YYYY"  # no usual format fits {_quote(texts[0])}'
    elif len(patterns) == 1:
        yield f"{key} = {_quote(patterns[0])}"
    else:
        yield f"# Choose one: all fit, and {_quote(texts[0])} is another day in each."
        yield from (f"# {key} = {_quote(pattern)}" for pattern in patterns)


def _number_lines(texts: Sequence[str]) -> Iterator[str]:
    counts = {signs: _count(NumberFormat(*signs).parse, texts) for signs in _NUMBERS}
    best = max(counts.values())
    fitting = [signs for signs, count in counts.items() if count == best]
    # Of formats that read the same, the plainest stays.
    meanings = {tuple(_results(NumberFormat(*signs).parse, texts)): signs for signs in reversed(fitting)}
    if not texts or best == 0 or list(meanings.values()) == [_NUMBERS[0]]:
        return
    if len(meanings) > 1:
        yield f"# Choose the signs: {_quote(texts[0])} is another number with others."
    comment = "# " if len(meanings) > 1 else ""
    for decimal, thousands in sorted(meanings.values(), key=_NUMBERS.index):
        yield f"{comment}decimal = {_quote(decimal)}"
        if thousands:
            yield f"{comment}thousands = {_quote(thousands)}"


def _values(cells: dict[str, list[object]]) -> Iterator[str]:
    for field in DECLARATION.fields:
        texts = _texts(cells.get(field.name, ()))
        heading = f"[values.{field.name}]"
        if symbols := field.type.symbols or ("true", "false") * (field.type.kind == "boolean"):
            lines = []
            for text in (text for text in texts if text not in symbols):
                word = text.strip().lower()
                meant = next((each for each in symbols if each.lower() == word), _OTHER_TEXTS.get(word))
                lines.append(
                    f"{_quote(text)} = {_quote(meant)}"
                    if meant in symbols
                    else f"# {_quote(text)} = {_quote(symbols[0])}"
                )
        elif any(isinstance(each, Identifier) for each in field.constraints):
            heading += "  # refused otherwise: identifiers have no blanks, and no letters beyond ASCII"
            others = [text for text in texts if not _is_identifier(text)]
            lines = [f"# {_quote(text)} = {_quote(re.sub('[^!-~]+', '-', text.strip()))}" for text in others]
        else:
            continue
        yield from ["", heading, *lines[:_MAX_TEXTS]] if lines else []


def _fields_of(*kinds: str) -> list[str]:
    """Return the fields of some kinds, each without the unit of a timestamp."""
    return [
        field.name for field in DECLARATION.fields if re.sub("-(millis|micros|nanos)$", "", field.type.kind) in kinds
    ]


def _texts(cells: Iterable[object]) -> list[str]:
    """Return the different texts of cells, without empty ones."""
    return list(dict.fromkeys(cell for cell in cells if isinstance(cell, str) and cell))


def _count(parse: Callable[[str], object], texts: Sequence[str]) -> int:
    return len(list(_results(parse, texts)))


def _results(parse: Callable[[str], object], texts: Sequence[str]) -> Iterator[object]:
    for text in texts:
        try:
            yield parse(text)
        except ValueError:
            continue


def _quote(text: str) -> str:
    """Quote a text for TOML, whose basic strings are those of JSON; characters that do not print are escaped."""
    quoted = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in quoted)
