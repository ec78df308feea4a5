"""New files: written beside their path, and named when they are complete."""

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tradepipe.files.errors import InvalidOption


class Draft:
    """
    A draft of a file, in the same directory.

    Args:
        overwrite: replace a regular file, never anything else; None if the command has no option for it.

        private: readable by the owner alone, as for a file with records.

        option: the option that names the file, for messages.

    Attributes:
        file: the open draft.

        name: path of the draft.

    Raises:
        InvalidOption: the file exists, is not a regular file, or is not writable.
    """

    def __init__(self, path: Path, *, overwrite: bool | None, private: bool, option: str) -> None:
        check_target(path, overwrite=overwrite, option=option)
        self._path = path
        self._overwrite = overwrite
        self._private = private
        try:
            # Its name is random and it must be new: a link planted at a known name would lead us to another file.
            handle, self.name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as error:
            raise unwritable(path, error, option) from error
        self.file = os.fdopen(handle, "wb")

    def rename(self) -> None:
        """Give the draft the name of the file; FileExistsError if a file appeared that may not be replaced."""
        self.file.flush()
        # Before the rename: after a crash of the machine the name must not lead to an empty file.
        os.fsync(self.file.fileno())
        if not self._private:
            os.umask(umask := os.umask(0o077))  # there is no way to read it but to set it
            os.chmod(self.name, 0o666 & ~umask)
        if self._overwrite:
            os.replace(self.name, self._path)
            return
        try:
            # Unlike a rename, this fails if the file was created meanwhile.
            os.link(self.name, self._path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.replace(self.name, self._path)

    def close(self) -> None:
        """Close the draft and remove it, if it was not renamed."""
        # On a full disk closing fails too, because it writes what is buffered.
        for step in (self.file.close, lambda: os.unlink(self.name)):
            with suppress(OSError):
                step()


@contextmanager
def write_file(path: Path, *, overwrite: bool | None, private: bool, option: str) -> Iterator[TextIO]:
    """Write a text file by way of a `Draft`, as that raises; an exception leaves the file as it was."""
    draft = Draft(path, overwrite=overwrite, private=private, option=option)
    try:
        text = io.TextIOWrapper(draft.file, "utf-8", write_through=True)
        yield text
        draft.rename()
    except FileExistsError:
        raise _exists(path, option, overwrite) from None
    except OSError as error:
        raise unwritable(path, error, option) from error
    finally:
        draft.close()


def check_target(path: Path, *, overwrite: bool | None, option: str) -> None:
    """Raise `InvalidOption` if a file exists that may not be replaced, or is not a regular file."""
    try:
        # Not stat, which follows links: another user who plants one chooses the file that is written.
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "a directory" if stat.S_ISDIR(mode) else "not a file"
        raise InvalidOption(f"{path} is {kind}: choose another file", option)
    if not overwrite:
        raise _exists(path, option, overwrite)


def unwritable(path: Path, error: OSError, option: str) -> InvalidOption:
    """Return the error for a path at which no file can be written."""
    return InvalidOption(f"{path} is not writable: {error.strerror or error}", option)


def _exists(path: Path, option: str, overwrite: bool | None) -> InvalidOption:
    hint = "" if overwrite is None else ", or add --overwrite"
    return InvalidOption(f"{path} already exists: choose another file{hint}", option)
