"""Who we are to a registry: the headers that say so, and nobody else who learns of it."""

import base64
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tradepipe.errors import Misconfigured, RegistryAway
from tradepipe.wire.address import UserInfo

BearerToken = str | Callable[[], str]
"""A token, or what is called for one before each request."""

SHORTEST_MASKED: Final = 4
"""Characters; anything shorter stands in ordinary words, which would point to it by their gaps."""

_OURS: Final = frozenset({"accept", "connection", "content-length", "content-type", "transfer-encoding"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.1
_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")


class Credentials:
    """
    The headers of each request, and the secrets in them.

    Raises:
        Misconfigured: two ways to say who we are, or one that cannot be sent.
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
            encoded = _encoded(*_user_and_password(basic_auth))
            self._headers["Authorization"] = f"Basic {encoded}"
            self._secrets |= {basic_auth[1], encoded}
        if isinstance(bearer_token, str):
            self._headers["Authorization"] = f"Bearer {_token(bearer_token)}"
            self._secrets.add(bearer_token)

    @property
    def renewable(self) -> bool:
        """Whether asking again may give another token."""
        return callable(self._bearer_token)

    def headers(self) -> dict[str, str]:
        """
        The headers of one request.

        Raises:
            RegistryAway: who gives the tokens is not reachable now.

            Misconfigured: what was given is no token.
        """
        if not callable(self._bearer_token):
            return self._headers
        try:
            token = self._bearer_token()
        except OSError as error:
            raise RegistryAway(f"bearer_token has none to give now: {type(error).__name__}") from error
        self._tokens.append(_token(token))
        return {**self._headers, "Authorization": f"Bearer {token}"}

    def masked(self, text: str) -> str:
        """A text without our secrets, should somebody have told us them back."""
        secrets = {secret for secret in (*self._secrets, *self._tokens) if secret and len(secret) >= SHORTEST_MASKED}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _require_one(self, basic_auth: UserInfo | None) -> None:
        ways = [
            name
            for name, given in (("basic_auth", basic_auth), ("bearer_token", self._bearer_token))
            if given is not None
        ] + [f"headers[{name!r}]" for name in self._headers if name.lower() == "authorization"]
        if len(ways) > 1:
            raise Misconfigured(
                f"{' and '.join(ways)} are given, but a request has one Authorization; "
                "user and password in the registry's URL are basic_auth"
            )


def _user_and_password(basic_auth: UserInfo) -> UserInfo:
    if not (
        isinstance(basic_auth, tuple) and len(basic_auth) == 2 and all(isinstance(part, str) for part in basic_auth)
    ):
        raise Misconfigured("basic_auth is a tuple of user and password")
    if ":" in basic_auth[0]:
        raise Misconfigured(f"basic_auth: the user {basic_auth[0].partition(':')[0]!r}… has a colon, which ends a user")
    return basic_auth


def _encoded(user: str, password: str) -> str:
    """RFC 7617."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _token(token: object) -> str:
    if not (isinstance(token, str) and _VALUE.fullmatch(token)):
        told = "text with other characters than ASCII can show" if isinstance(token, str) else type(token).__name__
        raise Misconfigured(f"bearer_token gives {'no text' if token == '' else told}, where a token belongs")
    return token


def _header(name: str, value: str) -> str:
    if not _NAME.fullmatch(name) or name.lower() in _OURS:
        raise Misconfigured(f"headers[{name!r}] cannot be given: {'it is set by us' if name else 'it has no name'}")
    if not (isinstance(value, str) and _VALUE.fullmatch(value)):
        raise Misconfigured(f"headers[{name!r}] has a value that is not one line of ASCII")
    return value
