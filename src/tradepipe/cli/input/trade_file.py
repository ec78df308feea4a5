"""Files of trades as input, and files of rejected records."""

import base64
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

import typer

from tradepipe.cli.input.columns import ColumnMapping, Form
from tradepipe.cli.input.lines import STDIN, BadInput, LineReader
from tradepipe.cli.input.records import InputRecord, format_error, records
from tradepipe.cli.terminal import FileProgress
from tradepipe.errors import ConfigurationError
from tradepipe.trade.samples import NewTrade

logger = logging.getLogger(__name__)

ENDING: Final = ".rejects.jsonl"


def default_path(path: str) -> Path:
    """
    Return the default path of the rejects of a file.

    Raises:
        BadParameter: the input is stdin.
    """
    if path == STDIN:
        raise typer.BadParameter("required with --input -: pass --rejects FILE", param_hint="'--rejects'")
    return Path(f"{path}{ENDING}")


class RejectsFile:
    """
    The skipped records of one run.

    Written to a temporary file that is renamed when the block exits, also by an
    error, so that the file always holds the rejects of exactly one run. A run
    without rejects creates no file, but truncates that of an earlier run.

    Raises:
        BadParameter: the file is not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")
        if path.is_dir():
            raise _unwritable(path, "is a directory")
        try:
            self._file: TextIO = self._temporary.open("x", encoding="ascii", newline="\n")
        except OSError as error:
            raise _unwritable(path, error.strerror or str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if self.count or self.path.exists():
                self._temporary.replace(self.path)
        except OSError as failure:
            raise _write_error(self.path, failure) from failure
        finally:
            self._temporary.unlink(missing_ok=True)

    def add(self, name: str, record: InputRecord) -> None:
        """
        Write a record of the file `name`.

        Raises:
            ConfigurationError: writing fails, for example because the disk is full.
        """
        self.count += 1
        try:
            self._file.write(json.dumps(_document(name, record)) + "\n")
        except OSError as error:
            raise _write_error(self.path, error) from error


def _document(name: str, record: InputRecord) -> dict[str, Any]:
    reasons = [{"code": str(violation.code), "detail": violation.detail} for violation in record.violations]
    document: dict[str, Any] = {"file": name, "line": record.line, "reasons": reasons, "raw": record.raw}
    raw = record.raw.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "replace")
    if text != record.raw:
        document |= {"raw": text, "raw_base64": base64.b64encode(raw).decode()}
    return document


def _unwritable(path: Path, reason: str) -> typer.BadParameter:
    return typer.BadParameter(f"{path} is not writable: {reason}", param_hint="'--rejects'")


def _write_error(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot write {path}: {error.strerror or error}; choose another file with --rejects FILE"
    )


MAX_LOGGED_REJECTS: Final = 5
"""Skipped records that are logged one by one."""

_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class TradeFile:
    """
    The trades of a file.

    Entering the block checks the format and the columns, before anything is sent.

    Args:
        path: the file, or `-` for stdin.

        rejects: path for skipped records; None stops at the first invalid record.

        stopped: ends the iteration when set.

    Attributes:
        valid: number of trades read.

        invalid: number of invalid records.

        line: first line of the last record.

        rejects_path: path for skipped records, or None.

    Raises:
        BadParameter: the file does not contain trades, or the rejects file is not writable.
    """

    def __init__(
        self, path: str, *, form: Form, mapping: ColumnMapping, rejects: Path | None, stopped: threading.Event
    ) -> None:
        self._path = path
        self._form = form
        self._mapping = mapping
        self.rejects_path = rejects
        self._stopped = stopped
        self._opened = ExitStack()
        self._rejects: RejectsFile | None = None
        self.valid = self.invalid = self.line = 0

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._source = opened.enter_context(LineReader(self._path, stopped=self._stopped))
            found = records(self._source, self._form, self._mapping)
            first = next(found, None)
            if self.rejects_path is not None:
                self._rejects = opened.enter_context(RejectsFile(self.rejects_path))
            self._records = chain(() if first is None else (first,), found)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    @property
    def name(self) -> str:
        """The file's name in messages."""
        return self._source.name

    def __iter__(self) -> Iterator[NewTrade]:
        """
        Yield the trades.

        Raises:
            BadInput: a record is invalid and not skipped, or the file is unreadable.

            ConfigurationError: the rejects file is not writable.
        """
        try:
            for record in self._records:
                if self._stopped.is_set():
                    return
                self.line = record.line
                if record.trade is None:
                    self._reject(record)
                else:
                    self.valid += 1
                    yield NewTrade(record.trade)
        except BadInput:
            # Stopping may truncate a record, which then looks invalid.
            if not self._stopped.is_set():
                raise

    @property
    def is_sized(self) -> bool:
        """Whether the size is known, as it is for regular files but not for pipes."""
        return self._source.size is not None

    def progress(self) -> FileProgress:
        """Return the progress through a file whose size is known."""
        progress = FileProgress(self._source.read, self._source.size or 0, "")
        return progress._replace(text=f"{progress.share:.0%} of {_format_size(progress.total)}")

    def progress_text(self) -> str:
        """Format the bytes read, if the size is unknown, and the number of skipped records."""
        read = "" if self.is_sized else f", {_format_size(self._source.read)} read"
        return read + (f", {self.invalid:,} skipped" if self._rejects and self.invalid else "")

    def _reject(self, record: InputRecord) -> None:
        self.invalid += 1
        message = format_error(self.name, record)
        if self._rejects is None:
            raise BadInput(message)
        self._rejects.add(self.name, record)
        if self.invalid <= MAX_LOGGED_REJECTS:
            logger.warning("skipped: %s", message)
        elif self.invalid == MAX_LOGGED_REJECTS + 1:
            logger.warning("further skipped records are written to %s but not logged", self._rejects.path)


def _format_size(number: int) -> str:
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
