"""The one connection of a sink: its limits, its staging table."""

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, Engine

from tradepipe.postgres import staging
from tradepipe.postgres.deadline import Deadline
from tradepipe.postgres.revision import require_revision

CLIENT_DEADLINE: Final = 20.0
"""Seconds one transaction may take before the client cuts the connection; above `statement_timeout`."""

# Below each other and below the client's deadline, so that waiting for a lock (55P03), a statement that is too
# much at once (57014) and a frozen backend stay apart. `idle_in_transaction_session_timeout` is the engine's.
_LIMITS: Final = "SET lock_timeout = '5s'; SET statement_timeout = '15s'"

# A backend whose sink was killed notices it after a second, not when its statement is over, and lets go of its locks.
_CHECK: Final = "SET client_connection_check_interval = '1s'"
_CAN_CHECK: Final = (14,)


def connect(engine: Engine, require: Callable[[Connection], None] = require_revision) -> Connection:
    """
    A connection on which batches can be stored; needs session pooling, if any.

    Args:
        require: refuses a database that this cannot be done with.

    Raises:
        DatabaseBehind, Misconfigured: as `require` does.

        sqlalchemy.exc.DBAPIError: the server is away, or refuses us.
    """
    connection = engine.connect()
    try:
        with Deadline(connection, CLIENT_DEADLINE), connection.begin():
            connection.exec_driver_sql(_LIMITS)
            if (connection.dialect.server_version_info or ()) >= _CAN_CHECK:
                connection.exec_driver_sql(_CHECK)
            require(connection)
            staging.create(connection)
    except BaseException:
        connection.invalidate()
        connection.close()
        raise
    return connection
