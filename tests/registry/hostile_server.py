"""A server that answers in ways that no honest registry does."""

import socket
import threading
import time
from collections.abc import Iterable

TOO_LATE = 60.0
"""Seconds until a hostile server gives up: a client without a deadline waits at least this long."""


class HostileServer:
    """
    A server on 127.0.0.1 that answers on each connection with the given pieces, until the client hangs up.

    The first piece follows a request, and so does the one after a None.
    """

    def __init__(self, pieces: Iterable[bytes | None], pause: float = 0.02) -> None:
        self._pieces = pieces
        self._pause = pause
        self._ended = threading.Event()
        self.connections = 0
        """How many connections there have been."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "HostileServer":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection:
                    self._answer(connection)
        except OSError:  # the listener is closed
            return

    def _answer(self, connection: socket.socket) -> None:
        until = time.monotonic() + TOO_LATE
        try:
            connection.recv(65_536)
            for piece in self._pieces:
                if piece is None:
                    connection.recv(65_536)
                    continue
                connection.sendall(piece)
                if self._ended.wait(self._pause) or time.monotonic() > until:
                    return
        except OSError:  # the client has hung up
            return
