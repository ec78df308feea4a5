"""Files of rejected records."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from tradepipe.errors import ConfigurationError
from tradepipe.files.drafts import Draft, unwritable
from tradepipe.files.errors import InvalidOption
from tradepipe.files.records import InputRecord, Reader

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._has_failed:  # a part of the rejects would look like all of them
                return
            self._writer.close()
            self._file.flush()
            if self._draft is not None and (self.count or os.path.lexists(self.path)):
                self._draft.rename()
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
        """
        Write a record.

        Raises:
            ConfigurationError: writing fails, for example because the disk is full.
        """
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
