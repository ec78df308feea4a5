"""A temporary folder that does not outlive its owner for long: the next owner removes what a crash left behind."""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

_PREFIX: Final = "tradepipe-"
_LOCK: Final = "owner"
_UNLOCKED_IS_ABANDONED_AFTER: Final = 60.0  # seconds; a folder has its lock within milliseconds
_WRITERS_END_WITHIN: Final = 5.0  # seconds


class Folder:
    """
    A new temporary folder, locked for as long as its owner lives.

    Others may pass through it but not list it. The lock falls with the process,
    so a folder whose lock is free has lost its owner, and goes when the next
    folder is made by the same user.
    """

    def __init__(self, name: str) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-"))
        self.path.chmod(0o711)
        # Locked before it bears its name: a sweeper that locked it first would take us for dead.
        unnamed = self.path / f"{_LOCK}.new"
        self._lock = unnamed.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(self.path / _LOCK)

    def close(self) -> None:
        """Remove the folder and all in it; processes that were killed a moment ago may still be writing."""
        deadline = time.monotonic() + _WRITERS_END_WITHIN
        shutil.rmtree(self.path, ignore_errors=True)
        while self.path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def sweep() -> None:
    """Remove the folders whose owners have died."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_ours(path) and _is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    try:
        return not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _is_abandoned(path: Path) -> bool:
    try:
        with (path / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return not _is_still_served(path)
    except FileNotFoundError:
        return _age(path) > _UNLOCKED_IS_ABANDONED_AFTER
    except OSError:
        return False


def _is_still_served(path: Path) -> bool:
    """Whether a server works in the folder that has not yet noticed its owner's death."""
    return any(
        os.readlink(process / "cwd").startswith(f"{path}/")
        for process in (
            Path("/proc", pid_file.read_text().split("\n", 1)[0]) for pid_file in path.glob("*/postmaster.pid")
        )
        if process.exists()
    )


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
