"""The schema registry's HTTP client: Confluent's API, as Confluent, Karapace, Apicurio and Redpanda serve it."""

import json
import random
import time
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

import httpx

from tradepipe.errors import IncompatibleSchema, Misconfigured, RegistryAway

MAX_ANSWER: Final = 4_194_304
"""Bytes of an answer that are read."""

T = TypeVar("T")

_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_AWAY: Final = frozenset({408, 425, 429})
_BACKOFF: Final = 0.25
_MAX_BACKOFF: Final = 5.0


class Registered(NamedTuple):
    """One version of a subject, as the registry holds it."""

    subject: str
    version: int
    schema_id: int
    schema: str


class _Answer(NamedTuple):
    status: int
    body: Any

    @property
    def says_absent(self) -> bool:
        """Whether a 404 comes from the registry and means what was asked for, not the path it was asked at."""
        code = self.body.get("error_code") if isinstance(self.body, dict) else None
        return isinstance(code, int) and 40_400 <= code < 40_500

    @property
    def told(self) -> str:
        message = self.body.get("message") if isinstance(self.body, dict) else self.body
        return f"{self.status} {message}"[:500].strip() if isinstance(message, str) else str(self.status)


class SchemaRegistry:
    """
    A schema registry.

    Nothing is sent before the first call. Safe to share between threads.
    A private certificate authority is named by the environment variable
    SSL_CERT_FILE.

    Args:
        url: where the API begins, with its path if it has one, such as
            `http://localhost:8080/apis/ccompat/v7`. User and password in it are
            sent as basic authentication and never shown.

        timeout: seconds for a whole call, its retries included. Each wait for
            the network gets what is left of it, and a body that drips in is
            given up when it has passed; only the head of an answer, a few
            hundred bytes, may drip for longer.

        retries: how often a call is sent again after a transport error, 408,
            425, 429 or 5xx, each time after a random delay.

        transport: another way to send requests, such as httpx's mock.

    Every method raises:
        RegistryAway: not reachable, out of order, or no registry at this URL.

        Misconfigured: the registry refuses the credentials or the request.
    """

    def __init__(
        self, url: str, *, timeout: float = 10.0, retries: int = 3, transport: httpx.BaseTransport | None = None
    ) -> None:
        base, auth = _parts(url)
        if not 0 < timeout < float("inf"):
            raise Misconfigured(f"timeout={timeout}: the registry's timeout is a number of seconds above 0")
        if retries < 0:
            raise Misconfigured(f"retries={retries}: the registry's retries are 0 or more")
        self.url = base
        self._timeout = timeout
        self._retries = retries
        self._client = httpx.Client(
            base_url=base,
            auth=auth,
            transport=transport,
            follow_redirects=False,
            headers={"Accept": f"{_CONTENT_TYPE}, application/json", "Content-Type": _CONTENT_TYPE},
        )

    def __repr__(self) -> str:
        return f"SchemaRegistry({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; nothing can be asked afterwards."""
        self._client.close()

    def schema(self, schema_id: int) -> str | None:
        """The text of a schema, or None if the registry does not know the id."""
        body = self._ask("GET", f"/schemas/ids/{schema_id}")
        return None if body is None else self._read(body, "schema", str)

    def versions_of(self, schema_id: int) -> set[tuple[str, int]]:
        """The subjects and versions an id stands for, deleted ones too: their records are still in the log."""
        body = self._ask("GET", f"/schemas/ids/{schema_id}/versions?deleted=true")
        return {(self._read(item, "subject", str), self._read(item, "version", int)) for item in self._list(body)}

    def lookup(self, subject: str, schema: str) -> int | None:
        """The id of a schema under a subject, or None if it is not registered there."""
        body = self._ask("POST", f"/subjects/{_quoted(subject)}", {"schema": schema})
        return None if body is None else self._read(body, "id", int)

    def register(self, subject: str, schema: str) -> int:
        """
        The id of a schema, registered under a subject if it was not yet.

        Raises:
            IncompatibleSchema: the registry refuses it beside the versions it holds.
        """
        body = self._ask("POST", f"/subjects/{_quoted(subject)}/versions", {"schema": schema})
        return self._read(body, "id", int)

    def versions(self, subject: str) -> list[int]:
        """The versions of a subject in ascending order; none if there is no such subject."""
        numbers = self._list(self._ask("GET", f"/subjects/{_quoted(subject)}/versions"))
        return sorted(self._expect(number, int) for number in numbers)

    def version(self, subject: str, number: int) -> Registered | None:
        """One version of a subject, or None if there is no such version."""
        body = self._ask("GET", f"/subjects/{_quoted(subject)}/versions/{number}")
        if body is None:
            return None
        return Registered(subject, number, self._read(body, "id", int), self._read(body, "schema", str))

    def check(self, subject: str, schema: str) -> bool:
        """Whether the registry finds a schema compatible with the latest version; with none, every schema is."""
        body = self._ask("POST", f"/compatibility/subjects/{_quoted(subject)}/versions/latest", {"schema": schema})
        return body is None or self._read(body, "is_compatible", bool)

    def level(self, subject: str) -> str | None:
        """The subject's own compatibility level, or None if it has none and the registry's default holds."""
        body = self._ask("GET", f"/config/{_quoted(subject)}")
        return None if body is None else self._read(body, "compatibilityLevel", str)

    def set_level(self, subject: str, level: str) -> None:
        """Set the subject's own compatibility level."""
        body = self._ask("PUT", f"/config/{_quoted(subject)}", {"compatibility": level})
        if body is None:
            raise Misconfigured(f"the registry at {self.url} knows no subject {subject} to set the level of")

    def _ask(self, method: str, path: str, request: dict[str, str] | None = None) -> Any:
        """The body of a good answer, or None for what the registry says is absent."""
        answer = self._answer(method, path, None if request is None else json.dumps(request).encode())
        if 200 <= answer.status < 300:
            return {} if answer.body is None else answer.body  # None is for what is absent
        told = f"the registry at {self.url} answered {method} {path} with {answer.told}"
        if answer.status == 404:
            if answer.says_absent:
                return None
            # Also what a proxy says while the registry behind it is away: believing it would refuse good records.
            raise RegistryAway(f"{told}, which no registry says of its own: is that the whole URL of its API?")
        if answer.status == 409:
            raise IncompatibleSchema(told)
        if answer.status in (401, 403):
            raise Misconfigured(f"{told}; check the user and password in the registry's URL")
        if 400 <= answer.status < 500:
            raise Misconfigured(told)
        raise RegistryAway(told)

    def _answer(self, method: str, path: str, content: bytes | None) -> _Answer:
        """The answer of the last try that the time allows."""
        deadline = time.monotonic() + self._timeout
        for retry in range(self._retries + 1):
            last = retry == self._retries
            try:
                answer = self._try(method, path, content, deadline)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                away = RegistryAway(f"the registry at {self.url} is away: {problem}")
                away.__cause__ = error
            else:
                if answer.status < 500 and answer.status not in _AWAY:
                    return answer
                away = RegistryAway(f"the registry at {self.url} answered {method} {path} with {answer.told}")
            delay = random.uniform(0, min(_MAX_BACKOFF, _BACKOFF * 2**retry))
            if last or time.monotonic() + delay >= deadline:
                raise away
            time.sleep(delay)
        raise AssertionError("the last try returns or raises")

    def _try(self, method: str, path: str, content: bytes | None, deadline: float) -> _Answer:
        left = max(deadline - time.monotonic(), 0.001)
        with self._client.stream(method, path, content=content, timeout=left) as response:
            read = bytearray()
            for piece in response.iter_bytes():
                read += piece
                if len(read) > MAX_ANSWER:
                    raise httpx.ReadError(f"the answer has more than {MAX_ANSWER} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer came too slowly")
        return _Answer(response.status_code, _json(bytes(read)))

    def _read(self, body: object, key: str, kind: type[T]) -> T:
        return self._expect(self._expect(body, dict).get(key), kind)

    def _list(self, body: object) -> list[object]:
        return [] if body is None else self._expect(body, list)

    def _expect(self, value: object, kind: type[T]) -> T:
        """A part of an answer, if it has the type it must have."""
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            told = repr(value)[:100]
            raise RegistryAway(f"the registry at {self.url} answered {told} where {kind.__name__} belongs")
        return value


def _json(content: bytes) -> Any:
    """The content as JSON, or as text if it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content[:200].decode(errors="replace")


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _parts(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without user and password, and those."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        # Not chained: the vendor's message may hold the password.
        raise Misconfigured("the registry's URL cannot be read; one such as http://localhost:8081 is needed") from None
    bare = str(parsed.copy_with(username=None, password=None, query=None, fragment=None)).rstrip("/")
    port = 80 if parsed.port is None else parsed.port
    if parsed.scheme not in ("http", "https") or not parsed.host or "," in parsed.host or not 0 < port < 65_536:
        raise Misconfigured(f"registry={bare!r} is not one URL such as http://localhost:8081")
    return bare, (parsed.username, parsed.password) if parsed.userinfo else None
