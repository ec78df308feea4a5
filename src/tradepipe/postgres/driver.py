"""psycopg2 cursors, for COPY and for the statements of every batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor


@contextmanager
def driver_cursor(connection: Connection) -> Iterator[DBAPICursor]:
    """
    Open a psycopg2 cursor within the connection's transaction; what the server refuses is a psycopg2.Error.

    SQLAlchemy has no COPY, and where a batch has few records, its own work for a
    statement takes a noticeable part of the CPU time.
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
