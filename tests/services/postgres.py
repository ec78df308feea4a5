"""PostgreSQL servers for the tests; one forces its data to disk."""

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any, Final, Self

from psycopg2 import sql

from tests.frozen import wait_until_frozen
from tests.services import CANARY
from tradepipe.embedded.postgres import Binaries
from tradepipe.embedded.postgres import Postgres as Launcher

_SALT: Final = b"the same in all tests"


class QuickLogin(Launcher):
    """
    A server to which a connection takes 6 ms less CPU time than to others.

    A client derives its proof of the password in as many iterations as the server's verifier says: 4,096 by default.
    Here it is 1, which Java's driver refuses. The format of a verifier is that of `pg_authid.rolpassword`, its keys are
    those of RFC 5802.
    """

    _is_quick = False

    def start(self) -> Self:
        super().start()
        if not self._is_quick:
            password = sql.Literal(_verifier_with_one_iteration(self._password))
            self._administer(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(password))
            self._is_quick = True
        return self

    def close(self) -> None:
        super().close()
        self._is_quick = False


def _verifier_with_one_iteration(password: str) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), _SALT, 1)
    client_key, server_key = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
    salt, stored, server = (
        base64.b64encode(each).decode() for each in (_SALT, hashlib.sha256(client_key).digest(), server_key)
    )
    return f"SCRAM-SHA-256$1:{salt}${stored}:{server}"


class Postgres(Launcher):
    """
    A server as it is run in earnest: Debian's, if it is there, and data forced to disk.

    Its port and data outlast its process, until `close`.
    """

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
        wait_until_frozen(self.server.pid)
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


class QuickPostgres(QuickLogin, Postgres):
    """Debian's server with quick logins."""
