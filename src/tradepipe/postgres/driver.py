"""psycopg2's cursor of a connection, for statements that run once in each batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor


@contextmanager
def driver_cursor(connection: Connection) -> Iterator[DBAPICursor]:
    """
    Open a cursor within the connection's transaction.

    For a batch of few records SQLAlchemy's own work for a statement takes as long as
    its execution, and it has no COPY. What the server refuses is a psycopg2.Error.
    """
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except psycopg2.Error as error:
        # SQLAlchemy, which has not seen this error, would fail at the rollback with one that hides it.
        if cursor.connection.closed:
            connection.invalidate(error)
        raise
    finally:
        cursor.close()
