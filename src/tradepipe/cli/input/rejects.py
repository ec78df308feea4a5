"""Files of rejected records."""

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import typer

from tradepipe.cli.input.records import InputRecord, Reader
from tradepipe.errors import ConfigurationError


class RejectsFile:
    """
    The rejected records of one run, readable by their owner alone.

    Written to a temporary file that gets its name when the block exits, also by
    an error, so that a file always holds the rejects of exactly one run. A run
    without rejects creates no file. A device or a pipe is written to directly.

    Args:
        inputs: files that must not be replaced, also with `overwrite`.

    Raises:
        BadParameter: the file exists, or is not writable.
    """

    def __init__(self, path: Path, reader: Reader, *, inputs: Sequence[Path], overwrite: bool) -> None:
        self.path = path
        self.count = 0
        self._temporary: str | None = None
        # A link is followed: replacing it would replace a name such as /dev/stdout.
        self._target = os.path.realpath(path)
        self._may_replace = overwrite
        try:
            self._file = self._open(inputs)
            self._writer = reader.reject_writer(self._file)
        except OSError as error:
            raise _unwritable(path, error.strerror or str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            self._file.flush()
            if self._temporary is not None:
                os.fsync(self._file.fileno())
                if self.count or os.path.lexists(self._target):
                    self._name(self._temporary)
        except OSError as failure:
            raise _write_error(self.path, failure) from failure
        finally:
            self._file.close()
            if self._temporary is not None:
                Path(self._temporary).unlink(missing_ok=True)

    def add(self, record: InputRecord) -> None:
        """
        Write a record.

        Raises:
            ConfigurationError: writing fails, for example because the disk is full.
        """
        self.count += 1
        try:
            self._writer.add(record)
        except OSError as error:
            raise _write_error(self.path, error) from error

    def _open(self, inputs: Sequence[Path]) -> BinaryIO:
        try:
            status = os.stat(self._target)
        except FileNotFoundError:
            return self._open_temporary()
        if any(each.exists() and each.samefile(self._target) for each in inputs):
            raise _unwritable(self.path, "is the input; choose another file")
        if stat.S_ISREG(status.st_mode):
            if status.st_size and not self._may_replace:
                raise typer.BadParameter(
                    f"{self.path} already exists: choose another file, or add --overwrite", param_hint="'--rejects'"
                )
            self._may_replace = True
            return self._open_temporary()
        if not (stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "neither a file nor a pipe"
            raise _unwritable(self.path, f"is {kind}")
        # The original path, because the real one of a pipe in /dev/fd has no name.
        return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_NOCTTY), "wb")

    def _open_temporary(self) -> BinaryIO:
        folder, name = os.path.split(self._target)
        number, self._temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        return os.fdopen(number, "wb")

    def _name(self, temporary: str) -> None:
        """Give the temporary file its name, without replacing a file that appeared during the run."""
        if self._may_replace:
            os.replace(temporary, self._target)
            return
        try:
            os.link(temporary, self._target)
        except FileExistsError:
            self._temporary = None  # kept, because it has the only copy
            raise ConfigurationError(
                f"{self.path} was created during the run; the rejects are in {temporary}"
            ) from None
        except OSError:  # a file system without hard links
            os.replace(temporary, self._target)


def _unwritable(path: Path, reason: str) -> typer.BadParameter:
    return typer.BadParameter(f"{path} is not writable: {reason}", param_hint="'--rejects'")


def _write_error(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot write {path}: {error.strerror or error}; choose another file with --rejects FILE"
    )
