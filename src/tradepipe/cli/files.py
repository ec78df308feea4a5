"""Files that commands write: complete or not at all, and never in place of a file that is not ours."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import typer


@contextmanager
def write_file(path: Path, *, overwrite: bool, private: bool, hint: str) -> Iterator[TextIO]:
    """
    Write a file by way of a draft beside it; an exception leaves the file as it was.

    Args:
        overwrite: replace a regular file; anything else is never replaced.

        private: readable by the owner alone, as for a file with records.

        hint: the option that names the file, for messages.

    Raises:
        BadParameter: the file exists, is not a regular file, or is not writable.
    """
    check_target(path, overwrite=overwrite, hint=hint)
    draft = None
    try:
        # Its name is random and it must be new: a link planted at a known name would lead us to another file.
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, "w", encoding="utf-8") as file:
            yield file
        if not private:
            os.chmod(draft, 0o666 & ~_umask())
        if overwrite:
            os.replace(draft, path)
        else:
            # Unlike a rename, this fails if the file was created meanwhile.
            os.link(draft, path)
    except FileExistsError:
        raise _exists(path, hint) from None
    except OSError as error:
        raise typer.BadParameter(f"{path} is not writable: {error.strerror}", param_hint=hint) from error
    finally:
        if draft is not None:
            with suppress(OSError):
                os.unlink(draft)


def check_target(path: Path, *, overwrite: bool, hint: str) -> None:
    """
    Check that a file may be written at a path.

    Raises:
        BadParameter: a file exists and may not be replaced, or it is not a regular file.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "a directory" if stat.S_ISDIR(mode) else "not a file"
        raise typer.BadParameter(f"{path} is {kind}: choose another file", param_hint=hint)
    if not overwrite:
        raise _exists(path, hint)


def _exists(path: Path, hint: str) -> typer.BadParameter:
    return typer.BadParameter(f"{path} already exists: choose another file, or add --overwrite", param_hint=hint)


def _umask() -> int:
    # There is no way to read it but to set it.
    os.umask(mask := os.umask(0o077))
    return mask
