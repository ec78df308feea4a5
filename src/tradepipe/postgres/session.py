"""Connections to PostgreSQL: URLs, sessions, and deadlines of statements."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as DriverConnection
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, Connection, Dialect, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from tradepipe.errors import ConfigurationError
from tradepipe.names import find_padding
from tradepipe.postgres import copy, pooler
from tradepipe.postgres.deadline import Deadline
from tradepipe.postgres.failures import translate_errors
from tradepipe.postgres.locks import limit_lock_waits, name_lock_holders
from tradepipe.postgres.revision import check_revision
from tradepipe.redaction import redact
from tradepipe.small_files import is_endless, is_larger

_SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg2")

_EXAMPLE: Final = "postgresql://user:password@host:5432/database"
_HOW_TO_WRITE: Final = (
    f"write it as {_EXAMPLE}, special characters in the password as %XX (%40 for @, %23 for #, %2F for /, %3F for ?), "
    "several hosts as ?host=a:5432&host=b:5432"
)

_SETTINGS: Final = """
    SELECT pg_catalog.set_config(wanted.name, wanted.value, false)
      FROM (
        VALUES ('TimeZone'::text, 'UTC'::text), ('idle_in_transaction_session_timeout', '10s')
      ) AS wanted (name, value)
     WHERE NOT EXISTS (
       SELECT FROM pg_catalog.pg_settings AS chosen WHERE chosen.name = wanted.name AND chosen.source = 'client'
     )
"""
"""
Settings of every session, unless the URL or PGOPTIONS sets them.

By SQL and not in the startup packet: connection poolers refuse its `options`. A
frozen process loses its transaction, and its locks, after ten seconds.
"""

_KEEPALIVE: Final = {
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""A vanished peer is noticed within half a minute; with the defaults of the kernel it takes two hours."""


def create_engine_for(database: str, *, application_name: str, connect_timeout: float = 5.0) -> Engine:
    """
    Create an engine without a pool, for writable sessions in UTC that notice a vanished peer.

    Settings in the URL (`?sslmode=verify-full`, `?connect_timeout=30`,
    `?options=-c search_path=…`) take precedence. Nothing connects yet. Neither the
    engine's repr nor any message contains the password or the values of a row.

    A connection pooler between client and server must pool sessions: with any
    other, the first connection raises ConfigurationError.

    Args:
        database: `postgresql://` or `postgres://`, both by psycopg2; several
            hosts as `postgresql://user@/database?host=a:5432&host=b:5432`.

        application_name: the name in `pg_stat_activity`, which cuts it to 63 bytes.

        connect_timeout: seconds for each host.

    Raises:
        ConfigurationError: the URL is invalid, or names another driver or an unknown option.
    """
    url = _url(database)
    from_url = _parameters(url)
    parameters = {
        "application_name": application_name,
        "connect_timeout": str(ceil(connect_timeout)),
        "client_encoding": "utf8",
        "target_session_attrs": "read-write",
        **_KEEPALIVE,
        **from_url,
    }
    engine = create_engine(
        # Without password and query: they are in the parameters only, which no repr shows.
        URL.create(url.drivername, url.username, host=url.host, port=url.port, database=url.database),
        connect_args=parameters,
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        # A lookup of the hstore type would cost a round trip per connection.
        use_native_hstore=False,
        # SQLAlchemy's errors would quote the parameters of the statement: keys and values of records.
        hide_parameters=True,
    )

    def set_up(driver: DriverConnection, _record: object) -> None:
        try:
            with Deadline(driver, CLIENT_DEADLINE):
                driver.autocommit = True
                pooler.require_session(driver, lambda **changed: psycopg2.connect(**{**parameters, **changed}))
                with driver.cursor() as cursor:
                    cursor.execute(_SETTINGS)
                driver.autocommit = False
        except BaseException:
            driver.close()
            raise

    event.listen(engine, "do_connect", _connect)
    # First, so that the session is checked before SQLAlchemy's own first queries.
    event.listen(engine, "connect", set_up, insert=True)
    return engine


