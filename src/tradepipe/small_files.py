"""Small files that are read as a whole, or by a library: at once, and never more than a limit."""

import errno
import os
import select
import stat
from pathlib import PurePath
from typing import Final

Location = str | PurePath

_DESCRIPTORS: Final = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
"""Paths of a process's own files; bash names a command's output by one of them, as in `--mapping <(command)`."""


def read_small_file(path: Location, limit: int) -> bytes:
    """
    Read a file of at most `limit` bytes, without waiting for a pipe that nobody writes to.

    Raises:
        OSError: it is unreadable or too large; `strerror` completes "cannot read FILE: ".
    """
    # Opening a named pipe would otherwise wait for its writer.
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | _OPEN_FLAGS)) as file:
        content, waiting = b"", select.poll()
        waiting.register(file, select.POLLIN)
        # One byte more shows that the file is too large, without reading all of a device or a disk image.
        while len(content) <= limit:
            chunk = file.read(limit + 1 - len(content))
            if chunk is None:  # a pipe whose writer has not written yet
                waiting.poll()
            elif chunk:
                content += chunk
            else:
                break
        if len(content) > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit:,} bytes", str(path))
        if not content and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EPIPE, "it is a pipe that nothing writes to", str(path))
    return content


def is_endless(path: Location) -> bool:
    """Return whether a library that reads this file might never return: it is a named pipe or a device."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False  # the library reports it
    return (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)) and not str(path).startswith((*_DESCRIPTORS, os.devnull))


def is_larger(path: Location, limit: int) -> bool:
    """Return whether a file, or what a link leads to, has more bytes."""
    try:
        return os.stat(path).st_size > limit
    except (OSError, ValueError):
        return False  # the library reports it


def check_not_endless(path: Location) -> None:
    """Check that a library which reads this file returns: OSError if the file is endless."""
    if is_endless(path):
        raise OSError(errno.EINVAL, "it is a named pipe or a device")


_OPEN_FLAGS: Final = os.O_NONBLOCK | os.O_NOCTTY
