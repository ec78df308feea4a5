"""A filesystem of a few megabytes, for tests that fill it."""

import errno
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_FILLED_BY = 4_096  # bytes at once: a page, which is what the disk hands out


class SmallDisk:
    """
    A file system in memory, mounted until the end of the block.

    Raises:
        OSError: this process may not mount any.
    """

    def __init__(self) -> None:
        self._parent = tempfile.TemporaryDirectory(prefix="small-disk-")
        self.folder = Path(self._parent.name)
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", self._parent.name]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode:
            self._parent.cleanup()
            raise OSError(mounted.stderr.strip())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Lazily: a server that has a file open there is no reason to leave the disk mounted.
        subprocess.run(["umount", "--lazy", self._parent.name], check=True)
        self._parent.cleanup()

    def fill(self) -> None:
        """Fill the file system."""
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(_FILLED_BY))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Free the file system."""
        self._filler.unlink()

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"
