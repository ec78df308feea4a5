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
"""The timeout is in milliseconds: a frozen process loses its transaction, and its locks, after ten seconds."""

_KEEPALIVE: Final = {
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""A vanished peer is noticed within half a minute; with the defaults of the kernel it takes two hours."""


def create_engine_for(database: str, *, application_name: str, connect_timeout: float = 5.0) -> Engine:
    """
    Create an engine without a pool, for writable connections in UTC that notice a vanished peer.

    Settings in the URL (`?sslmode=verify-full`, `?connect_timeout=30`,
    `?options=-c search_path=…`) take precedence. Nothing connects yet. Neither the
    engine's repr nor any message contains the password.

    Args:
        database: `postgresql://` or `postgres://`, both by psycopg2; several
            hosts as `postgresql://user@/database?host=a:5432&host=b:5432`.

        application_name: the name in `pg_stat_activity`, which cuts it to 63 bytes.

        connect_timeout: seconds for each host.

    Raises:
        ConfigurationError: the URL is invalid, or names another driver or an unknown option.
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
        # PostgreSQL uses the last setting of a name: options of the URL come after ours.
        "options": f"{_SESSION} {given.get('options', '')}".rstrip(),
    }
    return create_engine(
        # Without password and query: they are in the parameters only, which no repr shows.
        URL.create(url.drivername, url.username, host=url.host, port=url.port, database=url.database),
        connect_args=parameters,
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        # A lookup of the hstore type would cost a round trip per connection.
        use_native_hstore=False,
    )


def _url(database: str) -> URL:
    """Parse the URL and set its driver: SQLAlchemy 2.1 reads a bare `postgresql://` as psycopg 3."""
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        # The message of the parser may quote the URL, and so the password.
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
    """Return the parameters of the URL for libpq, which checks their names."""
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
    Cut the connection if the work inside the `with` block takes longer than `seconds`.

    A call that waits for the server then raises the error of a lost connection.
    Nothing else ends such a wait when the server process is stopped: the server
    itself checks `statement_timeout`, and its kernel still answers keepalives.

    Attributes:
        expired: True once the deadline has cut the connection.
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
        """Cut the connection now, from any thread."""
        with self._lock:
            self._shut_down()

    def _expire(self) -> None:
        with self._lock:
            self.expired = not self._over
            self._shut_down()

    def _shut_down(self) -> None:
        if self._over:  # the descriptor may belong to another connection by now
            return
        self._over = True
        with suppress(OSError), socket.socket(fileno=os.dup(self._fileno)) as wire:
            wire.shutdown(socket.SHUT_RDWR)


CLIENT_DEADLINE: Final = 20.0
"""Seconds one transaction may take before the client cuts the connection; above `statement_timeout`."""

# lock_timeout < statement_timeout < CLIENT_DEADLINE, to distinguish a lock that is held (55P03), a statement that is
# too large (57014) and a frozen backend. The engine sets `idle_in_transaction_session_timeout`.
_LIMITS: Final = "SET lock_timeout = '5s'; SET statement_timeout = '15s'"

# The backend of a killed sink releases its locks after a second instead of at the end of its statement.
_CHECK: Final = "SET client_connection_check_interval = '1s'"
_CAN_CHECK: Final = (14,)


def open_session(engine: Engine, require: Callable[[Connection], None] = check_revision) -> Connection:
    """
    Open a connection that can store batches; a pooler in between must pool sessions.

    Args:
        require: called with the connection; raises if the database cannot be used.

    Raises:
        DatabaseOutdated, ConfigurationError: `require` raised it.

        sqlalchemy.exc.DBAPIError: the server is unavailable or refuses the connection.
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
