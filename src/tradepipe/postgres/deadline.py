"""A deadline that the client keeps, for calls that wait for the server."""

import os
import socket
import threading
import time
from contextlib import AbstractContextManager, suppress
from typing import Final

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

        ends_at: when it does, by `time.monotonic`.

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
        self.ends_at = time.monotonic() + seconds
        _watchdog.add(self)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        _watchdog.remove(self)
        with self._lock:
            self._over = True
        if self.expired and isinstance(error, DBAPIError | psycopg2.Error):
            raise AnswerTimeout(f"no answer within {self._seconds:g} s") from error

    def abort(self) -> None:
        """Cut the connection now, from any thread."""
        with self._lock:
            self._shut_down()

    def expire(self) -> None:
        """Cut the connection because the time is over."""
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


class _Watchdog:
    """
    One thread for all deadlines.

    A timer for each transaction would start a thread for each, which takes longer than a small transaction. Nearly all
    deadlines are removed long before they end, so the thread is not woken for one unless it would sleep for longer.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: set[Deadline] = set()
        self._thread: threading.Thread | None = None
        self._wakes_at = float("inf")

    def add(self, deadline: Deadline) -> None:
        with self._changed:
            self._deadlines.add(deadline)
            # A forked process has no such thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tradepipe-deadlines", daemon=True)
                self._thread.start()
            elif deadline.ends_at < self._wakes_at:
                self._changed.notify()

    def remove(self, deadline: Deadline) -> None:
        with self._changed:
            self._deadlines.discard(deadline)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._wakes_at = min((each.ends_at for each in self._deadlines), default=float("inf"))
                if (left := self._wakes_at - time.monotonic()) > 0:
                    self._changed.wait(None if left == float("inf") else left)
                ended = [each for each in self._deadlines if each.ends_at <= time.monotonic()]
                self._deadlines.difference_update(ended)
            for each in ended:
                each.expire()


_watchdog: Final = _Watchdog()
