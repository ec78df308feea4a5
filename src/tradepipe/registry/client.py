"""HTTP client of schema registries with Confluent's API: Confluent, Karapace, Apicurio and Redpanda."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

import httpx

from tradepipe.codec.admission import RULE_KINDS
from tradepipe.errors import ConfigurationError, IncompatibleSchema, RegistryUnavailable
from tradepipe.registry import auth
from tradepipe.registry.auth import BearerToken, Credentials, environment_proxies, parse_proxy, parse_urls
from tradepipe.registry.transport import MAX_SUMMARY, Transport

T = TypeVar("T")

MAX_TIMEOUT_SECONDS: Final = 604_800.0
"""A week; sockets cannot wait for centuries."""

_CHECK_CREDENTIALS: Final = "; check basic_auth or bearer_token, or the user and password in the registry's URL"
_ADVICE: Final = {401: _CHECK_CREDENTIALS, 403: _CHECK_CREDENTIALS, 407: "; check the user and password in proxy"}


class SchemaDefinition(NamedTuple):
    """
    A schema as the registry holds it.

    Attributes:
        schema_type: AVRO, JSON or PROTOBUF.

        rule_set: rules by which clients change or check records, as in Confluent's API; empty if there are none.
    """

    schema: str
    schema_type: str = "AVRO"
    rule_set: Mapping[str, Any] = {}


class RegisteredSchema(NamedTuple):
    """One version of a subject in the registry."""

    subject: str
    version: int
    schema_id: int
    schema: str
    schema_type: str = "AVRO"
    rule_set: Mapping[str, Any] = {}


class SchemaRegistry:
    """
    Client of a schema registry.

    Nothing is sent before the first call. Safe to share between threads. Credentials
    never appear in a repr, error or log line, even if a registry echoes them.

    Args:
        url: base URL of the API, including its path, for example
            `http://localhost:8080/apis/ccompat/v7`. If there are several, separated
            by commas or as a sequence, a call moves on to the next one after a
            transport error, 408, 425, 429 or 5xx. User and password in a URL count
            as `basic_auth` for all of them.

        basic_auth: user and password.

        bearer_token: a token, or a function that returns one. The function is called
            before each request, and again after a 401; it may raise OSError while
            the token service is unavailable.

        ca_location: file or folder of trusted certificates in PEM format; by default
            those of SSL_CERT_FILE or of the package certifi.

        client_cert: client certificate in PEM format, including its key unless
            `client_key` is given. Files are read once, at construction.

        client_key: the key of `client_cert`.

        key_password: decrypts an encrypted key.

        proxy: URL of an HTTP proxy, with user and password if required; by default
            HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY apply.

        headers: additional headers of every request.

        timeout: seconds for a whole call, including retries. A response that is not
            complete by then is abandoned; only the name resolution may take longer.

        retries: how often a call is repeated after a transport error, 408, 425, 429
            or 5xx, each time with all URLs and after a random delay.

        transport: custom transport, such as httpx's mock.

    Raises:
        ConfigurationError: an argument is invalid.

    Every method raises:
        RegistryUnavailable: the registry is unreachable or failing, or the URL is not a registry's.

        ConfigurationError: the registry rejects the credentials or the request, or no
            TLS connection has ever succeeded.
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
        urls, user_info = parse_urls(url)
        if user_info is not None and basic_auth is not None:
            raise ConfigurationError("basic_auth and user and password in the registry's URL are mutually exclusive")
        if not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT_SECONDS:
            raise ConfigurationError(
                f"timeout={timeout!r}: the registry's timeout must be a number of seconds above 0, at most "
                f"{MAX_TIMEOUT_SECONDS:.0f}"
            )
        if not isinstance(retries, int) or retries < 0:
            raise ConfigurationError(f"retries={retries!r}: the registry's retries must be a whole number, 0 or more")
        proxies = environment_proxies(urls) if proxy is None else dict.fromkeys(urls, parse_proxy(proxy))
        self.url = ",".join(urls)
        credentials = Credentials(
            basic_auth=user_info if basic_auth is None else basic_auth,
            bearer_token=bearer_token,
            headers=headers,
            secrets=(key_password, *(secret for each in proxies.values() for secret in each.secrets)),
        )
        auth.warn_of_plain_text(urls, proxies.values(), has_credentials=credentials.are_given)
        self._transport = Transport(
            urls,
            credentials=credentials,
            context=auth.ssl_context(
                uses_tls=any(
                    url.lower().startswith("https:") for url in (*urls, *(each.url for each in proxies.values()))
                ),
                ca_location=ca_location,
                client_cert=client_cert,
                client_key=client_key,
                key_password=key_password,
            ),
            proxies=proxies,
            timeout=timeout,
            retries=retries,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"SchemaRegistry({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._transport.close()

    def schema(self, schema_id: int) -> str | None:
        """Return the text of a schema, or None if the registry does not know the id."""
        definition = self.definition(schema_id)
        return None if definition is None else definition.schema

    def definition(self, schema_id: int) -> SchemaDefinition | None:
        """Return a schema with its type and rules, or None if the registry does not know the id."""
        body = self._request("GET", f"/schemas/ids/{schema_id}")
        return None if body is None else self._definition(body)

    def versions_of(self, schema_id: int) -> set[tuple[str, int]]:
        """Return the subjects and versions of a schema id, including deleted ones, whose records may still exist."""
        body = self._request("GET", f"/schemas/ids/{schema_id}/versions?deleted=true")
        return {(self._read(item, "subject", str), self._read(item, "version", int)) for item in self._list(body)}

    def lookup(self, subject: str, schema: str) -> int | None:
        """Return the id of a schema under a subject, or None if it is not registered there."""
        body = self._request("POST", f"/subjects/{_quote(subject)}", {"schema": schema})
        return None if body is None else self._read_id(body)

    def register(self, subject: str, schema: str) -> int:
        """
        Register a schema under a subject, unless it is registered already, and return its id.

        Raises:
            IncompatibleSchema: the registry finds it incompatible with the subject's versions.

            ConfigurationError: the user may not write the subject; see also `SchemaRegistry`.
        """
        body = self._request("POST", f"/subjects/{_quote(subject)}/versions", {"schema": schema})
        if body is None:
            # Karapace hides a subject from a user without rights; any user may create one that does not exist.
            raise ConfigurationError(
                f"cannot register the schema: the registry at {self.url} does not show subject {subject} to this user, "
                "who lacks the right to write it"
            )
        return self._read_id(body)

    def versions(self, subject: str, *, deleted: bool = False) -> list[int]:
        """
        Return the version numbers of a subject in ascending order; empty if the subject does not exist.

        With `deleted`, deleted versions are included: their records may still exist.
        """
        numbers = self._list(self._request("GET", f"/subjects/{_quote(subject)}/versions{_deleted(deleted)}"))
        return sorted(self._expect_type(number, int) for number in numbers)

    def version(self, subject: str, number: int, *, deleted: bool = False) -> RegisteredSchema | None:
        """Return one version of a subject, or None if it does not exist; with `deleted`, also a deleted one."""
        body = self._request("GET", f"/subjects/{_quote(subject)}/versions/{number}{_deleted(deleted)}")
        if body is None:
            return None
        return RegisteredSchema(subject, number, self._read_id(body), *self._definition(body))

    def is_compatible(self, subject: str, schema: str) -> bool:
        """Return whether the registry finds a schema compatible with the latest version; True for a new subject."""
        body = self._request("POST", f"/compatibility/subjects/{_quote(subject)}/versions/latest", {"schema": schema})
        return body is None or self._read(body, "is_compatible", bool)

    def level(self, subject: str) -> str | None:
        """Return a subject's compatibility level, or None if the registry's default applies."""
        body = self._request("GET", f"/config/{_quote(subject)}")
        return None if body is None else self._read(body, "compatibilityLevel", str)

    def set_level(self, subject: str, level: str) -> None:
        """Set a subject's compatibility level."""
        body = self._request("PUT", f"/config/{_quote(subject)}", {"compatibility": level})
        if body is None:
            raise ConfigurationError(
                f"cannot set the compatibility level: the registry at {self.url} has no subject {subject}"
            )

    def _request(self, method: str, path: str, request: dict[str, str] | None = None) -> Any:
        """Return the body of a successful response, or None if the registry reports that the object does not exist."""
        response = self._transport.request(method, path, None if request is None else json.dumps(request).encode())
        if 200 <= response.status < 300:
            return {} if response.body is None else response.body  # None means that the object does not exist
        service = f"the registry at {response.origin}"
        answer = f"answered {method} {path} with {self._transport.summarize(response)}"
        summary = f"{service} {answer}"
        if response.status == 404:
            if response.is_not_found:
                return None
            # A proxy also answers 404 while its registry is unavailable: taking that for an unknown schema would refuse
            # good records.
            raise RegistryUnavailable(
                f"it {answer}, which is not a registry's response; check that the URL includes the full path of the "
                "API",
                service=service,
            )
        if response.status == 409:
            raise IncompatibleSchema(summary)
        if 400 <= response.status < 500:
            raise ConfigurationError(summary + _ADVICE.get(response.status, ""))
        raise RegistryUnavailable(f"it {answer}", service=service)

    def _definition(self, body: object) -> SchemaDefinition:
        fields = self._expect_type(body, dict)
        rule_set = self._expect_type(fields.get("ruleSet") or {}, dict)
        for kind in RULE_KINDS:
            for rule in self._expect_type(rule_set.get(kind) or [], list):
                self._expect_type(rule, dict)
        schema_type = self._expect_type(fields.get("schemaType") or "AVRO", str)
        return SchemaDefinition(self._read(body, "schema", str), schema_type, rule_set)

    def _read_id(self, body: object) -> int:
        schema_id = self._read(body, "id", int)
        if not 0 <= schema_id < 1 << 32:
            raise self._unexpected(str(schema_id)[:100], "a schema id of 32 bits")
        return schema_id

    def _read(self, body: object, key: str, kind: type[T]) -> T:
        return self._expect_type(self._expect_type(body, dict).get(key), kind)

    def _list(self, body: object) -> list[object]:
        return [] if body is None else self._expect_type(body, list)

    def _expect_type(self, value: object, kind: type[T]) -> T:
        """Return a value of a response if it has the expected type, else raise RegistryUnavailable."""
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            text = self._transport.redact(repr(value)[:MAX_SUMMARY])[:100]
            raise self._unexpected(text, kind.__name__)
        return value

    def _unexpected(self, answer: str, expected: str) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"it answered {answer} where {expected} was expected", service=f"the registry at {self.url}"
        )


def open_registry(registry: SchemaRegistry | str) -> SchemaRegistry:
    """Return a client for the registry's URL, or the client that is given. Raises ConfigurationError for neither."""
    if isinstance(registry, str):
        return SchemaRegistry(registry)
    check_registry(registry, "a URL or a SchemaRegistry")
    return registry


def check_registry(registry: object, expected: str = "a SchemaRegistry") -> None:
    """Raise a ConfigurationError for another value, such as the None of an environment variable that is not set."""
    if not isinstance(registry, SchemaRegistry):
        raise ConfigurationError(f"registry must be {expected}, not {type(registry).__name__}")


def _deleted(deleted: bool) -> str:
    return "?deleted=true" if deleted else ""


def _quote(subject: str) -> str:
    return quote(subject, safe="")
