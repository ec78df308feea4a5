"""What an orchestrator and a scraper ask of a running stage, over HTTP."""

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
"""Seconds after which a client that asks nothing is let go."""

_PLAIN_TEXT: Final = "text/plain; charset=utf-8"


class HttpResponse(NamedTuple):
    """What a request is answered with."""

    status: HTTPStatus
    content_type: str
    body: bytes


class HealthServer:
    """
    Serve `/metrics`, `/livez` and `/readyz` while the block runs.

    `/livez` tells whether the stage's loop turns, and never depends on a part:
    an outage must not make an orchestrator restart what waits for its end.
    `/readyz` tells whether records can be stored, or sorted.

    Args:
        port: 0 for any that is free; `address` tells it.

    Raises:
        ConfigurationError: as the block begins, for an address that cannot be listened on.
    """

    def __init__(self, stage: Stage[object], *, host: str, port: int) -> None:
        self._stage = stage
        self._host = host
        self._port = port
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        try:
            self._server = _Server((self._host, self._port), self._answer)
        except (OSError, UnicodeError) as error:
            told = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(
                f"metrics cannot be served at {self._host}:{self._port}: {told}; choose another by {OPTION}"
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
        """The URL below which it is served."""
        assert self._server is not None, "it is not served yet"
        port = self._server.server_address[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}"

    def _answer(self, path: str, accept: str) -> HttpResponse:
        match path:
            case "/metrics":
                page = metrics.page(self._stage.meter, accept)
                return HttpResponse(HTTPStatus.OK, page.content_type, page.body)
            case "/livez":
                return _health_response(self._stage.is_alive, "alive", "its loop has not turned for a minute")
            case "/readyz":
                return _health_response(self._stage.is_ready, "ready", f"waiting for {pending_service(self._stage)}")
            case _:
                return HttpResponse(HTTPStatus.NOT_FOUND, _PLAIN_TEXT, b"here are /metrics, /livez and /readyz\n")


def pending_service(stage: Stage[object]) -> str | None:
    """What a stage waits for, if for anything: a part that is away, or what its group gives it."""
    return stage.waiting_for or (None if stage.is_ready else "partitions")


def _health_response(good: bool, yes: str, no: str) -> HttpResponse:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return HttpResponse(status, _PLAIN_TEXT, f"{yes if good else no}\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    """Not http.server's own, which looks its host's name up before it listens."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], answer: Callable[[str, str], HttpResponse]) -> None:
        self.answer = answer
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news, and no traceback."""


class _Request(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT
    server: _Server

    def do_GET(self) -> None:
        answer = self.server.answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Every scrape would be a line."""
