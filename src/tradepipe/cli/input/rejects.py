"""Records that were skipped, kept with their reasons: a file of JSON lines."""

import base64
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

import typer

from tradepipe.cli.input.records import Record
from tradepipe.cli.input.source import STDIN
from tradepipe.errors import Misconfigured

ENDING: Final = ".rejects.jsonl"


def beside(path: str) -> Path:
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


class Rejects:
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

    def add(self, name: str, record: Record) -> None:
        """
        Keep a record of the file `name`.

        Raises:
            Misconfigured: it cannot be written, as where the disk is full.
        """
        self.count += 1
        try:
            self._file.write(json.dumps(_document(name, record)) + "\n")
        except OSError as error:
            raise _full(self.place, error) from error


def _document(name: str, record: Record) -> dict[str, Any]:
    reasons = [{"code": str(violation.code), "detail": violation.detail} for violation in record.violations]
    document: dict[str, Any] = {"file": name, "line": record.line, "reasons": reasons, "raw": record.raw}
    raw = record.raw.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "replace")
    if text != record.raw:
        document |= {"raw": text, "raw_base64": base64.b64encode(raw).decode()}
    return document


def _unwritable(place: Path, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"{place} cannot be written: {why}", param_hint="'--rejects'")


def _full(place: Path, error: OSError) -> Misconfigured:
    return Misconfigured(f"{place} cannot be written: {error.strerror or error}; say another place by --rejects FILE")
