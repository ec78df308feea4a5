"""What stands before a registry in a company: a front with TLS that asks who is there, and a proxy on the way to it."""

import base64
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from tests.services.certificates import Authority

_HOP = {
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
}
"""Headers that are for the next one on the way only."""


def basic(user: str, password: str) -> str:
    """What basic authentication sends."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.asked: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a handshake that fails is what some tests want."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Front(_Server):
    """
    Forwards to a registry what it lets in.

    Args:
        target: the registry's URL.

        authority: who signs its certificate; without one there is no TLS.

        only_known: whether a client needs a certificate of that authority.

        lets_in: whether a request with these headers may pass; else it is 401,
            and the answer quotes what was sent.
    """

    def __init__(
        self,
        target: str,
        *,
        authority: Authority | None = None,
        only_known: bool = False,
        lets_in: Callable[[dict[str, str]], bool] = lambda headers: True,
    ) -> None:
        self.target = urlsplit(target)
        self.lets_in = lets_in
        self._scheme = "https" if authority else "http"
        super().__init__(_Forwarder)
        if authority is not None:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
            self._context.verify_mode = ssl.CERT_REQUIRED if only_known else ssl.CERT_NONE
            self.present(authority)
            self.socket = self._context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def present(self, authority: Authority) -> None:
        """From the next connection on, present a certificate of this authority."""
        self._context.load_cert_chain(authority.server().both)

    @property
    def url(self) -> str:
        """Where the registry seems to be."""
        return f"{self._scheme}://127.0.0.1:{self.server_port}{self.target.path}"


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def reply(self, status: int, content: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def forward(self, host: str, path: str) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        connection = http.client.HTTPConnection(host, timeout=20)
        try:
            connection.request(self.command, path, content, headers)
            answer = connection.getresponse()
            self.reply(answer.status, answer.read(), answer.getheaders())
        finally:
            connection.close()


class _Forwarder(_Quiet):
    """One request for each connection, so that each has a separate handshake."""

    server: Front
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        headers = dict(self.headers)
        self.server.asked.append(headers)
        if self.server.lets_in(headers):
            self.forward(self.server.target.netloc, self.path)
        else:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.reply(401, f"not you: {headers.get('Authorization')} {headers.get('X-Key')}".encode())

    do_POST = do_PUT = do_GET


class ForwardProxy(_Server):
    """An HTTP proxy for http by absolute URLs and for https by CONNECT; it may want user and password."""

    def __init__(self, *, user: str | None = None, password: str = "") -> None:
        self.wanted = basic(user, password) if user else None
        super().__init__(_Proxy)


class _Proxy(_Quiet):
    server: ForwardProxy

    def do_GET(self) -> None:
        if self._is_let_in():
            url = urlsplit(self.path)
            self.forward(url.netloc, f"{url.path}?{url.query}")

    do_POST = do_PUT = do_GET

    def do_CONNECT(self) -> None:
        if not self._is_let_in():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as target:
            self.reply(200)
            back = threading.Thread(target=_pump, args=(target, self.connection), daemon=True)
            back.start()
            _pump(self.connection, target)
            back.join(10)
        self.close_connection = True

    def _is_let_in(self) -> bool:
        self.server.asked.append(dict(self.headers))
        if self.server.wanted in (None, self.headers.get("Proxy-Authorization")):
            return True
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.reply(407)
        return False


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
