"""A registry that answers for a while as if it knew nothing, as Karapace does, or with rules, as Confluent's does."""

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_NOT_FOUND = {
    "/subjects/[^/]+/versions": (404, {"error_code": 40401, "message": "Subject not found."}),
    "/subjects/[^/]+/versions/[^/]+": (404, {"error_code": 40401, "message": "Subject not found."}),
    "/subjects/[^/]+": (404, {"error_code": 40401, "message": "Subject not found."}),
    "/schemas/ids/[^/]+": (404, {"error_code": 40403, "message": "Schema not found"}),
    "/schemas/ids/[^/]+/versions": (200, []),
    "/config/[^/]+": (404, {"error_code": 40408, "message": "no subject-level compatibility"}),
}


class ForgetfulRegistry:
    """
    A server on 127.0.0.1 that passes requests on to a registry, or answers them as if nothing were registered.

    Attributes:
        forgets: how many of the next requests it answers so; None means all of them.

        fields: what it adds to each schema, as Confluent's server does with `ruleSet`, `metadata` and `guid`.

        paths: the paths that were requested.
    """

    def __init__(self, url: str, forgets: int | None = 0) -> None:
        self.forgets = forgets
        self.fields: dict[str, Any] = {}
        self.paths: list[str] = []
        self._lock = threading.Lock()
        self._target = urlsplit(url)
        forgetful = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content = forgetful.answer(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PUT = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Write nothing to stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """URL of the API."""
        return f"http://127.0.0.1:{self._server.server_port}{self._target.path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer a request, or pass it on."""
        with self._lock:
            self.paths.append(path)
            forgets = self.forgets is None or self.forgets > 0
            if self.forgets:
                self.forgets -= 1
        below = urlsplit(path).path.removeprefix(self._target.path)
        if not forgets:
            status, content = self._pass_on(method, path, body)
            if self.fields and status == 200 and re.fullmatch(r"/schemas/ids/\d+", below):
                content = json.dumps({**json.loads(content), **self.fields}).encode()
            return status, content
        status, answer = next(given for pattern, given in _NOT_FOUND.items() if re.fullmatch(pattern, below))
        return status, json.dumps(answer).encode()

    def _pass_on(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(str(self._target.hostname), self._target.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
