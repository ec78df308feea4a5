"""A TCP proxy that breaks connections, for tests of what a client does then."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Self


class Proxy:
    """
    Forwards connections on 127.0.0.1 to a port there, unless a method changes that.

    A change applies to open connections too, from the next bytes on.

    Attributes:
        target: the port there; new connections go where it points then.

        latency: seconds by which each piece is delayed, in both directions.
    """

    def __init__(self, target: int, *, latency: float = 0.0) -> None:
        self.latency = latency
        self.target = target
        self._needle: bytes | None = None
        self._is_blackhole = False
        self._links: set[_Link] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def instead_of(self, address: str) -> str:
        """The URL or address of something on 127.0.0.1, so that it leads to the proxy."""
        before, _, after = address.partition("127.0.0.1:")
        return f"{before}127.0.0.1:{self.port}{after.lstrip('0123456789')}"

    def blackhole(self) -> None:
        """Accept connections and swallow all bytes, in both directions, until `heal`."""
        self._is_blackhole = True

    def swallow_reply_after(self, needle: bytes) -> None:
        """
        The next time a client sends `needle`, forward it, and cut the connection instead of forwarding the reply.

        By then the server has done what it was asked, and the client cannot know.
        """
        self._needle = needle

    def reset(self) -> None:
        """Cut all open connections; new ones are forwarded."""
        for link in tuple(self._links):
            link.cut()

    def heal(self) -> None:
        """Forward again; connections that lost bytes are cut."""
        was_blackhole, self._is_blackhole = self._is_blackhole, False
        self._needle = None
        self.latency = 0.0
        if was_blackhole:
            self.reset()

    def close(self) -> None:
        """Cut all connections and accept none."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open(client)

    def _open(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        link = _Link(client, server)
        self._links.add(link)
        for pump in (self._requests, self._replies):
            threading.Thread(target=self._pump, args=(pump, link), name="proxy pump", daemon=True).start()

    def _pump(self, forward: Callable[["_Link"], None], link: "_Link") -> None:
        with contextlib.suppress(OSError):
            forward(link)
        link.cut()
        self._links.discard(link)

    def _requests(self, link: "_Link") -> None:
        while piece := link.client.recv(65536):
            if self._needle is not None and self._needle in piece:
                self._needle = None
                link.swallows_reply = True
            self._forward(piece, link.server)

    def _replies(self, link: "_Link") -> None:
        while (piece := link.server.recv(65536)) and not link.swallows_reply:
            self._forward(piece, link.client)

    def _forward(self, piece: bytes, to: socket.socket) -> None:
        if self.latency:
            time.sleep(self.latency)
        if not self._is_blackhole:
            to.sendall(piece)


class _Link:
    """One client's connection and the one made for it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.swallows_reply = False
        self._cutting = threading.Lock()

    def cut(self) -> None:
        with self._cutting:
            _reset(self.client)
            _reset(self.server)


def port_of(address: str) -> int:
    """The port of a URL or an address on 127.0.0.1."""
    return int(address.partition("127.0.0.1:")[2].partition("/")[0])


def _reset(connection: socket.socket) -> None:
    """Close with a reset; the shutdown wakes a thread that reads it."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
    connection.close()
