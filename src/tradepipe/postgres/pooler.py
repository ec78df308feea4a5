"""Detection of a connection pooler that does not keep a session for each client."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

import psycopg2
from psycopg2.extensions import connection as DriverConnection

from tradepipe.errors import ConfigurationError
from tradepipe.postgres.deadline import Deadline

ADVICE: Final = (
    "a connection pooler gives transactions, not sessions: set pool_mode=session for this database, with "
    "server_reset_query=DISCARD ALL, or connect to PostgreSQL directly"
)

ADVANCE: Final = "tradepipe_advance"
"""The prepared statement that a session of a sink has, as it has a staging table."""

_TRIES: Final = 5
_PROBE_SECONDS: Final = 2
"""A session pooler without a free server lets a second client wait for much longer."""

# The server's start time tells two servers apart that happen to use one process id, behind a URL of several hosts.
_BACKEND: Final = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_postmaster_start_time()"

Connect = Callable[..., DriverConnection]
"""Opens a connection like the one to check; keywords replace its parameters."""


def require_session(driver: DriverConnection, connect: Connect) -> None:
    """
    Check that a new connection, in autocommit mode, is a session: that one backend serves all of its transactions.

    A direct connection costs one query. Behind a pooler, a second connection
    begins a transaction while the first is idle. A pooler of transactions then
    lends it the backend of the first, or gives the first another one afterwards.
    A session keeps its backend, so a session is never mistaken for anything else.

    Raises:
        ConfigurationError: the pooler gives transactions or statements, not sessions.

        psycopg2.Error: the server is unavailable.
    """
    backend = _ask(driver)
    # A pooler gives its clients cancellation keys that it makes up: their process id is not that of the backend.
    if backend[0] != driver.info.backend_pid:
        _require_transactions(driver, connect)
        # No answer for the second connection means that there is no free backend. A pooler of transactions would have
        # lent it that of the first one, which is idle.
        with suppress(psycopg2.Error), _probe(connect) as second, second.cursor() as cursor:
            for _ in range(_TRIES):
                cursor.execute("BEGIN")
                lent = _ask(second)
                # In this order: the first one waits for a free server if the second one holds the last.
                if lent == backend or _ask(driver) != backend:
                    raise ConfigurationError(ADVICE)
                cursor.execute("ROLLBACK")


def _require_transactions(driver: DriverConnection, connect: Connect) -> None:
    """
    Check that a transaction may span statements.

    A pooler of statements answers BEGIN by closing the connection, and psycopg2
    drops the reason. A server that restarts at this moment does the same, but
    only once; hence the second try.
    """
    try:
        _begin(driver)
    except psycopg2.OperationalError as first:
        with _probe(connect) as again:
            _ask(again)
            try:
                _begin(again)
            except psycopg2.OperationalError:
                raise ConfigurationError(ADVICE) from first
        raise


@contextmanager
def _probe(connect: Connect) -> Iterator[DriverConnection]:
    probe = connect(connect_timeout=str(_PROBE_SECONDS))
    with closing(probe), Deadline(probe, _PROBE_SECONDS):
        probe.autocommit = True
        yield probe


def _begin(driver: DriverConnection) -> None:
    with driver.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("ROLLBACK")


def _ask(driver: DriverConnection) -> tuple[object, ...]:
    with driver.cursor() as cursor:
        cursor.execute(_BACKEND)
        return tuple(cursor.fetchone() or ())
