"""HTTP requests to a registry with one or more URLs: retries, time limits, errors."""

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import httpcore
import httpx

from tradepipe.errors import ConfigurationError, RegistryUnavailable
from tradepipe.outage import Backoff
from tradepipe.registry.auth import Credentials, Proxy

DEADLINE: Final = "deadline"
"""Request extension: when the request ends, by `time.monotonic()`."""

MAX_RESPONSE: Final = 4_194_304
"""Bytes of a response, with its headers and chunk sizes."""

MAX_SUMMARY: Final = 10_000
"""Characters of a response that are processed for an error message."""

_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_UNAVAILABLE: Final = frozenset({408, 425, 429})
_WRITE_BYTES: Final = 16_384
_FIRST_DELAY_SECONDS: Final = 0.25
_MAX_DELAY_SECONDS: Final = 5.0

RequestError = RegistryUnavailable | ConfigurationError


class Response(NamedTuple):
    """A registry's response, and the URL that it came from, with the proxy in between."""

    origin: str
    status: int
    body: Any

    @property
    def is_not_found(self) -> bool:
        """Whether a 404 is the registry's own and refers to the requested object, not to an unknown path."""
        code = self.body.get("error_code") if isinstance(self.body, dict) else None
        return isinstance(code, int) and 40_400 <= code < 40_500

    @property
    def summary(self) -> str:
        """Status and message in one line. It may contain secrets, so show `Transport.summarize` instead."""
        message = self.body.get("message") if isinstance(self.body, dict) else self.body
        if not isinstance(message, str):
            return str(self.status)
        # A line break would start a new log line, and an escape sequence would change the terminal.
        printable = "".join(each if each.isprintable() else " " for each in message[:MAX_SUMMARY])
        return f"{self.status} {printable}".strip()


