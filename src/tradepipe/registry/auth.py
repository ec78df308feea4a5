"""Registry URLs, credentials and TLS; each function raises `ConfigurationError` for what it does not accept."""

import base64
import logging
import os
import re
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.request import getproxies_environment, proxy_bypass

import httpx

from tradepipe.errors import ConfigurationError, RegistryUnavailable
from tradepipe.names import find_padding
from tradepipe.redaction import encoded_forms, redact
from tradepipe.small_files import check_not_endless

logger = logging.getLogger(__name__)

UserInfo = tuple[str, str]
"""User and password."""

_RESOURCE: Final = re.compile(r"/subjects(/.*)?$")
"""The part of a copied URL that tradepipe appends itself."""

_NEXT: Final = re.compile(r",\s*(?=https?://)")
"""The comma between two URLs, as opposed to a comma inside a password."""

_HOST: Final = re.compile(rb"[A-Za-z0-9._:,-]*")

_EXAMPLE: Final = "http://localhost:8081"


def parse_urls(url: str | Sequence[str]) -> tuple[tuple[str, ...], UserInfo | None]:
    """
    Parse a registry's URLs, of one user: one, several separated by commas, or a sequence.

    The URLs are returned without user, password, query and trailing slash, and beside them user and password.
    """
    texts = [each for text in ([url] if isinstance(url, str) else url) for each in _NEXT.split(text)]
    for problem in filter(None, (find_padding(each.strip()) for each in texts)):
        raise ConfigurationError(f"url: the registry's URL {problem}")
    if not texts:
        raise ConfigurationError(f"url={url!r}: the registry needs at least one URL, such as {_EXAMPLE}")
    split = [_split_url(text.strip(), "url", f"one URL such as {_EXAMPLE}") for text in texts]
    for bare, _ in split:
        if (resource := _RESOURCE.search(bare)) is not None:
            raise ConfigurationError(
                f"url={bare!r} names a resource of the API: give the URL before it, {bare[: resource.start()]}"
            )
    users = {user_info for _, user_info in split if user_info is not None}
    if len(users) > 1:
        raise ConfigurationError("the registry's URLs contain different users; use one user, or basic_auth")
    return tuple(bare for bare, _ in split), next(iter(users), None)


class Proxy(NamedTuple):
    """
    An HTTP proxy.

    Attributes:
        url: its URL, without user and password.

        source: the option or variable that names it.
    """

    url: str
    user_info: UserInfo | None
    source: str

    @property
    def secrets(self) -> set[str]:
        """The password, in the forms in which the proxy may echo it."""
        return encoded_forms(self.user_info[1], self.user_info[0]) if self.user_info else set()

    def __repr__(self) -> str:
        return f"Proxy({self.url!r})"


def parse_proxy(url: str, source: str = "proxy") -> Proxy:
    """Parse the http or https URL of a proxy, with user and password if it contains them."""
    return Proxy(*_split_url(url, source, "one URL such as http://proxy:3128"), source)


def environment_proxies(urls: Sequence[str]) -> dict[str, Proxy]:
    """Return the proxies that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for these URLs."""
    settings = getproxies_environment()
    found = {}
    for url in urls:
        parsed = httpx.URL(url)
        if proxy_bypass(parsed.netloc.decode()):
            continue
        for scheme in (parsed.scheme, "all"):
            if settings.get(scheme):
                name = f"{scheme}_proxy"  # the lower-case variable takes precedence
                found[url] = parse_proxy(settings[scheme], name if os.environ.get(name) else name.upper())
                break
    return found


