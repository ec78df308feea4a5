"""CSV files with headers."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO, Final

from tradepipe.files.errors import BadInput, unusable
from tradepipe.files.lines import LineReader, TextFile
from tradepipe.files.mapping import FileMapping
from tradepipe.files.records import (
    InputRecord,
    Notify,
    RejectWriter,
    format_reasons,
    to_record,
    undecodable,
)
from tradepipe.plural import format_count

_DELIMITERS: Final = ",;\t|"

find_undecoded = re.compile("[\udc80-\udcff]").search

_names_delimiter = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE).fullmatch
"""The first line of a file for Excel may name the delimiter."""


class CsvFile(TextFile):
    """A CSV file, whose headers are read at once: `InvalidOption` if they are not in the encoding, or not CSV."""

    ending = ".rejects.csv"

    def __init__(self, source: LineReader, mapping: FileMapping, notify: Notify) -> None:
        super().__init__(source, mapping, notify)
        self._lines = _LineRecorder(source)
        # Exports begin with blank lines now and then.
        first = next((line for line in self._lines if line.strip()), "")
        named = _names_delimiter(first)
        if named:
            first = next(self._lines, "")
        if wrong := find_undecoded(first):
            raise unusable(self.name, f"the header line is not {wrong_byte(wrong, source.encoding)}")
        if "\r" in first.rstrip("\r") and not first.endswith("\n"):
            raise unusable(
                self.name, "its lines end with CR alone, as on old Macs: save it with the line ends LF or CRLF"
            )
        # Most likely the delimiter that splits the header line into the most cells.
        likely = max(_DELIMITERS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
        self.delimiter = mapping.delimiter or (named[1] if named else likely)
        self._line_end = "\r\n" if first.endswith("\r\n") else "\n"
        self._rows = csv.reader(chain([first], self._lines), delimiter=self.delimiter, strict=True)
        try:
            self.headers = next(self._rows, [])
        except csv.Error as error:
            raise BadInput(f"{self.name}:{self._lines.line}: the header line is not CSV: {error}") from None
        if mapping.delimiter is None and self.delimiter != ",":
            shown = "tab" if self.delimiter == "\t" else repr(self.delimiter)
            self._detected.append(f"delimiter {shown}")

    def records(self) -> Iterator[InputRecord]:
        parse = self._parser_of_rows(lambda parser: parser.from_text)
        lines, width = self._lines, len(self.headers)
        while True:
            lines.begin()
            try:
                row = next(self._rows, None)
            except csv.Error as error:
                # csv limits a cell to 131,072 characters, so an unclosed quote does not fill the memory.
                if "end of data" in str(error) or "field limit" in str(error):
                    raise BadInput(
                        f"{self.name}:{lines.line}: a quote in this record is not closed up to line "
                        f"{self._source.number}, which hides the following records"
                    ) from None
                # The reader continues at the next line, so the records after it are still checked.
                yield InputRecord(lines.line, lines.raw, None, undecodable(f"the record is not CSV: {error}"))
                continue
            if row is None:
                return
            if not row:
                continue
            line, raw = lines.line, lines.raw
            if wrong := find_undecoded(raw):
                parsed = undecodable(f"the record is not {wrong_byte(wrong, self._source.encoding)}")
                yield InputRecord(line, raw, None, parsed, row)
            elif len(row) != width:
                found, expected = format_count(len(row), "cell"), format_count(width, "header")
                yield InputRecord(
                    line, raw, None, undecodable(f"the record has {found}, but the file has {expected}"), row
                )
            else:
                yield to_record(line, raw, parse(row), row)

    def rows(self) -> Iterator[Sequence[object]]:
        try:
            yield from (row for row in self._rows if len(row) == len(self.headers))
        except csv.Error:
            return

    def reject_writer(self, file: BinaryIO) -> "CsvRejects":
        # As the input, for the program that opened that: without the mark, Excel reads UTF-8 as cp1252.
        encoding = "utf-8-sig" if self._source.has_mark else self._source.encoding
        text = io.TextIOWrapper(file, encoding, "surrogateescape", newline="", write_through=False)
        return CsvRejects(text, self._reject_headers, self.delimiter, self._line_end, skip=self._reasons)


class CsvRejects(RejectWriter):
    """
    Rejects as CSV, with the delimiter and the line ends of the input: the reason, then the cells.

    The reason is the first column: a row with too few or too many cells would move a last one to another header.

    Args:
        skip: number of first cells to leave out.
    """

    def __init__(
        self, text: io.TextIOWrapper, headers: Sequence[str], delimiter: str, line_end: str, *, skip: int
    ) -> None:
        self._text = text
        self._line_end = line_end
        self._delimiter = delimiter
        self._skip = skip
        self._rows = csv.writer(text, delimiter=delimiter, lineterminator=line_end)
        self._rows.writerow(headers)

    def add(self, record: InputRecord) -> None:
        reason = format_reasons(record)
        if record.cells is None:
            # What is not CSV stays as it is, for an editor.
            quoted = reason.replace('"', '""')
            self._text.write(f'"{quoted}"{self._delimiter}{record.raw}{self._line_end}')
        else:
            self._rows.writerow([reason, *record.cells[self._skip :]])

    def close(self) -> None:
        self._text.flush()
        # The file belongs to the caller, who names it when it is complete.
        self._text.detach()


class _LineRecorder:
    """Passes lines on to a parser, and keeps those of the current record."""

    def __init__(self, source: LineReader) -> None:
        self._source = source
        self._lines = iter(source)
        self._recorded: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._recorded.append(line)
        return line

    def begin(self) -> None:
        """Start a new record at the next line."""
        self._recorded.clear()

    @property
    def line(self) -> int:
        """Number of the record's first line."""
        # A quoted cell may span lines, so the record begins before the line that was read last.
        return self._source.number - len(self._recorded) + 1

    @property
    def raw(self) -> str:
        """The record's lines, without the last line end."""
        return "".join(self._recorded).rstrip("\r\n")


def wrong_byte(wrong: re.Match[str], encoding: str) -> str:
    """Describe a byte that the encoding lacks, and show the text around it as Windows would."""
    near = wrong.string[max(0, wrong.start() - 10) : wrong.end() + 10]
    text = near.encode(encoding, "surrogateescape").decode("cp1252", "replace")
    name = "UTF-8" if encoding == "utf-8" else encoding
    hint = "; if that reads well, pass --encoding cp1252" if encoding == "utf-8" else ""
    return f"{name}: byte 0x{ord(wrong[0]) - 0xDC00:02x} in {text!r}{hint}"
