"""The schema registry's HTTP client: Confluent's API, as Confluent, Karapace, Apicurio and Redpanda serve it."""

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

import httpx

from tradepipe.errors import ConfigurationError, IncompatibleSchema, RegistryUnavailable
from tradepipe.registry import auth
from tradepipe.registry.auth import BearerToken, Credentials, parse_urls
from tradepipe.registry.auth import parse_proxy as proxy_at
from tradepipe.registry.transport import MAX_SUMMARY, Transport

T = TypeVar("T")

_HEADERS: Final = "; check basic_auth or bearer_token, or the user and password in the registry's URL"
_ADVICE: Final = {401: _HEADERS, 403: _HEADERS, 407: "; check the user and password in proxy"}


class RegisteredSchema(NamedTuple):
    """One version of a subject, as the registry holds it."""

    subject: str
    version: int
    schema_id: int
    schema: str


class SchemaRegistry:
    """
    A schema registry.

    Nothing is sent before the first call. Safe to share between threads. What
    says who we are is shown by no repr, message or log line, also when a
    registry sends it back.

    Args:
        url: where the API begins, with its path if it has one, such as
            `http://localhost:8080/apis/ccompat/v7`. Of several, with commas
            between them or as a sequence, the next one is asked in the same call
            after a transport error, 408, 425, 429 or 5xx. User and password in a
            URL are `basic_auth`, for all of them.

        basic_auth: user and password.

        bearer_token: a token, or what is called for one before each request,
            and once again after a 401. It may raise OSError while whoever
            gives the tokens is away.

        ca_location: a file or folder of certificates as PEM to trust, instead of
            those of SSL_CERT_FILE or else of the package certifi.

        client_cert: our own certificate as PEM, with its key in it if there is
            no `client_key`. Files are read once, at construction.

        client_key: the key of `client_cert`.

        key_password: opens a locked key.

        proxy: the URL of an HTTP proxy, with user and password if it wants
            them; by default HTTP_PROXY, HTTPS_PROXY and NO_PROXY hold.

        headers: further headers of every request.

        timeout: seconds for a whole call, its retries included. Each wait for
            the network gets what is left of it, and a body that drips in is
            given up when it has passed; only the head of an answer, a few
            hundred bytes, may drip for longer.

        retries: how often a call is sent again after a transport error, 408,
            425, 429 or 5xx, each time to all URLs and after a random delay.

        transport: another way to send requests, such as httpx's mock.

    Raises:
        ConfigurationError: an argument cannot be.

    Every method raises:
        RegistryUnavailable: not reachable, out of order, or no registry at this URL.

        ConfigurationError: the registry refuses the credentials or the request, or
            has never been reached for want of a certificate one side trusts.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        basic_auth: tuple[str, str] | None = None,
        bearer_token: BearerToken | None = None,
        ca_location: auth.Location | None = None,
        client_cert: auth.Location | None = None,
        client_key: auth.Location | None = None,
        key_password: str | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        bases, user_info = parse_urls(url)
        if user_info is not None and basic_auth is not None:
            raise ConfigurationError("basic_auth is given, and user and password in the registry's URL; one is enough")
        if not 0 < timeout < float("inf"):
            raise ConfigurationError(f"timeout={timeout}: the registry's timeout is a number of seconds above 0")
        if retries < 0:
            raise ConfigurationError(f"retries={retries}: the registry's retries are 0 or more")
        way = None if proxy is None else proxy_at(proxy)
        self.url = ",".join(bases)
        self._transport = Transport(
            bases,
            credentials=Credentials(
                basic_auth=user_info if basic_auth is None else basic_auth,
                bearer_token=bearer_token,
                headers=headers,
                secrets=(key_password, way.auth[1] if way and way.auth else None),
            ),
            context=auth.ssl_context(
                ca_location=ca_location, client_cert=client_cert, client_key=client_key, key_password=key_password
            ),
            proxy=way,
            timeout=timeout,
            retries=retries,
            transport=transport,
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
        self._transport.close()

    def schema(self, schema_id: int) -> str | None:
        """The text of a schema, or None if the registry does not know the id."""
        body = self._request("GET", f"/schemas/ids/{schema_id}")
        return None if body is None else self._read(body, "schema", str)

    def versions_of(self, schema_id: int) -> set[tuple[str, int]]:
        """The subjects and versions an id stands for, deleted ones too: their records are still in the log."""
        body = self._request("GET", f"/schemas/ids/{schema_id}/versions?deleted=true")
        return {(self._read(item, "subject", str), self._read(item, "version", int)) for item in self._list(body)}

    def lookup(self, subject: str, schema: str) -> int | None:
        """The id of a schema under a subject, or None if it is not registered there."""
        body = self._request("POST", f"/subjects/{_quote(subject)}", {"schema": schema})
        return None if body is None else self._read(body, "id", int)

    def register(self, subject: str, schema: str) -> int:
        """
        The id of a schema, registered under a subject if it was not yet.

        Raises:
            IncompatibleSchema: the registry refuses it beside the versions it holds.
        """
        body = self._request("POST", f"/subjects/{_quote(subject)}/versions", {"schema": schema})
        return self._read(body, "id", int)

    def versions(self, subject: str) -> list[int]:
        """The versions of a subject in ascending order; none if there is no such subject."""
        numbers = self._list(self._request("GET", f"/subjects/{_quote(subject)}/versions"))
        return sorted(self._expect_type(number, int) for number in numbers)

    def version(self, subject: str, number: int) -> RegisteredSchema | None:
        """One version of a subject, or None if there is no such version."""
        body = self._request("GET", f"/subjects/{_quote(subject)}/versions/{number}")
        if body is None:
            return None
        return RegisteredSchema(subject, number, self._read(body, "id", int), self._read(body, "schema", str))

    def check(self, subject: str, schema: str) -> bool:
        """Whether the registry finds a schema compatible with the latest version; with none, every schema is."""
        body = self._request("POST", f"/compatibility/subjects/{_quote(subject)}/versions/latest", {"schema": schema})
        return body is None or self._read(body, "is_compatible", bool)

    def level(self, subject: str) -> str | None:
        """The subject's own compatibility level, or None if it has none and the registry's default holds."""
        body = self._request("GET", f"/config/{_quote(subject)}")
        return None if body is None else self._read(body, "compatibilityLevel", str)

    def set_level(self, subject: str, level: str) -> None:
        """Set the subject's own compatibility level."""
        body = self._request("PUT", f"/config/{_quote(subject)}", {"compatibility": level})
        if body is None:
            raise ConfigurationError(f"the registry at {self.url} knows no subject {subject} to set the level of")

    def _request(self, method: str, path: str, request: dict[str, str] | None = None) -> Any:
        """The body of a good answer, or None for what the registry says is absent."""
        answer = self._transport.request(method, path, None if request is None else json.dumps(request).encode())
        if 200 <= answer.status < 300:
            return {} if answer.body is None else answer.body  # None is for what is absent
        told = f"the registry at {answer.base} answered {method} {path} with {self._transport.summarize(answer)}"
        if answer.status == 404:
            if answer.is_not_found:
                return None
            # Also what a proxy says while the registry behind it is away: believing it would refuse good records.
            raise RegistryUnavailable(f"{told}, which no registry says of its own: is that the whole URL of its API?")
        if answer.status == 409:
            raise IncompatibleSchema(told)
        if 400 <= answer.status < 500:
            raise ConfigurationError(told + _ADVICE.get(answer.status, ""))
        raise RegistryUnavailable(told)

    def _read(self, body: object, key: str, kind: type[T]) -> T:
        return self._expect_type(self._expect_type(body, dict).get(key), kind)

    def _list(self, body: object) -> list[object]:
        return [] if body is None else self._expect_type(body, list)

    def _expect_type(self, value: object, kind: type[T]) -> T:
        """A part of an answer, if it has the type it must have."""
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            told = self._transport.redact(repr(value)[:MAX_SUMMARY])[:100]
            raise RegistryUnavailable(f"the registry at {self.url} answered {told} where {kind.__name__} belongs")
        return value


def _quote(subject: str) -> str:
    return quote(subject, safe="")
