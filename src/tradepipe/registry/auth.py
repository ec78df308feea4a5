"""Registry URLs, credentials and TLS."""

import base64
import os
import re
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from tradepipe.errors import ConfigurationError, RegistryUnavailable
from tradepipe.redaction import redact

UserInfo = tuple[str, str]
"""User and password."""

_NEXT: Final = re.compile(r",\s*(?=https?://)")
"""The comma between two URLs; one inside a password is none."""

_EXAMPLE: Final = "http://localhost:8081"


class RegistryUrls(NamedTuple):
    """
    The URLs of one registry, at any of which the same may be asked.

    Attributes:
        bases: the URLs, without user and password, query and trailing slash.

        user_info: what one of the URLs has of user and password.
    """

    urls: tuple[str, ...]
    user_info: UserInfo | None


def parse_urls(url: str | Sequence[str]) -> RegistryUrls:
    """
    A registry's URLs: one, several with commas between them, or a sequence.

    Raises:
        ConfigurationError: one is no http or https URL, or two name different users.
    """
    texts = [part for text in ([url] if isinstance(url, str) else url) for part in _NEXT.split(text)]
    if not texts:
        raise ConfigurationError(f"url={url!r}: the registry needs at least one URL, such as {_EXAMPLE}")
    parts = [_split_url(text.strip(), "url", f"one URL such as {_EXAMPLE}") for text in texts]
    users = {user_info for _, user_info in parts if user_info is not None}
    if len(users) > 1:
        raise ConfigurationError("the registry's URLs name different users; give one, or basic_auth")
    return RegistryUrls(tuple(base for base, _ in parts), next(iter(users), None))


def parse_proxy(url: str) -> httpx.Proxy:
    """
    The proxy at a URL, with user and password if it has some.

    Raises:
        ConfigurationError: it is no http or https URL.
    """
    base, user_info = _split_url(url, "proxy", "one URL such as http://proxy:3128")
    return httpx.Proxy(base, auth=user_info)


def _split_url(url: str, option: str, needed: str) -> tuple[str, UserInfo | None]:
    """The URL without user and password, and those."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        # Not chained: the vendor's message may hold the password.
        raise ConfigurationError(f"{option} cannot be read; {needed} is needed") from None
    bare = str(parsed.copy_with(username=None, password=None, query=None, fragment=None)).rstrip("/")
    if "@" in f"{bare}{parsed.query.decode()}{parsed.fragment}":
        # What looks like path or scheme is the rest of user and password, so nothing of it may be shown.
        raise ConfigurationError(
            f"{option} has an @ in the wrong place; {needed} is needed, "
            "with special characters of user and password as %XX"
        )
    port = 80 if parsed.port is None else parsed.port
    if parsed.scheme not in ("http", "https") or not parsed.host or "," in parsed.host or not 0 < port < 65_536:
        raise ConfigurationError(f"{option}={bare!r} is not {needed}")
    return bare, (parsed.username, parsed.password) if parsed.userinfo else None


BearerToken = str | Callable[[], str]
"""A token, or what is called for one before each request."""

_OURS: Final = frozenset({"accept", "connection", "content-length", "content-type", "transfer-encoding"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1
_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")


class Credentials:
    """
    The headers of each request, and the secrets in them.

    Raises:
        ConfigurationError: two ways to say who we are, or one that cannot be sent.
    """

    def __init__(
        self,
        *,
        basic_auth: UserInfo | None = None,
        bearer_token: BearerToken | None = None,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str | None] = (),
    ) -> None:
        self._headers = {name: _header(name, value) for name, value in (headers or {}).items()}
        self._bearer_token = bearer_token
        self._tokens: deque[str] = deque(maxlen=4)
        self._secrets = {*secrets, *self._headers.values()}
        self._require_one(basic_auth)
        if basic_auth is not None:
            encoded = _encode_base64(*_user_and_password(basic_auth))
            self._headers["Authorization"] = f"Basic {encoded}"
            self._secrets |= {basic_auth[1], encoded}
        if isinstance(bearer_token, str):
            self._headers["Authorization"] = f"Bearer {_token(bearer_token)}"
            self._secrets.add(bearer_token)

    @property
    def can_renew(self) -> bool:
        """Whether asking again may give another token."""
        return callable(self._bearer_token)

    def headers(self) -> dict[str, str]:
        """
        The headers of one request.

        Raises:
            RegistryUnavailable: who gives the tokens is not reachable now.

            ConfigurationError: what was given is no token.
        """
        if not callable(self._bearer_token):
            return self._headers
        try:
            token = self._bearer_token()
        except OSError as error:
            raise RegistryUnavailable(f"bearer_token has none to give now: {type(error).__name__}") from error
        self._tokens.append(_token(token))
        return {**self._headers, "Authorization": f"Bearer {token}"}

    def redact(self, text: str) -> str:
        """Mask our secrets in a text: an answer or an error may quote the request."""
        return redact(text, (*self._secrets, *self._tokens))

    def _require_one(self, basic_auth: UserInfo | None) -> None:
        ways = [
            name
            for name, given in (("basic_auth", basic_auth), ("bearer_token", self._bearer_token))
            if given is not None
        ] + [f"headers[{name!r}]" for name in self._headers if name.lower() == "authorization"]
        if len(ways) > 1:
            raise ConfigurationError(
                f"{' and '.join(ways)} are given, but a request has one Authorization; "
                "user and password in the registry's URL are basic_auth"
            )


def _user_and_password(basic_auth: UserInfo) -> UserInfo:
    if not (
        isinstance(basic_auth, tuple) and len(basic_auth) == 2 and all(isinstance(part, str) for part in basic_auth)
    ):
        raise ConfigurationError("basic_auth is a tuple of user and password")
    if ":" in basic_auth[0]:
        raise ConfigurationError(
            f"basic_auth: the user {basic_auth[0].partition(':')[0]!r}… has a colon, which ends a user"
        )
    return basic_auth


def _encode_base64(user: str, password: str) -> str:
    """RFC 7617."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _token(token: object) -> str:
    if not (isinstance(token, str) and _VALUE.fullmatch(token)):
        told = "text with other characters than ASCII can show" if isinstance(token, str) else type(token).__name__
        raise ConfigurationError(f"bearer_token gives {'no text' if token == '' else told}, where a token belongs")
    return token