def _connect(
    dialect: Dialect, _record: object, arguments: tuple[Any, ...], parameters: dict[str, Any]
) -> DBAPIConnection:
    try:
        return dialect.connect(*arguments, **parameters)
    except UnicodeDecodeError as error:
        # Before the login a server writes its messages in its own encoding, which psycopg2 takes for UTF-8.
        raise psycopg2.OperationalError(error.object.decode(errors="backslashreplace")) from None


def _url(database: str) -> URL:
    """Parse the URL and set its driver: SQLAlchemy 2.1 reads a bare `postgresql://` as psycopg 3."""
    if not isinstance(database, str):
        # An environment variable that is not set, for example.
        raise ConfigurationError(f"database must be a URL such as {_EXAMPLE}, not {type(database).__name__}")
    if problem := find_padding(database):
        raise ConfigurationError(f"the database URL {problem}")
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        # The message of the parser may quote the URL, and so the password.
        raise ConfigurationError(f"the database URL cannot be read: {_HOW_TO_WRITE}") from None
    if url.drivername not in _SCHEMES:
        raise ConfigurationError(
            f"the database URL begins with {url.drivername}://, but tradepipe uses psycopg2: write it as {_EXAMPLE}"
        )
    _, _, after_password = database.partition("@")
    path, _, query = after_password.partition("?")
    # An unescaped @ ends a password early: the parser would take the rest for a host, and an error would print it.
    if re.search("[@#]", path) or any(option and "=" not in option for option in query.split("&")):
        raise ConfigurationError(f"the database URL has an @, # or ? that is not escaped: {_HOW_TO_WRITE}")
    return url.set(drivername="postgresql+psycopg2")


def _parameters(url: URL) -> dict[str, Any]:
    """Return the parameters of the URL for libpq, which checks their names."""
    try:
        _, parameters = url.get_dialect()().create_connect_args(url)
        make_dsn(**parameters)
    except UnicodeEncodeError:
        raise ConfigurationError(f"the database URL is not valid text in UTF-8: {_HOW_TO_WRITE}") from None
    except (ArgumentError, ValueError, psycopg2.ProgrammingError) as error:
        # The message may quote the URL, with its passwords.
        secrets = (url.password, url.query.get("password"), url.query.get("sslpassword"))
        reason = redact(str(error).strip(), [secret for secret in secrets if isinstance(secret, str)])
        raise ConfigurationError(f"the database URL cannot be used: {reason}") from None
    _check_files(parameters)
    return dict(parameters)


_FILES: Final = (
    ("sslrootcert", "PGSSLROOTCERT", "~/.postgresql/root.crt"),
    ("sslcert", "PGSSLCERT", "~/.postgresql/postgresql.crt"),
    ("sslkey", "PGSSLKEY", "~/.postgresql/postgresql.key"),
    ("sslcrl", "PGSSLCRL", "~/.postgresql/root.crl"),
    ("passfile", "PGPASSFILE", "~/.pgpass"),
    ("servicefile", "PGSERVICEFILE", "~/.pg_service.conf"),
)
"""Files that libpq reads to their ends: the parameters and variables that name them, and where they are otherwise."""

MAX_FILE_BYTES: Final = 1 << 24
"""The largest file that libpq may read: a service file of 2 GB takes it 11 seconds at each connection."""


def _check_files(parameters: Mapping[str, Any]) -> None:
    """Check that libpq will not read a file without end."""
    for path, source in _files_of_libpq(parameters):
        problem = "a named pipe or a device, not a file" if is_endless(path) else ""
        if is_larger(path, MAX_FILE_BYTES):
            problem = f"a file that is larger than {MAX_FILE_BYTES:,} bytes"
        if problem:
            named = f"{source} names {problem}: {path}"
            raise ConfigurationError(named if source else f"{path}, which libpq reads, is {problem}")


