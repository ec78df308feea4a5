"""A schema registry without a server: Confluent's HTTP API for Avro, in this process."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tradepipe.embedded.registry_store import RegistryError, RegistryStore, StoredVersion, invalid_level

_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"


class RegistryServer:
    """
    A registry that speaks Confluent's API on 127.0.0.1, for demos and tests.

    It supports Avro and keeps everything in memory. It enforces compatibility at
    the subject's level, or else at the global one, BACKWARD by default. It has no
    references, modes, contexts or tags, and deletes a subject permanently.
    """

    def __init__(self) -> None:
        self._subjects = RegistryStore()
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """The URL of the API; starts the registry if necessary."""
        return f"http://127.0.0.1:{self._require_started().server_port}"

    def start(self) -> Self:
        """Start the registry unless it is running."""
        self._require_started()
        return self

    def close(self) -> None:
        """Stop the registry and close its connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _require_started(self) -> "_Server":
        if self._server is None:
            self._server = _Server(self._subjects)
        return self._server


class _Request(NamedTuple):
    """A request: the store, the path's parameters, the query and the body."""

    subjects: RegistryStore
    path: dict[str, str]
    query: dict[str, list[str]]
    body: dict[str, Any]

    @property
    def subject(self) -> str:
        return unquote(self.path["subject"])

    @property
    def schema(self) -> str:
        if self.body.get("schemaType", "AVRO") != "AVRO" or self.body.get("references"):
            raise RegistryError(422, 42201, "this registry supports only Avro, without references")
        return str(self.body.get("schema", ""))

    def asks_for(self, flag: str) -> bool:
        return self.query.get(flag, ["false"])[-1] == "true"


_Answer = Callable[[_Request], Any]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, subjects: RegistryStore) -> None:
        self.subjects = subjects
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="registry", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in tuple(self._connections):
            # Its thread waits for the next request: a shutdown wakes the thread, and it closes the connection.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm would delay the last packet of an answer until the client acknowledges the first one.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing; the standard library would write each request to stderr."""

    def _answer(self) -> None:
        try:
            status, answer = 200, self._route()
        except RegistryError as refused:
            status, answer = refused.status, {"error_code": refused.code, "message": refused.message}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _route(self) -> Any:
        body = self._body()
        url = urlsplit(self.path)
        for method, pattern, answer in _ROUTES:
            match = pattern.fullmatch(url.path.rstrip("/"))
            if match and method == self.command:
                return answer(_Request(self.server.subjects, match.groupdict(), parse_qs(url.query), body))
        raise RegistryError(404, 404, f"HTTP 404 Not Found: {self.command} {url.path}")

    def _body(self) -> dict[str, Any]:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(content or b"{}")
        except ValueError as error:
            raise RegistryError(400, 400, f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise RegistryError(400, 400, "the body is not a JSON object")
        return body


def _to_json(version: StoredVersion) -> dict[str, Any]:
    return {
        "subject": version.subject,
        "version": version.number,
        "id": version.schema_id,
        "schema": version.schema,
    }


def _register(request: _Request) -> Any:
    return {"id": request.subjects.register(request.subject, request.schema).schema_id}


def _find_version(request: _Request) -> StoredVersion:
    return request.subjects.look_up(request.subject, request.schema)


def _version(request: _Request) -> StoredVersion:
    return request.subjects.version(request.subject, request.path["version"])


def _schema(request: _Request) -> Any:
    return json.loads(_version(request).schema)


def _versions(request: _Request) -> Any:
    return [version.number for version in request.subjects.versions(request.subject)]


def _referencing_versions(request: _Request) -> Any:
    return [{"subject": use.subject, "version": use.number} for use in request.subjects.uses(request.path["id"])]


def _level(request: _Request) -> Any:
    level = request.subjects.level_of(request.subject)
    if level is None and not request.asks_for("defaultToGlobal"):
        raise invalid_level(request.subject)
    return {"compatibilityLevel": level or request.subjects.level}


def _set_level(request: _Request) -> Any:
    subject = request.subject if "subject" in request.path else None
    return {"compatibility": request.subjects.set_level(subject, request.body.get("compatibility"))}


def _forget_level(request: _Request) -> Any:
    return {"compatibilityLevel": request.subjects.forget_level(request.subject)}


def _check(request: _Request) -> Any:
    findings = request.subjects.findings(request.subject, request.schema, request.path.get("version"))
    answer: dict[str, Any] = {"is_compatible": not findings}
    if request.asks_for("verbose"):
        answer["messages"] = [f"{finding.direction}: {finding.message}" for finding in findings]
    return answer


def _route(method: str, path: str, answer: _Answer) -> tuple[str, re.Pattern[str], _Answer]:
    return method, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)), answer


_ROUTES: Final = [
    _route("GET", "", lambda request: {}),
    _route("GET", "/schemas/types", lambda request: ["AVRO"]),
    _route("GET", "/schemas/ids/{id}", lambda request: {"schema": request.subjects.schema(request.path["id"])}),
    _route("GET", "/schemas/ids/{id}/schema", lambda request: json.loads(request.subjects.schema(request.path["id"]))),
    _route("GET", "/schemas/ids/{id}/versions", _referencing_versions),
    _route(
        "GET", "/schemas/ids/{id}/subjects", lambda request: [use["subject"] for use in _referencing_versions(request)]
    ),
    _route("GET", "/subjects", lambda request: request.subjects.names()),
    _route("POST", "/subjects/{subject}", lambda request: _to_json(_find_version(request))),
    _route("DELETE", "/subjects/{subject}", lambda request: request.subjects.delete(request.subject)),
    _route("GET", "/subjects/{subject}/versions", _versions),
    _route("POST", "/subjects/{subject}/versions", _register),
    _route("GET", "/subjects/{subject}/versions/{version}", lambda request: _to_json(_version(request))),
    _route(
        "GET", "/subjects/{subject}/versions/{version}/schema", lambda request: json.loads(_version(request).schema)
    ),
    _route("GET", "/config", lambda request: {"compatibilityLevel": request.subjects.level}),
    _route("PUT", "/config", _set_level),
    _route("GET", "/config/{subject}", _level),
    _route("PUT", "/config/{subject}", _set_level),
    _route("DELETE", "/config/{subject}", _forget_level),
    _route("POST", "/compatibility/subjects/{subject}/versions", _check),
    _route("POST", "/compatibility/subjects/{subject}/versions/{version}", _check),
]
"""The routes of the API."""
