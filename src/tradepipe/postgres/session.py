"""Connections to PostgreSQL: URLs, sessions, and deadlines of statements."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from types import TracebackType
from typing import Any, Final

import psycopg2
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from tradepipe.errors import ConfigurationError
from tradepipe.postgres import copy
from tradepipe.postgres.revision import check_revision
from tradepipe.redaction import redact

_SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg2")

_EXAMPLE: Final = "postgresql://user:password@host:5432/database"

_SESSION: Final = "-c TimeZone=UTC -c idle_in_transaction_session_timeout=10000"
"""Milliseconds: a frozen process loses its transaction, and so its locks, after ten seconds."""

_KEEPALIVE: Final = {
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""A peer that has vanished is noticed within half a minute; the kernel's own defaults take two hours."""


def create_engine_for(database: str, *, application_name: str, connect_timeout: float = 5.0) -> Engine:
    """
    An engine whose every connection is new, writable, in UTC, and given up when its peer has vanished.

    What the URL itself sets (`?sslmode=verify-full`, `?connect_timeout=30`,
    `?options=-c search_path=…`) wins over all of that. Nothing connects yet.
    Neither the engine's repr nor any message holds the password.

    Args:
        database: `postgresql://` or `postgres://`, both by psycopg2; several
            hosts as `postgresql://user@/database?host=a:5432&host=b:5432`.

        application_name: what `pg_stat_activity` shows, cut to 63 bytes there.

        connect_timeout: seconds for each host.

    Raises:
        ConfigurationError: the URL is none, or names another driver or an unknown option.
    """
    url = _url(database)
    given = _parameters(url)
    parameters = {
        "application_name": application_name,
        "connect_timeout": str(ceil(connect_timeout)),
        "client_encoding": "utf8",
        "target_session_attrs": "read-write",
        **_KEEPALIVE,
        **given,
        # The last setting of a name wins, so the URL's follow ours.
        "options": f"{_SESSION} {given.get('options', '')}".rstrip(),
    }
    return create_engine(
        # Without password and query: those travel in the parameters alone, where no repr shows them.
        URL.create(url.drivername, url.username, host=url.host, port=url.port, database=url.database),
        connect_args=parameters,
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        # Looking for the hstore type would cost a round trip for each connection.
        use_native_hstore=False,
    )


def _url(database: str) -> URL:
    """The URL with its driver named: SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3."""
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        # Their message may quote what was given, and with it the password.
        raise ConfigurationError(
            f"the database URL cannot be read: write it as {_EXAMPLE}, special characters in the password as %XX, "
            "several hosts as ?host=a:5432&host=b:5432"
        ) from None
    if url.drivername not in _SCHEMES:
        raise ConfigurationError(
            f"the database URL begins with {url.drivername}://, but tradepipe speaks to PostgreSQL by psycopg2: "
            f"write it as {_EXAMPLE}"
        )
    return url.set(drivername="postgresql+psycopg2")


def _parameters(url: URL) -> dict[str, Any]:
    """What the URL says, as libpq's parameters; libpq itself checks their names."""
    try:
        _, parameters = url.get_dialect()().create_connect_args(url)
        make_dsn(**parameters)
    except (ArgumentError, ValueError, psycopg2.ProgrammingError) as error:
        raise ConfigurationError(f"the database URL cannot be used: {_redact(url, str(error).strip())}") from None
    return dict(parameters)


def _redact(url: URL, message: str) -> str:
    """Mask the URL's passwords in a message that quotes them."""
    secrets = (url.password, url.query.get("password"), url.query.get("sslpassword"))
    return redact(message, [secret for secret in secrets if isinstance(secret, str)])


class Deadline:
    """
    Cut the connection when the work inside the `with` block takes longer than `seconds`.

    Whoever waits for the server then gets the error of a lost connection.
    `statement_timeout` is the server's, and keepalives are answered by the
    kernel of a server whose process is stopped: neither ends such a wait.

    Attributes:
        expired: whether it came to that.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        driver = connection.connection.dbapi_connection
        assert driver is not None, "a deadline needs a live connection"
        self._fileno: int = driver.fileno()
        self._lock = threading.Lock()
        self._over = False
        self.expired = False
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()

    def abort(self) -> None:
        """End the connection now, from any thread."""
        with self._lock:
            self._shut_down()

    def _expire(self) -> None:
        with self._lock:
            self.expired = not self._over
            self._shut_down()

    def _shut_down(self) -> None:
        if self._over:  # the descriptor may be another connection's by now
            return
        self._over = True
        with suppress(OSError), socket.socket(fileno=os.dup(self._fileno)) as wire:
            wire.shutdown(socket.SHUT_RDWR)


CLIENT_DEADLINE: Final = 20.0
"""Seconds one transaction may take before the client cuts the connection; above `statement_timeout`."""

# Below each other and below the client's deadline, so that waiting for a lock (55P03), a statement that is too
# much at once (57014) and a frozen backend stay apart. `idle_in_transaction_session_timeout` is the engine's.
_LIMITS: Final = "SET lock_timeout = '5s'; SET statement_timeout = '15s'"

# A backend whose sink was killed notices it after a second, not when its statement is over, and lets go of its locks.
_CHECK: Final = "SET client_connection_check_interval = '1s'"
_CAN_CHECK: Final = (14,)


def open_session(engine: Engine, require: Callable[[Connection], None] = check_revision) -> Connection:
    """
    A connection on which batches can be stored; needs session pooling, if any.

    Args:
        require: refuses a database that this cannot be done with.

    Raises:
        DatabaseOutdated, ConfigurationError: as `require` does.

        sqlalchemy.exc.DBAPIError: the server is away, or refuses us.
    """
    connection = engine.connect()
    try:
        with Deadline(connection, CLIENT_DEADLINE), connection.begin():
            connection.exec_driver_sql(_LIMITS)
            if (connection.dialect.server_version_info or ()) >= _CAN_CHECK:
                connection.exec_driver_sql(_CHECK)
            require(connection)
            copy.create(connection)
    except BaseException:
        connection.invalidate()
        connection.close()
        raise
    return connection
