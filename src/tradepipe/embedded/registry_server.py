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

from tradepipe.embedded.registry_store import RegistryError, RegistryStore, StoredVersion

MAX_BODY: Final = 1_048_576
"""Bytes of a request's body."""

_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_is_local = re.compile(r"(https?:)?//(127\.0\.0\.1|localhost|\[::1\])(:[0-9]*)?", re.IGNORECASE).fullmatch


class RegistryServer:
    """
    A registry with Confluent's API on 127.0.0.1, for demos and tests.

    It knows Avro only and keeps everything in memory. Compatibility is enforced at
    the subject's level, else at the default level, which is BACKWARD at first. There
    are no references, rules, metadata, modes or contexts.
    """

    def __init__(self) -> None:
        self._store = RegistryStore()
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """The URL of the API; starts the registry if it does not run."""
        return f"http://127.0.0.1:{self._require_started().server_port}"

    def start(self) -> Self:
        """Start the registry, unless it runs."""
        self._require_started()
        return self

    def close(self) -> None:
        """Stop the registry, and close its open connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _require_started(self) -> "_Server":
        if self._server is None:
            self._server = _Server(self._store)
        return self._server


class _Request(NamedTuple):
    """A request, as the routes see it."""

    store: RegistryStore
    path: dict[str, str]
    query: dict[str, list[str]]
    body: dict[str, Any]

    @property
    def subject(self) -> str:
        return unquote(self.path["subject"])

    @property
    def schema(self) -> str:
        schema = self.body.get("schema")
        if self.body.get("schemaType", "AVRO") != "AVRO" or self.body.get("references"):
            raise RegistryError(422, 42201, "this registry supports Avro without references only")
        if not isinstance(schema, str):
            raise RegistryError(422, 42201, "the body has no schema")
        return schema

    @property
    def version(self) -> StoredVersion:
        return self.store.version(self.subject, self.path["version"], deleted=self.has("deleted"))

    def has(self, flag: str) -> bool:
        """Return whether a query parameter is true."""
        return self.query.get(flag, ["false"])[-1].lower() == "true"


_Route = tuple[str, re.Pattern[str], Callable[[_Request], Any]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store: RegistryStore) -> None:
        self.store = store
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="registry", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        # Kept for `close`: clients hold connections open, and a thread waits at each.
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
            # Its thread waits for the next request: a shutdown wakes the thread, which then closes the connection.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # An answer is one small packet: Nagle's algorithm would hold it back for the client's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        try:
            status, answer = 200, self._route()
        except RegistryError as error:
            status, answer = error.status, {"error_code": error.code, "message": error.message}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the standard library would write each request to stderr."""

    def _route(self) -> Any:
        # Before any refusal: an unread body would be taken for the next request of the connection.
        length = self.headers.get("Content-Length", "0")
        problem = None
        if "Transfer-Encoding" in self.headers:
            problem = RegistryError(411, 411, "a body needs a Content-Length")
        elif not (length.isascii() and length.isdigit()):
            problem = RegistryError(400, 400, "the Content-Length is not a number")
        elif len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
            problem = RegistryError(413, 413, f"the body has more than {MAX_BODY} bytes")
        if problem is not None:
            # The body stays unread, and would be taken for the next request.
            self.close_connection = True
            raise problem
        content = self.rfile.read(int(length))
        # A web page can send requests to this port through its visitor's browser, and read the answers if its own
        # domain resolves to 127.0.0.1 (DNS rebinding).
        names = [f"//{self.headers.get('Host', '')}", *self.headers.get_all("Origin", ())]
        if not all(map(_is_local, names)):
            raise RegistryError(403, 403, "this registry answers local programs only")
        try:
            body = json.loads(content or b"{}")
        except (ValueError, RecursionError) as error:
            raise RegistryError(400, 400, f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise RegistryError(422, 422, "the body is not a JSON object")
        url = urlsplit(self.path)
        for method, pattern, answer in _ROUTES:
            match = pattern.fullmatch(url.path.rstrip("/"))
            if match and method == self.command:
                return answer(_Request(self.server.store, match.groupdict(), parse_qs(url.query), body))
        raise RegistryError(404, 404, f"HTTP 404 Not Found: {self.command} {url.path}")


def _to_json(version: StoredVersion) -> dict[str, Any]:
    return {"subject": version.subject, "version": version.number, "id": version.schema_id, "schema": version.schema}


def _versions_by_id(request: _Request) -> list[StoredVersion]:
    return request.store.versions_of(request.path["id"], deleted=request.has("deleted"))


def _set_level(request: _Request) -> Any:
    subject = request.subject if "subject" in request.path else None
    return {"compatibility": request.store.set_level(subject, request.body.get("compatibility"))}


def _check_compatibility(request: _Request) -> Any:
    found = request.store.incompatibilities(request.subject, request.schema, request.path.get("version"))
    answer: dict[str, Any] = {"is_compatible": not found}
    if request.has("verbose"):
        answer["messages"] = [f"{each.path}: {each.message}" for each in found]
    return answer


def _route(method: str, path: str, answer: Callable[[_Request], Any]) -> _Route:
    return method, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)), answer


