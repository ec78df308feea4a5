"""Files of trades as input, and files of rejected lines."""

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
    Where the rejects of a file go if nobody says so: beside it.

    Raises:
        BadParameter: stdin has no such place.
    """
    if path == STDIN:
        raise typer.BadParameter(
            "with --input - say where skipped records go: --rejects FILE", param_hint="'--rejects'"
        )
    return Path(f"{path}{ENDING}")


class RejectsFile:
    """
    The skipped records of one run.

    Written beside its place and put there when the block is left, however it
    is left: what stands there is one run's rejects, whole. A run without any
    leaves no file, but empties one that an earlier run left.

    Raises:
        BadParameter: nothing can be written there.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.count = 0
        self._draft = place.with_name(f".{place.name}.{os.getpid()}")
        if place.is_dir():
            raise _unwritable(place, "it is a folder")
        try:
            self._file: TextIO = self._draft.open("x", encoding="ascii", newline="\n")
        except OSError as error:
            raise _unwritable(place, error.strerror or str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if self.count or self.place.exists():
                self._draft.replace(self.place)
        except OSError as failure:
            raise _full(self.place, failure) from failure
        finally:
            self._draft.unlink(missing_ok=True)

    def add(self, name: str, record: InputRecord) -> None:
        """
        Keep a record of the file `name`.

        Raises:
            ConfigurationError: it cannot be written, as where the disk is full.
        """
        self.count += 1
        try:
            self._file.write(json.dumps(_document(name, record)) + "\n")
        except OSError as error:
            raise _full(self.place, error) from error


def _document(name: str, record: InputRecord) -> dict[str, Any]:
    reasons = [{"code": str(violation.code), "detail": violation.detail} for violation in record.violations]
    document: dict[str, Any] = {"file": name, "line": record.line, "reasons": reasons, "raw": record.raw}
    raw = record.raw.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "replace")
    if text != record.raw:
        document |= {"raw": text, "raw_base64": base64.b64encode(raw).decode()}
    return document


def _unwritable(place: Path, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"{place} cannot be written: {why}", param_hint="'--rejects'")


def _full(place: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{place} cannot be written: {error.strerror or error}; say another place by --rejects FILE"
    )


LOGGED_REJECTS: Final = 5
"""Skipped records that are told one by one."""

_UNITS: Final = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class TradeFile:
    """
    The trades of a file.

    On entering, all is checked that the beginning of the file tells; nothing
    is sent if that is wrong.

    Args:
        path: the file, or `-` for stdin.

        rejects: where skipped records go; None stops at the first that is wrong.

        stopped: ends the file where it is.

    Attributes:
        good: trades that were read.

        bad: records that were skipped, or that stopped it.

        line: where the last record began.

        place: where skipped records go, or None.

    Raises:
        BadParameter: the file is none of trades, or the rejects cannot be written.
    """

    def __init__(
        self, path: str, *, form: Form, layout: ColumnMapping, rejects: Path | None, stopped: threading.Event
    ) -> None:
        self._path = path
        self._form = form
        self._layout = layout
        self.place = rejects
        self._stopped = stopped
        self._opened = ExitStack()
        self._rejects: RejectsFile | None = None
        self.good = self.bad = self.line = 0

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._source = opened.enter_context(LineReader(self._path, stopped=self._stopped))
            found = records(self._source, self._form, self._layout)
            first = next(found, None)
            if self.place is not None:
                self._rejects = opened.enter_context(RejectsFile(self.place))
            self._records = chain(() if first is None else (first,), found)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    @property
    def name(self) -> str:
        """How messages call it."""
        return self._source.name

    def __iter__(self) -> Iterator[NewTrade]:
        """
        The trades.

        Raises:
            BadInput: a record is wrong, and such are not skipped; or the file cannot be read on.

            ConfigurationError: a skipped record cannot be kept.
        """
        try:
            for record in self._records:
                if self._stopped.is_set():
                    return
                self.line = record.line
                if record.trade is None:
                    self._refuse(record)
                else:
                    self.good += 1
                    yield NewTrade(record.trade)
        except BadInput:
            # A file that was ended in the midst of a record looks like one that is wrong.
            if not self._stopped.is_set():
                raise

    @property
    def is_sized(self) -> bool:
        """Whether somebody knows how large it is: of a pipe nobody does."""
        return self._source.size is not None

    def progress(self) -> FileProgress:
        """How far a file was read whose size is known."""
        way = FileProgress(self._source.read, self._source.size or 0, "")
        return way._replace(text=f"{way.share:.0%} of {_bytes(way.all)}")

    def progress_text(self) -> str:
        """How much was read of a file whose size nobody knows, and how many records were skipped."""
        read = "" if self.is_sized else f", {_bytes(self._source.read)} read"
        return read + (f", {self.bad:,} skipped" if self._rejects and self.bad else "")

    def _refuse(self, record: InputRecord) -> None:
        self.bad += 1
        message = format_error(self.name, record)
        if self._rejects is None:
            raise BadInput(message)
        self._rejects.add(self.name, record)
        if self.bad <= LOGGED_REJECTS:
            logger.warning("skipped: %s", message)
        elif self.bad == LOGGED_REJECTS + 1:
            logger.warning("further ones are only written to %s", self._rejects.place)


def _bytes(number: int) -> str:
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
