"""HTTP endpoints of a running stage: metrics, liveness and readiness."""

import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Final, NamedTuple, Self

from tradepipe import metrics
from tradepipe.errors import ConfigurationError
from tradepipe.pipeline.stage import Stage

OPTION: Final = "--metrics-port"

REQUEST_TIMEOUT: Final = 10.0
"""Seconds after which a connection without a request is closed."""

_PLAIN_TEXT: Final = "text/plain; charset=utf-8"


class HttpResponse(NamedTuple):
    """The response to a request."""

    status: HTTPStatus
    content_type: str
    body: bytes


class HealthServer:
    """
    Serve `/metrics`, `/livez` and `/readyz` while the block runs.

    `/livez` reports whether the stage's main loop is running, regardless of
    services: an outage must not make an orchestrator restart a waiting stage.
    `/readyz` reports whether the stage can process records.

    Args:
        port: 0 for any free port; `address` contains it.

    Raises:
        ConfigurationError: on entering the block, if the address is not available.
    """

    def __init__(self, stage: Stage[object], *, host: str, port: int) -> None:
        self._stage = stage
        self._host = host
        self._port = port
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        try:
            self._server = _Server((self._host, self._port), self._respond)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(
                f"cannot serve metrics at {self._host}:{self._port}: {reason}; choose another port with {OPTION}"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="tradepipe-metrics", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def address(self) -> str:
        """Base URL of the endpoints."""
        assert self._server is not None, "the server has not started"
        port = self._server.server_address[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}"

    def _respond(self, path: str, accept: str) -> HttpResponse:
        match path:
            case "/metrics":
                page = metrics.page(self._stage.meter, accept)
                return HttpResponse(HTTPStatus.OK, page.content_type, page.body)
            case "/livez":
                return _health_response(self._stage.is_alive, "alive", "the main loop has not run for a minute")
            case "/readyz":
                return _health_response(self._stage.is_ready, "ready", f"waiting for {pending_service(self._stage)}")
            case _:
                return HttpResponse(
                    HTTPStatus.NOT_FOUND, _PLAIN_TEXT, b"not found; available: /metrics, /livez and /readyz\n"
                )


def pending_service(stage: Stage[object]) -> str | None:
    """Return what a stage waits for: an unavailable service, an operator, partitions, or nothing."""
    if stage.waiting_for is None and (stopped := sorted(stage.stopped)):
        return f"an operator: stopped at the refusal limit: partition {', '.join(map(str, stopped))}"
    return stage.waiting_for or (None if stage.is_ready else "partitions")


def _health_response(is_healthy: bool, healthy: str, unhealthy: str) -> HttpResponse:
    status = HTTPStatus.OK if is_healthy else HTTPStatus.SERVICE_UNAVAILABLE
    return HttpResponse(status, _PLAIN_TEXT, f"{healthy if is_healthy else unhealthy}\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    """A TCP server; http.server's own class resolves the host's name first, which may block for seconds."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], respond: Callable[[str, str], HttpResponse]) -> None:
        self.respond = respond
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore closed connections, rather than print a traceback."""


class _Request(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT
    server: _Server

    def do_GET(self) -> None:
        response = self.server.respond(self.path.partition("?")[0], self.headers.get("Accept", ""))
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: each scrape would be a line."""
