"""A deadline that the client keeps: a frozen backend answers no timeout of its own."""

import os
import socket
import threading
from contextlib import suppress
from types import TracebackType

from sqlalchemy import Connection


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

    def cut(self) -> None:
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
