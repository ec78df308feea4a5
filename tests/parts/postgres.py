"""A PostgreSQL as it is run in earnest: Debian's, if it is there, and data forced to disk."""

from collections.abc import Mapping
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any

from tradepipe.embedded.binaries import Binaries
from tradepipe.embedded.postgres import Postgres as Launcher


class Postgres(Launcher):
    """A server whose port and data outlast its process, until `close`."""

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(settings=settings or {}, binaries=Binaries.debian())
        self._is_frozen = False

    def kill(self) -> None:
        """End the server and all its backends as a crash would."""
        self.server.send_all(SIGKILL)
        self.stop()

    def freeze(self) -> None:
        """Let the server and all its backends stand still, with their connections open."""
        self.server.send_all(SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self.server.send_all(SIGCONT)
        self._is_frozen = False

    def stop(self, *arguments: Any, **options: Any) -> None:
        if self._is_frozen:
            self.thaw()
        super().stop(*arguments, **options)
