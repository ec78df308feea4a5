"""A deadline that the client keeps, for calls that wait for the server."""

import os
import socket
import threading
from contextlib import AbstractContextManager, suppress
from types import TracebackType

import psycopg2
from psycopg2.extensions import connection as DriverConnection
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


class AnswerTimeout(psycopg2.OperationalError):
    """The server did not answer before the client's deadline; an error of an unavailable service."""


class Deadline(AbstractContextManager["Deadline"]):
    """
    Cut the connection if the work inside the `with` block takes longer than `seconds`, from the construction on.

    Nothing else ends a wait for a server process that is stopped: the server itself
    checks `statement_timeout`, and its kernel still answers keepalives.

    Attributes:
        expired: True once the deadline has cut the connection.

    Raises:
        AnswerTimeout: the deadline has cut the connection. Without it the
            driver's message would blame the server for closing the connection.
    """

    def __init__(self, connection: Connection | DriverConnection, seconds: float) -> None:
        driver = connection.connection.dbapi_connection if isinstance(connection, Connection) else connection
        assert driver is not None, "a deadline needs a live connection"
        self._fileno: int = driver.fileno()
        self._seconds = seconds
        self._lock = threading.Lock()
        self._over = False
        self.expired = False
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()
        if self.expired and isinstance(error, DBAPIError | psycopg2.Error):
            raise AnswerTimeout(f"no answer within {self._seconds:g} s") from error

    def abort(self) -> None:
        """Cut the connection now, from any thread."""
        with self._lock:
            self._shut_down()

    def _expire(self) -> None:
        with self._lock:
            self.expired = not self._over
            self._shut_down()

    def _shut_down(self) -> None:
        # Under the lock, and only while the block runs: afterwards the descriptor may belong to another connection or
        # file. The duplicate stays valid if the driver closes its own meanwhile.
        if self._over:
            return
        self._over = True
        with suppress(OSError), socket.socket(fileno=os.dup(self._fileno)) as wire:
            wire.shutdown(socket.SHUT_RDWR)
