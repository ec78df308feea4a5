"""A PostgreSQL as it is run in earnest: Debian's, if it is there, and data forced to disk."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any

from psycopg2 import sql

from tests.services import CANARY
from tradepipe.embedded.postgres import Binaries
from tradepipe.embedded.postgres import Postgres as Launcher


class Postgres(Launcher):
    """A server whose port and data outlast its process, until `close`."""

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(settings=settings or {}, binaries=Binaries.debian(), password=CANARY)
        self._is_frozen = False

    def kill(self) -> None:
        """End the server and all its backends as a crash would."""
        self.server.send_all(SIGKILL)
        self.stop()

    def freeze(self) -> None:
        """Freeze the server and all its backends, with their connections open."""
        self.server.send_all(SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        """Let a frozen one continue."""
        self.server.send_all(SIGCONT)
        self._is_frozen = False

    @contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """Within the block this is set for all sessions, those included that are open."""
        self._set(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        try:
            yield
        finally:
            self._set(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))

    @contextmanager
    def tablespace(self, name: str, folder: Path) -> Iterator[None]:
        """Within the block tables can be in this empty folder; afterwards none may be left there."""
        if self._user is not None:
            os.chown(folder, *self._user)
        space = sql.Identifier(name)
        self._administer(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(space, sql.Literal(str(folder))))
        try:
            yield
        finally:
            self._administer(sql.SQL("DROP TABLESPACE {}").format(space))

    def stop(self, *arguments: Any, **options: Any) -> None:
        if self._is_frozen:
            self.thaw()
        super().stop(*arguments, **options)

    def _set(self, statement: sql.Composed) -> None:
        self._administer(statement)
        self._administer(sql.Composed([sql.SQL("SELECT pg_reload_conf()")]))