def _split_url(url: str, option: str, expected: str) -> tuple[str, UserInfo | None]:
    """Split a URL into the URL without credentials, and user and password."""
    try:
        parsed = httpx.URL(url)
        if not _HOST.fullmatch(parsed.raw_host):
            raise ValueError
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        # Neither chained nor quoted: httpx's message may contain the password.
        has_wrong_port = str(error).startswith("Invalid port") and "[" not in url
        reason = "is not a valid URL" + (", its port is not a number" if has_wrong_port else "")
        raise ConfigurationError(f"{option} {reason}; expected {expected}") from None
    bare = str(parsed.copy_with(username=None, password=None, query=None, fragment=None)).rstrip("/")
    if "@" in f"{bare}{parsed.query.decode()}{parsed.fragment}":
        # The apparent path or scheme is the rest of user and password, so none of it may be shown.
        raise ConfigurationError(
            f"{option} has an @ in the wrong place; expected {expected}, "
            "with special characters of user and password percent-encoded (%XX)"
        )
    port = 80 if parsed.port is None else parsed.port
    if parsed.scheme not in ("http", "https") or not parsed.host or "," in parsed.host or not 0 < port < 65_536:
        raise ConfigurationError(f"{option}={bare!r} is not {expected}")
    return bare, (parsed.username, parsed.password) if parsed.userinfo else None


def warn_of_plain_text(urls: Iterable[str], proxies: Iterable[Proxy], *, has_credentials: bool) -> None:
    """Warn of credentials that anyone on the network can read; those for this machine do not leave it."""
    for url in urls if has_credentials else ():
        if _is_plain_text(url):
            logger.warning("the registry's credentials are sent unencrypted to %s; use https://", url)
    # One proxy often serves all URLs, and is reported once.
    for proxy in dict.fromkeys(proxies):
        if proxy.user_info is not None and _is_plain_text(proxy.url):
            logger.warning("the credentials of %s are sent unencrypted to %s; use https://", proxy.source, proxy.url)


def _is_plain_text(url: str) -> bool:
    parsed = httpx.URL(url)
    return parsed.scheme == "http" and parsed.host != "localhost" and not parsed.host.startswith(("127.", "::1"))


BearerToken = str | Callable[[], str]
"""A token, or a function that returns one and is called before each request."""

