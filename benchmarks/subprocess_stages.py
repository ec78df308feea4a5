"""Stages as processes that can be killed."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Stage:
    """A command with its options; each `running` is another process, and all write one log."""

    def __init__(self, name: str, options: Sequence[str]) -> None:
        self.name = name
        self._command = [sys.executable, "-m", f"tradepipe.{name}", *options]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open for as long as this is

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start a process; kill it at the end if it still runs."""
        with subprocess.Popen(self._command, stdout=self._log, stderr=self._log) as process:
            try:
                yield process
            finally:
                process.kill()

    def said(self) -> str:
        """The end of the log of its processes."""
        self._log.seek(0)
        return self._log.read()[-4_000:]
