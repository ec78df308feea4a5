"""HTTP endpoints of a running stage: status, metrics, liveness and readiness."""

import errno
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Final, NamedTuple, Self

from tradepipe import metrics
from tradepipe.cli.terminal import format_table
from tradepipe.errors import ConfigurationError
from tradepipe.pipeline.stage import Stage
from tradepipe.redaction import escape_lines

MAX_CONNECTIONS: Final = 16

BACKLOG: Final = 256

REQUEST_SECONDS: Final = 5.0
"""From the connection to the end of the response."""

MAX_REQUEST_BYTES: Final = 16_384

METRICS_SECONDS: Final = 1.0
"""How long a page of metrics is reused: building it takes time from the stage."""

MAX_PAGES: Final = 4
"""Pages of metrics that are kept, one for each Accept header."""

POLL_SECONDS: Final = 0.2
"""How late a stop and the end of a request's time are noticed."""

_PLAIN_TEXT: Final = "text/plain; charset=utf-8"


class HttpResponse(NamedTuple):
    """The response to a request."""

    status: HTTPStatus
    content_type: str
    body: bytes


class HealthServer:
    """
    Serve a status page, `/metrics`, `/livez` and `/readyz` while the block runs.

    `/livez` reports whether the stage's main loop is running, regardless of
    services: an outage must not make an orchestrator restart a waiting stage.
    `/readyz` reports whether the stage can process records.

    One thread serves all connections. However many clients connect, it holds
    at most MAX_CONNECTIONS of them, and never a descriptor that a connection
    to PostgreSQL needs.

    Args:
        port: 0 for any free port; `address` contains it.

    Raises:
        ConfigurationError: on entering the block, if the address is not available.
    """

    def __init__(self, stage: Stage[object], *, host: str, port: int) -> None:
        self._stage = stage
        self._host = host
        self._port = port
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._connections: list[_Connection] = []
        self._reserve = _Reserve()
        self._page_at = 0.0
        self._pages: dict[str, HttpResponse] = {}
        self._started_at = time.monotonic()

    def __enter__(self) -> Self:
        # Not socket.create_server: it resolves the host's name first, which may block for seconds.
        self._listener = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((self._host, self._port))
            self._listener.listen(BACKLOG)
        except (OSError, UnicodeError) as error:
            self._listener.close()
            reason = error.strerror if isinstance(error, OSError) else str(error)
            # A UnicodeError or a gaierror is an invalid name of a host.
            if isinstance(error, UnicodeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                step = "an address of this machine with --metrics-host"
            else:
                step = "another port with --metrics-port"
            raise ConfigurationError(
                f"cannot serve metrics at {self._host}:{self._port}: {reason}; choose {step}"
            ) from error
        self._listener.setblocking(False)
        self._reserve.fill()
        self._thread = threading.Thread(
            target=self._serve, args=(self._listener,), name="tradepipe-metrics", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        if self._thread is not None:
            # The thread closes the connections and the listener itself: one that is closed here may be in its selector.
            self._thread.join()

    @property
    def address(self) -> str:
        """Base URL of the endpoints."""
        assert self._listener is not None, "the server has not started"
        port = self._listener.getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}"

    def _serve(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, listener:
            selector.register(listener, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select(POLL_SECONDS):
                    if key.data is None:
                        self._accept(listener, selector)
                    elif key.data in self._connections:  # not closed by a connection accepted in this round
                        self._continue(key.data, selector)
                now = time.monotonic()
                for each in [each for each in self._connections if now >= each.deadline]:
                    self._close(each, selector)
            for each in [*self._connections]:
                self._close(each, selector)
        self._reserve.empty()

    def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        # The newest connection replaces the oldest, so that idle clients cannot lock out a probe.
        if len(self._connections) >= self._reserve.size:
            self._close(self._connections[0], selector)
        self._reserve.take()
        try:
            client, _ = listener.accept()
        except OSError as error:
            self._reserve.give_back()
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # The connection stays in the backlog, where it would wake the selector at once, again and again.
                time.sleep(POLL_SECONDS)
            return
        client.setblocking(False)
        connection = _Connection(client, time.monotonic() + REQUEST_SECONDS)
        self._connections.append(connection)
        selector.register(client, selectors.EVENT_READ, connection)

    def _continue(self, connection: "_Connection", selector: selectors.BaseSelector) -> None:
        """Read more of a request, or write more of its response."""
        try:
            if not connection.response:
                received = connection.client.recv(MAX_REQUEST_BYTES)
                connection.request += received
                if b"\r\n\r\n" in connection.request:
                    connection.response = _encode(connection.request, self._respond)
                    selector.modify(connection.client, selectors.EVENT_WRITE, connection)
                # The client has closed the connection, or its request is too long.
                elif not received or len(connection.request) > MAX_REQUEST_BYTES:
                    self._close(connection, selector)
                return
            connection.response = connection.response[connection.client.send(connection.response) :]
            if not connection.response:
                self._close(connection, selector)
        except BlockingIOError:
            pass
        except OSError:  # the client is gone
            self._close(connection, selector)

    def _close(self, connection: "_Connection", selector: selectors.BaseSelector) -> None:
        self._connections.remove(connection)
        # Before it is closed: a closed socket has no descriptor by which the selector could find it.
        selector.unregister(connection.client)
        connection.client.close()
        self._reserve.give_back()

    def _respond(self, path: str, accept: str) -> HttpResponse:
        match path:
            case "/":
                status = "\n".join(_status_lines(self._stage, time.monotonic() - self._started_at))
                return HttpResponse(HTTPStatus.OK, _PLAIN_TEXT, f"{escape_lines(status)}\n".encode())
            case "/metrics":
                if time.monotonic() - self._page_at >= METRICS_SECONDS:
                    self._pages, self._page_at = {}, time.monotonic()
                if len(self._pages) >= MAX_PAGES:  # a client that varies its header gets the default
                    accept = ""
                if accept not in self._pages:
                    page = metrics.page(self._stage.meter, accept)
                    self._pages[accept] = HttpResponse(HTTPStatus.OK, page.content_type, page.body)
                return self._pages[accept]
            case "/livez":
                return _health_response(self._stage.is_alive, "alive", "the main loop has not run for a minute")
            case "/readyz":
                return _health_response(self._stage.is_ready, "ready", f"waiting for {pending_service(self._stage)}")
            case _:
                return HttpResponse(
                    HTTPStatus.NOT_FOUND, _PLAIN_TEXT, b"not found; available: /, /metrics, /livez and /readyz\n"
                )


def _status_lines(stage: Stage[object], seconds: float) -> Iterator[str]:
    meter = stage.meter
    yield f"waiting for {pending}" if (pending := pending_service(stage)) else "running"
    records = sum(meter.values(metrics.CONSUMED).values())
    yield f"{records:,.0f} records read, {records / max(seconds, 1):,.0f} a second since the start"
    yield "lag unknown" if stage.lag is None else f"lag {stage.lag:,}"
    refused = sorted(meter.values(metrics.REFUSED).items(), key=lambda each: -each[1])
    if counts := ", ".join(f"{labels[-1]} {number:,.0f}" for labels, number in refused if number):
        yield f"refused: {counts}"
    if partitions := meter.values(metrics.LAG):
        rows = [
            (labels[-1], f"{lag:,.0f}") for labels, lag in sorted(partitions.items(), key=lambda each: int(each[0][-1]))
        ]
        yield f"\n{format_table(('partition', 'lag'), rows)}"


def pending_service(stage: Stage[object]) -> str | None:
    """Return what a stage waits for: an unavailable service, an operator, partitions, or nothing."""
    if stage.waiting_for is None and (stopped := sorted(stage.stopped)):
        return f"an operator: stopped at the refusal limit: partition {', '.join(map(str, stopped))}"
    return stage.waiting_for or (None if stage.is_ready else "partitions")


def _health_response(is_healthy: bool, healthy: str, unhealthy: str) -> HttpResponse:
    status = HTTPStatus.OK if is_healthy else HTTPStatus.SERVICE_UNAVAILABLE
    return HttpResponse(status, _PLAIN_TEXT, f"{healthy if is_healthy else unhealthy}\n".encode())


class _Connection:
    """A client, what was read of its request, and what must still be written of the response."""

    def __init__(self, client: socket.socket, deadline: float) -> None:
        self.client = client
        self.deadline = deadline
        self.request = b""
        self.response = b""


class _Reserve:
    """
    Descriptors for the connections, held from the start.

    Under a low limit (RLIMIT_NOFILE) a connection takes one of them, so that a
    flood of clients never takes one that PostgreSQL has just given up.
    """

    def __init__(self) -> None:
        self._held: list[int] = []
        self.size = 1

    def fill(self) -> None:
        """Open the descriptors, or as many as the limit allows."""
        try:
            while len(self._held) < MAX_CONNECTIONS:
                self._held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        self.size = max(1, len(self._held))

    def take(self) -> None:
        """Free a descriptor for a connection."""
        if self._held:
            os.close(self._held.pop())

    def give_back(self) -> None:
        """Hold a descriptor again after a connection was closed."""
        try:
            if len(self._held) < self.size:
                self._held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:  # another thread was faster; PostgreSQL may need it more
            pass

    def empty(self) -> None:
        """Close the descriptors."""
        while self._held:
            os.close(self._held.pop())


def _encode(request: bytes, respond: Callable[[str, str], HttpResponse]) -> bytes:
    """Answer a request; HTTP/1.0 closes the connection after the response, which keeps no descriptor."""
    # latin-1 decodes every byte, so no request raises an error here.
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    method, _, rest = lines[0].partition(" ")
    headers = dict(line.lower().split(":", 1) for line in lines[1:] if ":" in line)
    if method in ("GET", "HEAD"):
        path = rest.partition(" ")[0].partition("?")[0]
        response = respond(path, headers.get("accept", "").strip())
    else:
        response = HttpResponse(HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN_TEXT, b"only GET and HEAD\n")
    head = (
        f"HTTP/1.0 {response.status.value} {response.status.phrase}\r\nContent-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else response.body)