class Transport:
    """
    Send each request to one URL after the other until one responds.

    The URL that responded last is tried first the next time. Each URL gets an equal
    share of the remaining time, so that one that does not respond leaves time for the
    others.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        *,
        credentials: Credentials,
        context: ssl.SSLContext,
        proxies: Mapping[str, Proxy],
        timeout: float,
        retries: int,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self._urls = urls
        self._first = 0
        self._responded: set[str] = set()
        self._credentials = credentials
        self._timeout = timeout
        self._retries = retries
        self._proxies = proxies if transport is None else {}
        self._context = context
        self._transport = transport
        self._client = self._create_client()
        self._process = os.getpid()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, method: str, path: str, content: bytes | None = None) -> Response:
        """Send a request; return the first response that does not indicate an outage, or raise the last error."""
        deadline = time.monotonic() + self._timeout
        backoff = Backoff(first=_FIRST_DELAY_SECONDS, longest=_MAX_DELAY_SECONDS)
        # One deadline for all attempts: the caller's timeout is that of the whole call.
        for retry in range(self._retries + 1):
            outcome = self._try_all_urls(method, path, content, deadline)
            if isinstance(outcome, Response):
                return outcome
            delay = backoff.next_delay()
            if not outcome.retriable or retry == self._retries or time.monotonic() + delay >= deadline:
                raise outcome
            time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def redact(self, text: str) -> str:
        """Return a text with the secrets replaced by asterisks."""
        return self._credentials.redact(text)

    def summarize(self, response: Response) -> str:
        """Return a response's status and message without secrets."""
        # Cut after redacting: a secret that was cut in half would not be recognized.
        return self.redact(response.summary)[:500]

    def _create_client(self) -> httpx.Client:
        return httpx.Client(
            transport=self._transport or BoundedTransport(self._context),
            mounts={
                # httpx names a server by such a pattern.
                f"{parsed.scheme}://{parsed.netloc.decode()}": BoundedTransport(self._context, proxy)
                for url, proxy in self._proxies.items()
                for parsed in [httpx.URL(url)]
            },
            # Proxies are validated as configuration; httpx would read them from the environment unchecked.
            trust_env=False,
            follow_redirects=False,
            headers={
                "Accept": f"{_CONTENT_TYPE}, application/json",
                "Content-Type": _CONTENT_TYPE,
                # A compressed response of a few kilobytes can become gigabytes.
                "Accept-Encoding": "identity",
            },
        )

    def _try_all_urls(self, method: str, path: str, content: bytes | None, deadline: float) -> Response | RequestError:
        """Return the first response, or the errors of all URLs combined."""
        errors: list[RequestError] = []
        reasons: list[str] = []
        count, first = len(self._urls), self._first
        for attempt in range(count):
            index, now = (first + attempt) % count, time.monotonic()
            url = self._urls[index]
            outcome = self._try_url(url, method, path, content, now + (deadline - now) / (count - attempt))
            if isinstance(outcome, Response):
                # Threads may race here: any URL that has responded is a good first one.
                self._first = index
                self._responded.add(url)
                return outcome
            errors.append(outcome)
            # One sentence for all URLs names the service once.
            reasons.append(
                f"{self._origin(url)}: {outcome.reason}" if isinstance(outcome, RegistryUnavailable) else str(outcome)
            )
        if len(errors) == 1:
            return errors[0]
        # Retriable if any of them is: one URL may be available again while another one stays misconfigured.
        if any(error.retriable for error in errors):
            return RegistryUnavailable("; ".join(reasons), service="the registry")
        return ConfigurationError("; ".join(reasons))

    def _try_url(
        self, url: str, method: str, path: str, content: bytes | None, deadline: float
    ) -> Response | RequestError:
        try:
            response = self._send(url, method, path, content, deadline)
            if response.status == 401 and self._credentials.can_renew:
                # The token may have expired since it was issued.
                response = self._send(url, method, path, content, deadline)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Without a cause: httpx's exception holds the request, whose headers hold the credentials.
            return self._translate(url, error)
        except RegistryUnavailable as error:
            return error
        if response.status < 500 and response.status not in _UNAVAILABLE:
            return response
        return RegistryUnavailable(
            f"it answered {method} {path} with {self.summarize(response)}", service=f"the registry at {response.origin}"
        )

    def _send(self, url: str, method: str, path: str, content: bytes | None, deadline: float) -> Response:
        if self._process != (process := os.getpid()):
            # Forked processes share their connections, and would read each other's responses.
            self._inherited, self._client, self._process = self._client, self._create_client(), process
        headers = self._credentials.headers()
        remaining = max(deadline - time.monotonic(), 0.001)
        extensions = {DEADLINE: deadline}
        with self._client.stream(
            method, url + path, content=content, headers=headers, timeout=remaining, extensions=extensions
        ) as response:
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise httpx.RemoteProtocolError("the response is compressed, although the request asked for identity")
            body = bytearray()
            # A custom transport may have read the response already, and not limit it.
            for chunk in [response.content] if response.is_stream_consumed else response.iter_raw():
                body += chunk
                if len(body) > MAX_RESPONSE:
                    raise httpx.ReadError(f"the response has more than {MAX_RESPONSE} bytes")
        answer: Any
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):  # a proxy may answer with HTML
            answer = body[:MAX_SUMMARY].decode(errors="replace")
        return Response(self._origin(url), response.status_code, answer)

    def _translate(self, url: str, error: httpx.HTTPError | httpx.InvalidURL) -> RequestError:
        origin = self._origin(url)
        reason = self.redact(": ".join(filter(None, (type(error).__name__, str(error).rstrip(".")))))
        # The proxy's response, such as `407 Proxy Authentication Required`.
        status = str(error).partition(" ")[0] if isinstance(error, httpx.ProxyError) else ""
        if status.isdigit() and 400 <= int(status) < 500 and int(status) not in _UNAVAILABLE:
            return ConfigurationError(
                f"the proxy rejected the connection to {origin}: {reason}; check user and password in proxy"
            )
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        # An error of TLS, unless the connection merely closed.
        has_closed = isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
        if cause and not has_closed and "INTERNAL_ERROR" not in (cause.reason or "") and url not in self._responded:
            # Before the first response an untrusted certificate is permanent; afterwards it may be being renewed.
            return ConfigurationError(f"TLS connection to the registry at {origin} failed: {reason}{_advice(cause)}")
        return RegistryUnavailable(reason, service=f"the registry at {origin}")

    def _origin(self, url: str) -> str:
        """Return a URL, and the proxy in between, for messages."""
        proxy = self._proxies.get(url)
        return url if proxy is None else f"{url} (through the proxy {proxy.url} of {proxy.source})"


def _advice(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "; check ca_location, and the host's name in the registry's URL"
    if "ALERT" in (error.reason or "") or "CERTIFICATE" in (error.reason or ""):
        return "; check client_cert and client_key"
    return "; check that the registry serves https at this port"


class BoundedTransport(httpx.HTTPTransport):
    """
    Send requests over HTTP/1.1; each ends at its deadline, whatever the server sends.

    The timeouts of httpx apply to each read of the socket. A server that sends a
    byte now and then, or `100 Continue` for ever, never exceeds them.
    """

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        super().__init__(verify=context)
        # httpx does not pass a backend on to its pool, which has connected nothing so far. A pool of another name
        # would not respect the limits.
        assert isinstance(self._pool, httpcore.ConnectionPool), "httpx keeps its connections elsewhere"
        self._limits = _Limits()
        backend = _Backend(self._limits)
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
        return super().handle_request(request)


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
