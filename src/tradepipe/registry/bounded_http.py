"""HTTP transport with a deadline over the whole request, and a limit of the bytes that are read."""

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import httpcore
import httpx

from tradepipe.registry.auth import Proxy

DEADLINE: Final = "deadline"
"""Request extension: when the request ends, by `time.monotonic()`."""

MAX_RESPONSE: Final = 4_194_304
"""Bytes of a response, with its headers and chunk sizes."""

_WRITE_BYTES: Final = 16_384

_ERRORS: Final[dict[type[Exception], type[httpx.TransportError]]] = {
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.NetworkError: httpx.NetworkError,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ProtocolError: httpx.ProtocolError,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.TimeoutException: httpx.TimeoutException,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
    httpcore.WriteError: httpx.WriteError,
    httpcore.WriteTimeout: httpx.WriteTimeout,
}


class BoundedTransport(httpx.BaseTransport):
    """
    Send requests over HTTP/1.1; each ends at its deadline, whatever the server sends.

    The timeouts of httpx apply to each read of the socket. A server that sends a
    byte now and then, or `100 Continue` for ever, never exceeds them.

    Args:
        proxy: the proxy to connect through, or None.
    """

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        self._limits = _Limits()
        backend = _Backend(self._limits)
        self._pool: httpcore.ConnectionPool
        if proxy is None:
            self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=backend)
        else:
            self._pool = httpcore.HTTPProxy(
                proxy.url, proxy_auth=proxy.user_info, ssl_context=context, network_backend=backend
            )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its stream must be read by the same thread, before the next request."""
        # Before the pool: it may have to connect first, and that counts as well.
        self._limits.begin(request.extensions.get(DEADLINE, float("inf")))
        url = request.url
        with _httpx_errors():
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=cast("httpx.SyncByteStream", request.stream),
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._response.iter_stream()

    def close(self) -> None:
        with _httpx_errors():
            self._response.close()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Translate httpcore's exceptions into those of httpx that have the same name."""
    try:
        yield
    except tuple(_ERRORS) as error:
        raise _ERRORS[type(error)](str(error)) from error


class _Limits(threading.local):
    """The limits of a thread's current request: a connection serves one request, and so one thread, at a time."""

    deadline = float("inf")
    bytes_left = 0

    def begin(self, deadline: float) -> None:
        """Start a request."""
        self.deadline = deadline
        self.bytes_left = MAX_RESPONSE

    def remaining(self, timeout: float | None, expired: type[Exception]) -> float:
        """Return the seconds that one call may take; raise `expired` after the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise expired("the response arrived too slowly")
        return left if timeout is None else min(left, timeout)


class _Backend(httpcore.NetworkBackend):
    """Opens connections that respect the limits."""

    def __init__(self, limits: _Limits) -> None:
        self._limits = limits
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; each gets an equal share of the time that is left."""
        try:
            addresses = [found[4][0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        while True:
            # An equal share for each: a first address that does not answer must leave time for the others.
            address = str(addresses.pop(0))
            share = self._limits.remaining(timeout, httpcore.ConnectTimeout) / (len(addresses) + 1)
            try:
                stream = self._sockets.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not addresses:
                    raise
            else:
                return _Stream(stream, self._limits)


class _Stream(httpcore.NetworkStream):
    """A connection that respects the limits."""

    def __init__(self, stream: httpcore.NetworkStream, limits: _Limits) -> None:
        self._stream = stream
        self._limits = limits

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # The time left, set again for each read: a byte now and then would restart a timeout of the socket.
        data = self._stream.read(max_bytes, self._limits.remaining(timeout, httpcore.ReadTimeout))
        self._limits.bytes_left -= len(data)
        if self._limits.bytes_left < 0:
            raise httpcore.ReadError(f"the response has more than {MAX_RESPONSE} bytes")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces: one write of all would return only when a slow server has taken the last byte.
        for start in range(0, len(buffer), _WRITE_BYTES):
            piece = buffer[start : start + _WRITE_BYTES]
            self._stream.write(piece, self._limits.remaining(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._limits.remaining(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._limits)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
