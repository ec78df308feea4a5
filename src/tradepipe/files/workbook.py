"""Excel workbooks, read by openpyxl."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from tradepipe.files.errors import BadInput, format_names, unusable
from tradepipe.files.file_kinds import MAX_PART_BYTES, MAX_WORKBOOK_BYTES, open_archive
from tradepipe.files.mapping import FileMapping
from tradepipe.files.records import (
    FileProgress,
    InputRecord,
    Notify,
    Reader,
    RejectWriter,
    format_reasons,
    to_record,
    undecodable,
)
from tradepipe.plural import format_count

MAX_ROWS: Final = 1_048_576
"""Excel's own limit; a file may claim any number of rows."""

_shows_zeros = re.compile("0{2,}").fullmatch


class CellError:
    """An error that a cell shows instead of a value, such as #N/A."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class WorkbookFile(Reader):
    """
    A sheet of a workbook, whose headers are its first row that is not empty.

    Raises:
        InvalidOption: the file is damaged or a bomb, or the sheet is not named.
    """

    ending = ".rejects.xlsx"

    def __init__(self, path: str, mapping: FileMapping, notify: Notify) -> None:
        super().__init__(path, mapping, notify)
        self._file = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        try:
            self._book = _open_workbook(path, self._file)
            sheets = {sheet.title: sheet for sheet in self._book.worksheets}
            chosen = next(iter(sheets)) if mapping.sheet is None and len(sheets) == 1 else mapping.sheet
            if chosen not in sheets:
                wrong = "has several sheets" if chosen is None else f"has no sheet {chosen!r}"
                names = format_names(list(sheets)) or "none"
                raise unusable(path, f"the workbook {wrong}; pass --sheet NAME, one of {names}")
            self._sheet: Any = sheets[chosen]
            # The size that the file claims is for the progress only: it may be missing or wrong.
            self._total = self._sheet.max_row or 0
            self._sheet.reset_dimensions()
            self._number = 0
            self._cells = self._read()
            first = next(self._cells, [])
            while first and first[-1] is None:
                first.pop()
            self.headers = ["" if cell is None else str(cell) for cell in first]
        except BaseException:
            self._file.close()
            raise

    def __exit__(self, *raised: object) -> None:
        self._book.close()
        self._file.close()

    def records(self) -> Iterator[InputRecord]:
        parse = self._parser_of_rows(lambda parser: parser.from_cell)
        width = len(self.headers)
        for cells in self._cells:
            if any(cell is not None for cell in cells[width:]):
                detail = f"the row has a value after the last of {format_count(width, 'header')}"
                yield InputRecord(self._number, "", None, undecodable(detail), cells)
            else:
                row = [*cells[:width], *[None] * (width - len(cells))]
                yield to_record(self._number, "", parse(row), row)

    def rows(self) -> Iterator[Sequence[object]]:
        width = len(self.headers)
        for cells in self._cells:
            yield [*cells[:width], *[None] * (width - len(cells))]

    def progress(self) -> FileProgress | None:
        if self._total < 2:
            return None
        return FileProgress.of_rows(self._number, self._total)

    def reject_writer(self, file: BinaryIO) -> "WorkbookRejects":
        return WorkbookRejects(file, self._sheet.title, self._reject_headers, skip=self._reasons)

    def _read(self) -> Iterator[list[object]]:
        """Yield the values of rows that are not empty."""
        rows = iter(self._sheet.iter_rows())
        while True:
            try:
                row = next(rows, None)
            except Exception as error:  # openpyxl raises anything on a hostile file
                raise BadInput(f"{self.name}:{self._number + 1}: the workbook is damaged: {error}") from error
            if row is None:
                return
            self._number += 1
            if self._number > MAX_ROWS:
                raise BadInput(f"{self.name}: the sheet claims more than {MAX_ROWS:,} rows")
            cells = [_value(cell) for cell in row]
            if any(cell is not None for cell in cells):
                yield cells


class WorkbookRejects(RejectWriter):
    """Rejects as a workbook: the reason, then the cells after the first `skip`."""

    def __init__(self, file: BinaryIO, sheet: str, headers: Sequence[str], *, skip: int) -> None:
        self._file = file
        self._skip = skip
        self._book = Workbook(write_only=True)
        self._sheet: Any = self._book.create_sheet(sheet)
        self._append(headers)

    def add(self, record: InputRecord) -> None:
        self._append([format_reasons(record), *(record.cells or ())[self._skip :]])

    def close(self) -> None:
        # In memory, because zip files go back to their beginning, which pipes cannot.
        content = io.BytesIO()
        self._book.save(content)
        self._file.write(content.getbuffer())

    def _append(self, cells: Sequence[object]) -> None:
        row = []
        for value in cells:
            content: Any = str(value) if isinstance(value, CellError) else value
            if isinstance(content, str):
                content = ILLEGAL_CHARACTERS_RE.sub("?", content)
            cell = WriteOnlyCell(self._sheet, content)
            if isinstance(content, str):
                # A text that begins with = stays a text.
                cell.data_type = "e" if isinstance(value, CellError) else "s"
            row.append(cell)
        self._sheet.append(row)


def _open_workbook(path: str, file: BinaryIO) -> Workbook:
    archive = open_archive(path, file)
    sizes = {member.filename: member.file_size for member in archive.infolist()}
    large = [name for name, size in sizes.items() if size > MAX_PART_BYTES and not name.startswith("xl/worksheets/")]
    if large or sum(sizes.values()) > MAX_WORKBOOK_BYTES:
        raise unusable(path, "the workbook is too large to be read: save it as CSV UTF-8")
    # openpyxl warns about what it does not read, such as drawings.
    warnings.filterwarnings("ignore", module="openpyxl")
    try:
        return load_workbook(file, read_only=True, data_only=True, keep_links=False)
    except Exception as error:  # openpyxl raises anything on a hostile file
        raise unusable(path, f"the workbook is damaged: {error}; save it again, or as CSV UTF-8") from None


def _value(cell: Any) -> object:
    value: object = cell.value
    if cell.data_type == "e":
        return CellError(str(value))
    # A format such as 00000 shows leading zeros that the number lacks.
    if type(value) is int and _shows_zeros(cell.number_format or ""):
        return str(value).zfill(len(cell.number_format))
    return value