def _files_of_libpq(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each file that libpq may read, and what names it, or an empty text."""
    for name, variable, usual in _FILES:
        if location := parameters.get(name) or os.environ.get(variable):
            yield location, f"{name} or {variable}"
        else:
            yield os.path.expanduser(usual), ""
    if folder := os.environ.get("PGSYSCONFDIR"):
        yield os.path.join(folder, "pg_service.conf"), "PGSYSCONFDIR"


CLIENT_DEADLINE: Final = 20.0
"""Seconds one transaction may take before the client cuts the connection; above `statement_timeout`."""

# lock_timeout < statement_timeout < CLIENT_DEADLINE, to distinguish a lock that is held (55P03), a statement that is
# too large (57014) and a frozen backend. The engine sets `idle_in_transaction_session_timeout`.
_LIMITS: Final = "SET lock_timeout = '5s'; SET statement_timeout = '15s'"

# The backend of a killed sink releases its locks after a second instead of at the end of its statement.
_CHECK: Final = "SET client_connection_check_interval = '1s'"
_CAN_CHECK: Final = (14,)

# Instead, the client's deadline ends a transaction: by this timeout PostgreSQL would end the session, of which libpq
# reports only that it is closed, and the same batch would be tried again for ever.
_NO_TRANSACTION_TIMEOUT: Final = "SET transaction_timeout = 0"
_HAS_TRANSACTION_TIMEOUT: Final = (17,)

_IDLE_TIMEOUT: Final = text(
    "SELECT CAST(setting AS int) FROM pg_catalog.pg_settings WHERE name = 'idle_in_transaction_session_timeout'::text"
)
MIN_IDLE_MILLISECONDS: Final = 1_000
"""The shortest `idle_in_transaction_session_timeout` that a busy machine does not exceed between two statements."""


def open_session(engine: Engine) -> Connection:
    """Open a connection that can store batches; raises as `check_revision`, and sqlalchemy.exc.DBAPIError."""
    connection = engine.connect()
    try:
        with Deadline(connection, CLIENT_DEADLINE), name_lock_holders(connection), connection.begin():
            connection.exec_driver_sql(_LIMITS)
            version = connection.dialect.server_version_info or ()
            if version >= _CAN_CHECK:
                connection.exec_driver_sql(_CHECK)
            if version >= _HAS_TRANSACTION_TIMEOUT:
                connection.exec_driver_sql(_NO_TRANSACTION_TIMEOUT)
            _check_idle_timeout(connection)
            check_revision(connection)
            copy.create_temporary_tables(connection)
    except BaseException:
        connection.invalidate()
        connection.close()
        raise
    return connection


def _check_idle_timeout(connection: Connection) -> None:
    """Check that the URL or PGOPTIONS leave the client time between two statements."""
    milliseconds = connection.scalar(_IDLE_TIMEOUT) or 0
    if 0 < milliseconds < MIN_IDLE_MILLISECONDS:
        raise ConfigurationError(
            f"the database URL or PGOPTIONS set idle_in_transaction_session_timeout to {milliseconds} ms: PostgreSQL "
            f"would end sessions between two statements; leave it out, or set at least {MIN_IDLE_MILLISECONDS} ms"
        )


@contextmanager
def open_transaction(database: str, *, application_name: str, seconds: float) -> Iterator[Connection]:
    """
    Open a connection and a transaction for one command; abort it after `seconds`.

    Raises:
        DatabaseUnavailable: PostgreSQL is unavailable, or other sessions lock the tables for too long.

        ConfigurationError: the URL, the credentials or the revision are wrong.
    """
    engine = create_engine_for(database, application_name=application_name, connect_timeout=seconds)
    with (
        translate_errors(),
        engine.connect() as connection,
        Deadline(connection, seconds),
        name_lock_holders(connection),
        connection.begin(),
    ):
        limit_lock_waits(connection, seconds)
        check_revision(connection)
        yield connection
