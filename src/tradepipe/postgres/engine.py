"""The engine: from the operator's URL to connections that notice a dead server."""

from math import ceil
from typing import Any, Final

import psycopg2
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from tradepipe.errors import Misconfigured

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


def engine(database: str, *, application_name: str, connect_timeout: float = 5.0) -> Engine:
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
        Misconfigured: the URL is none, or names another driver or an unknown option.
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
        raise Misconfigured(
            f"the database URL cannot be read: write it as {_EXAMPLE}, special characters in the password as %XX, "
            "several hosts as ?host=a:5432&host=b:5432"
        ) from None
    if url.drivername not in _SCHEMES:
        raise Misconfigured(
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
        raise Misconfigured(f"the database URL cannot be used: {_without(url, str(error).strip())}") from None
    return dict(parameters)


def _without(url: URL, message: str) -> str:
    """The message without the password, should a driver have quoted it."""
    secrets = (url.password, url.query.get("password"), url.query.get("sslpassword"))
    for secret in secrets:
        if isinstance(secret, str) and secret:
            message = message.replace(secret, "***")
    return message