_ROUTES: Final = [
    _route("GET", "", lambda request: {}),
    _route("GET", "/schemas/types", lambda request: ["AVRO"]),
    _route("GET", "/schemas/ids/{id}", lambda request: {"schema": request.store.schema(request.path["id"])}),
    _route("GET", "/schemas/ids/{id}/schema", lambda request: json.loads(request.store.schema(request.path["id"]))),
    _route(
        "GET",
        "/schemas/ids/{id}/versions",
        lambda request: [{"subject": each.subject, "version": each.number} for each in _versions_by_id(request)],
    ),
    _route(
        "GET", "/schemas/ids/{id}/subjects", lambda request: sorted({each.subject for each in _versions_by_id(request)})
    ),
    _route("GET", "/subjects", lambda request: request.store.subjects(deleted=request.has("deleted"))),
    _route(
        "POST",
        "/subjects/{subject}",
        lambda request: _to_json(
            request.store.look_up(request.subject, request.schema, deleted=request.has("deleted"))
        ),
    ),
    _route(
        "DELETE",
        "/subjects/{subject}",
        lambda request: request.store.delete_subject(request.subject, permanent=request.has("permanent")),
    ),
    _route(
        "GET",
        "/subjects/{subject}/versions",
        lambda request: [
            each.number for each in request.store.versions(request.subject, deleted=request.has("deleted"))
        ],
    ),
    _route(
        "POST",
        "/subjects/{subject}/versions",
        lambda request: {"id": request.store.register(request.subject, request.schema).schema_id},
    ),
    _route("GET", "/subjects/{subject}/versions/{version}", lambda request: _to_json(request.version)),
    _route(
        "DELETE",
        "/subjects/{subject}/versions/{version}",
        lambda request: request.store.delete_version(
            request.subject, request.path["version"], permanent=request.has("permanent")
        ),
    ),
    _route("GET", "/subjects/{subject}/versions/{version}/schema", lambda request: json.loads(request.version.schema)),
    _route("GET", "/config", lambda request: {"compatibilityLevel": request.store.level}),
    _route("PUT", "/config", _set_level),
    _route(
        "GET",
        "/config/{subject}",
        lambda request: {
            "compatibilityLevel": request.store.level_of(request.subject, default=request.has("defaultToGlobal"))
        },
    ),
    _route("PUT", "/config/{subject}", _set_level),
    _route(
        "DELETE",
        "/config/{subject}",
        lambda request: {"compatibilityLevel": request.store.delete_level(request.subject)},
    ),
    _route("POST", "/compatibility/subjects/{subject}/versions", _check_compatibility),
    _route("POST", "/compatibility/subjects/{subject}/versions/{version}", _check_compatibility),
]
"""The API, one line for each request."""
