"""Files of trades as input, and the files of their rejected records."""

import logging
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self

from tradepipe.errors import ConfigurationError
from tradepipe.files.csv_file import CsvFile
from tradepipe.files.drafts import Draft, unwritable
from tradepipe.files.errors import BadInput, InvalidOption, needs, unusable
from tradepipe.files.file_kinds import Form, identify
from tradepipe.files.json_file import JsonFile
from tradepipe.files.lines import STDIN, LineReader
from tradepipe.files.mapping import FileMapping
from tradepipe.files.records import FileProgress, InputRecord, Notify, Reader, drop, format_error
from tradepipe.trade.samples import NewTrade

logger = logging.getLogger(__name__)

MAX_LOGGED_REJECTS: Final = 5
"""Skipped records that are logged one by one."""

_FORMS: Final[dict[str, frozenset[Form]]] = {
    "delimiter": frozenset({"csv"}),
    "encoding": frozenset({"csv", "jsonl", "json"}),
    "sheet": frozenset({"xlsx"}),
}
"""Formats to which a setting of a mapping applies, where it does not apply to all."""


def open_reader(
    path: str, form: Form | None, mapping: FileMapping, stopped: threading.Event, notify: Notify = drop
) -> Reader:
    """Open a file of trades, in the format that its content or its name shows; `InvalidOption` if it has no records."""
    form = identify(path, form)
    for setting, forms in _FORMS.items():
        # No error: one mapping may serve a report that is saved now as CSV, now as a workbook.
        if getattr(mapping, setting) is not None and form not in forms:
            notify(f"{path}: {setting} is ignored, because the file is read as {form}")
    # Their libraries are an extra.
    if form == "xlsx":
        try:
            from tradepipe.files.workbook import WorkbookFile  # noqa: PLC0415
        except ModuleNotFoundError:
            raise needs("openpyxl", path) from None
        return WorkbookFile(path, mapping, notify)
    if form == "parquet":
        try:
            from tradepipe.files.parquet import ParquetFile  # noqa: PLC0415
        except ModuleNotFoundError:
            raise needs("pyarrow", path) from None
        return ParquetFile(path, mapping, notify)
    source = LineReader(path, encoding=mapping.encoding or "utf-8", stopped=stopped)
    try:
        if form == "csv":
            return CsvFile(source, mapping, notify)
        is_array = form == "json" and source.begins_with(b"[")
        if form == "json" and not is_array and not source.begins_with(b"{"):
            raise unusable(source.name, "the file is neither a JSON array nor JSON lines")
        return JsonFile(source, mapping, notify, is_array=is_array)
    except BaseException:
        source.__exit__(None, None, None)
        raise


class FileSource(NamedTuple):
    """
    A file of trades, and how to read it.

    Attributes:
        path: the file, or `-` for stdin.

        mapping_path: the file of the mapping, or None.

        skips: whether invalid records are skipped and kept; otherwise the first one stops the run.

        rejects: path for skipped records; None for the file's name with an ending.
    """

    path: str
    form: Form | None
    mapping: FileMapping
    mapping_path: Path | None
    skips: bool
    rejects: Path | None
    overwrite: bool


