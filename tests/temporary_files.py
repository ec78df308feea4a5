"""
Temporary files in memory, if it has room for them.

There a database is copied in a fifth of the processor time: while many files are being removed, as after each test,
ext4 looks long for a number for each new one.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Final

import pytest

MEMORY: Final = "/dev/shm"

ROOM: Final = 4 << 30
"""Bytes that must be free there and in memory; the databases of `make test` take less than a fifth of that."""


def pytest_configure(config: pytest.Config) -> None:
    """Choose where this process, its workers and its programs create temporary files, unless `$TMPDIR` says it."""
    if "TMPDIR" not in os.environ and has_room(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = MEMORY


def has_room(folder: str) -> bool:
    """Return whether a folder takes large files, and programs that can run there; a container's often does not."""
    try:
        system = os.statvfs(folder)
    except OSError:
        return False
    is_usable = os.access(folder, os.W_OK | os.X_OK) and not system.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)
    return is_usable and min(system.f_bavail * system.f_frsize, _available_memory()) >= ROOM


def _available_memory() -> int:
    match = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    return int(match[1]) << 10 if match else 0