_RESERVED_HEADERS: Final = frozenset({"accept", "connection", "content-length", "content-type", "transfer-encoding"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1
_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")


class Credentials:
    """Request headers with credentials, and redaction of these."""

    def __init__(
        self,
        *,
        basic_auth: UserInfo | None = None,
        bearer_token: BearerToken | None = None,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str | None] = (),
    ) -> None:
        self._headers = dict(headers or {})
        for name, value in self._headers.items():
            if not _NAME.fullmatch(name):
                # Not shown: what was taken for a name may be a value without one.
                raise ConfigurationError("headers contains an invalid name; expected one such as X-Api-Key")
            if name.lower() in _RESERVED_HEADERS:
                raise ConfigurationError(f"headers[{name!r}] is not allowed: tradepipe sets it")
            if not (isinstance(value, str) and _VALUE.fullmatch(value)):
                raise ConfigurationError(f"headers[{name!r}] has a value that is not one line of ASCII")
        self._bearer_token = bearer_token
        # The last ones, for redaction: a slow response may quote a token that was replaced meanwhile.
        self._tokens: deque[str] = deque(maxlen=4)
        self._secrets = {*secrets, *self._headers.values()}
        given = {"basic_auth": basic_auth, "bearer_token": bearer_token}
        options = [name for name, value in given.items() if value is not None]
        options += [f"headers[{name!r}]" for name in self._headers if name.lower() == "authorization"]
        if len(options) > 1:
            raise ConfigurationError(
                f"{' and '.join(options)} are mutually exclusive; "
                "user and password in the registry's URL count as basic_auth"
            )
        if basic_auth is not None:
            encoded = base64.b64encode(":".join(_check_basic_auth(basic_auth)).encode()).decode()  # RFC 7617
            self._headers["Authorization"] = f"Basic {encoded}"
            self._secrets |= {encoded, *encoded_forms(basic_auth[1], basic_auth[0])}
        if isinstance(bearer_token, str):
            self._headers["Authorization"] = f"Bearer {_check_token(bearer_token)}"
            self._secrets.add(bearer_token)

    @property
    def are_given(self) -> bool:
        """Whether requests carry credentials."""
        return bool(self._headers) or self._bearer_token is not None

    @property
    def can_renew(self) -> bool:
        """Whether another call of `headers` may return another token."""
        return callable(self._bearer_token)

    def headers(self) -> dict[str, str]:
        """Return the headers of one request; `RegistryUnavailable` if the token service is unavailable."""
        if not callable(self._bearer_token):
            return self._headers
        try:
            token = self._bearer_token()
        except OSError as error:
            raise RegistryUnavailable(f"bearer_token could not provide a token: {type(error).__name__}") from None
        self._tokens.append(_check_token(token))
        return {**self._headers, "Authorization": f"Bearer {token}"}

    def redact(self, text: str) -> str:
        """Replace the secrets in a text by asterisks, for example where a registry echoes them."""
        return redact(text, (*self._secrets, *self._tokens))


def _check_basic_auth(basic_auth: UserInfo) -> UserInfo:
    if not (
        isinstance(basic_auth, tuple) and len(basic_auth) == 2 and all(isinstance(each, str) for each in basic_auth)
    ):
        raise ConfigurationError("basic_auth must be a tuple of user and password")
    if ":" in basic_auth[0]:
        raise ConfigurationError(
            f"basic_auth: the user {basic_auth[0].partition(':')[0]!r}… contains a colon, which ends a user name"
        )
    return basic_auth


def _check_token(token: object) -> str:
    if not (isinstance(token, str) and _VALUE.fullmatch(token)):
        problem = type(token).__name__
        if isinstance(token, str):
            problem = "a text with characters that are not printable ASCII" if token else "an empty text"
        raise ConfigurationError(f"bearer_token is {problem}, not a token")
    return token


Location = str | os.PathLike[str]
"""A file in PEM format."""


def ssl_context(
    *,
    uses_tls: bool,
    ca_location: Location | None,
    client_cert: Location | None,
    client_key: Location | None,
    key_password: str | None,
) -> ssl.SSLContext:
    """
    Create a TLS context; files are read once, now.

    Without TLS the default certificates are not read, which takes longer than a request.

    Raises:
        ConfigurationError: a file is unreadable or has the wrong content, or `client_key` or
            `key_password` is given without `client_cert`.
    """
    for option, given in (("client_key", client_key), ("key_password", key_password)):
        if given is not None and client_cert is None:
            raise ConfigurationError(f"{option} requires client_cert")
    context = _load_trusted(ca_location, uses_tls=uses_tls)
    if client_cert is None:
        return context
    cert = _check_readable("client_cert", client_cert)
    key = None if client_key is None else _check_readable("client_key", client_key)
    given = f"client_cert='{cert}'" + (f" with client_key='{key}'" if key else "")
    try:
        # Never None: OpenSSL would prompt on the terminal for the password of an encrypted key.
        context.load_cert_chain(cert, key, key_password or "")
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"cannot load {given}: {_error_text(error)}; both must be in PEM format, the key must belong to the "
            f"certificate, and an encrypted key requires key_password"
        ) from error
    return context


def _load_trusted(ca_location: Location | None, *, uses_tls: bool) -> ssl.SSLContext:
    if ca_location is None:
        if not uses_tls:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without trusted certificates: it is not used
        try:
            check_not_endless(os.environ.get("SSL_CERT_FILE", ""))
            return httpx.create_ssl_context()
        except OSError as error:  # includes ssl.SSLError
            raise ConfigurationError(
                f"cannot load the certificates of SSL_CERT_FILE or SSL_CERT_DIR: {_error_text(error)}"
            ) from error
    path = _check_readable("ca_location", ca_location)
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"ca_location='{path}' contains no certificates in PEM format: {_error_text(error)}"
        ) from error


def _check_readable(option: str, location: Location) -> Path:
    path = Path(location)
    try:
        check_not_endless(path)
        if not path.is_dir():
            path.open("rb").close()
        elif option != "ca_location":
            raise IsADirectoryError(21, "it is a folder")
    except OSError as error:
        raise ConfigurationError(f"{option}='{path}' cannot be read: {error.strerror}") from error
    return path


def _error_text(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or type(error).__name__