class TradeFile:
    """
    The trades of a file.

    Entering the block checks the format and the columns, before anything is sent.

    Args:
        stopped: ends the iteration when set.

        notify: shows the user what was detected, such as the delimiter.

    Attributes:
        valid: number of trades read.

        invalid: number of invalid records.

        codes: number of invalid records by code of violation.

        line: first line, or the row, of the last record.

        rejects_path: path for skipped records, or None.

    Raises:
        InvalidOption: the file does not contain trades, or the rejects file is not writable.
    """

    def __init__(self, source: FileSource, *, stopped: threading.Event, notify: Notify) -> None:
        if source.skips and source.rejects is None and source.path == STDIN:
            raise InvalidOption("required with --input -: pass --rejects FILE", "--rejects")
        self._source = source
        self.rejects_path = source.rejects
        self._stopped = stopped
        self._notify = notify
        self._opened = ExitStack()
        self._rejects: RejectsFile | None = None
        self.valid = self.invalid = self.line = 0
        self.codes: Counter[str] = Counter()

    def __enter__(self) -> Self:
        path, form, mapping, mapping_path, skips, _, overwrite = self._source
        with ExitStack() as opened:
            self._reader = opened.enter_context(open_reader(path, form, mapping, self._stopped, self._notify))
            found = self._reader.records()
            first = next(found, None)
            if skips:
                self.rejects_path = self.rejects_path or Path(f"{path}{self._reader.ending}")
                inputs = [Path(path), *([mapping_path] if mapping_path else [])]
                self._rejects = opened.enter_context(
                    RejectsFile(self.rejects_path, self._reader, inputs=inputs, overwrite=overwrite)
                )
            self._records = chain(() if first is None else (first,), found)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and complete the file of rejects; `ConfigurationError` if that is not writable."""
        self._opened.close()

    @property
    def written_rejects(self) -> Path | None:
        """Path of the rejected records, once they are all written; None if there are none."""
        return self._rejects.path if self._rejects and self._rejects.is_written else None

    @property
    def name(self) -> str:
        """The file's name in messages."""
        return self._reader.name

    @property
    def position(self) -> str:
        """The place of the last record."""
        return f"{self._reader.unit} {self.line:,}"

    def __iter__(self) -> Iterator[NewTrade]:
        """Yield the trades; `BadInput` if a record is invalid and not skipped, or the file is unreadable."""
        try:
            for record in self._records:
                if self._stopped.is_set():
                    return
                self.line = record.line
                if record.trade is not None:
                    self.valid += 1
                    yield NewTrade(record.trade)
                    continue
                self.invalid += 1
                message = format_error(self.name, record)
                if self._rejects is None:
                    raise BadInput(message)
                self.codes.update({str(violation.code) for violation in record.violations})
                self._rejects.add(record)
                if self.invalid <= MAX_LOGGED_REJECTS:
                    logger.warning("skipped: %s", message)
                elif self.invalid == MAX_LOGGED_REJECTS + 1:
                    logger.warning("further skipped records are written to %s but not logged", self._rejects.path)
        except BadInput:
            # Stopping may truncate a record, which then looks invalid.
            if not self._stopped.is_set():
                raise

    @property
    def is_sized(self) -> bool:
        """Whether the size is known, as it is for regular files but not for pipes."""
        progress = self._reader.progress()
        return progress is not None and progress.total > 0

    def progress(self) -> FileProgress:
        """Return the progress through a file whose size is known."""
        progress = self._reader.progress()
        assert progress is not None
        return progress

    def progress_text(self) -> str:
        """Format the bytes read, if the size is unknown, and the number of skipped records."""
        progress = self._reader.progress()
        read = f", {progress.text}" if progress and not progress.total else ""
        return read + (f", {self.invalid:,} skipped" if self._rejects and self.invalid else "")


_OPTION = "--rejects"


class RejectsFile:
    """
    The rejected records of one run, readable by their owner alone.

    Written to a draft that gets its name when the block exits, also by
    an error, so that a file always holds the rejects of exactly one run. A run
    without rejects creates no file. A device or a pipe is written to directly.

    Args:
        inputs: files that must not be replaced, also with `overwrite`.

    Raises:
        InvalidOption: the file exists, or is not writable.
    """

    def __init__(self, path: Path, reader: Reader, *, inputs: Sequence[Path], overwrite: bool) -> None:
        self.path = path
        self.count = 0
        self.is_written = False
        self._has_failed = False
        self._draft: Draft | None = None
        try:
            if any(each.exists() and path.exists() and each.samefile(path) for each in inputs):
                raise InvalidOption(f"{path} is the input: choose another file", _OPTION)
            self._file = self._open(overwrite)
            self._writer = reader.reject_writer(self._file)
        except OSError as error:
            raise unwritable(path, error, _OPTION) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            if self._has_failed:  # a part of the rejects would look like all of them
                return
            self._writer.close()
            self._file.flush()
            if self._draft is not None and (self.count or os.path.lexists(self.path)):
                self._draft.rename()
            self.is_written = self.count > 0
        except FileExistsError:
            assert self._draft is not None
            kept, self._draft = self._draft.name, None  # it has the only copy
            raise ConfigurationError(f"{self.path} was created during the run; the rejects are in {kept}") from None
        except OSError as failure:
            raise _write_error(self.path, failure) from failure
        finally:
            # Whatever is still buffered could not be written, which has been raised.
            with suppress(OSError):
                self._file.close()
            if self._draft is not None:
                self._draft.close()

    def add(self, record: InputRecord) -> None:
        """Write a record; `ConfigurationError` if that fails, for example because the disk is full."""
        self.count += 1
        try:
            self._writer.add(record)
        except OSError as error:
            self._has_failed = True
            raise _write_error(self.path, error) from error

    def _open(self, overwrite: bool) -> BinaryIO:
        if self.path.exists() and (stat.S_ISCHR(mode := self.path.stat().st_mode) or stat.S_ISFIFO(mode)):
            return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_NOCTTY), "wb")
        self._draft = Draft(self.path, overwrite=overwrite, private=True, option=_OPTION)
        return self._draft.file


def _write_error(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot write {path}: {error.strerror or error}; choose another file with --rejects FILE"
    )