def _header(name: str, value: str) -> str:
    if not _NAME.fullmatch(name) or name.lower() in _OURS:
        raise ConfigurationError(
            f"headers[{name!r}] cannot be given: {'it is set by us' if name else 'it has no name'}"
        )
    if not (isinstance(value, str) and _VALUE.fullmatch(value)):
        raise ConfigurationError(f"headers[{name!r}] has a value that is not one line of ASCII")
    return value


Location = str | os.PathLike[str]
"""A file of PEM."""


def ssl_context(
    *,
    ca_location: Location | None = None,
    client_cert: Location | None = None,
    client_key: Location | None = None,
    key_password: str | None = None,
) -> ssl.SSLContext:
    """
    What is needed to open a connection; files are read now and not again.

    Raises:
        ConfigurationError: a file cannot be read or is not what it should be, or an
            option lacks the one it belongs to.
    """
    for option, given in (("client_key", client_key), ("key_password", key_password)):
        if given is not None and client_cert is None:
            raise ConfigurationError(f"{option} is given, but no client_cert that it belongs to")
    made = _load_trusted(ca_location)
    if client_cert is not None:
        _load_client_certificate(made, client_cert, client_key, key_password)
    return made


def _load_trusted(ca_location: Location | None) -> ssl.SSLContext:
    if ca_location is None:
        try:
            return httpx.create_ssl_context()
        except OSError as error:  # SSL's own errors among them
            raise ConfigurationError(
                f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be used: {_error_text(error)}"
            ) from error
    path = _check_readable("ca_location", ca_location)
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise ConfigurationError(f"ca_location='{path}' holds no certificates as PEM: {_error_text(error)}") from error


def _load_client_certificate(
    made: ssl.SSLContext, client_cert: Location, client_key: Location | None, key_password: str | None
) -> None:
    cert = _check_readable("client_cert", client_cert)
    key = None if client_key is None else _check_readable("client_key", client_key)
    given = f"client_cert='{cert}'" + (f" with client_key='{key}'" if key else "")
    try:
        # Never None: OpenSSL would ask for the password of a locked key on the terminal.
        made.load_cert_chain(cert, key, key_password or "")
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{given} cannot be used: {_error_text(error)}; both are PEM, the key belongs to the certificate, "
            f"and a locked one needs its key_password"
        ) from error


def _check_readable(option: str, location: Location) -> Path:
    path = Path(location)
    try:
        if not path.is_dir():
            path.open("rb").close()
        elif option != "ca_location":
            raise IsADirectoryError(21, "it is a folder")
    except OSError as error:
        raise ConfigurationError(f"{option}='{path}' cannot be read: {error.strerror}") from error
    return path


def _error_text(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or type(error).__name__
