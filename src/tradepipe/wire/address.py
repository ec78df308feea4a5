"""Where a registry and a proxy are: URLs, taken apart and without what must not be shown."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import httpx

from tradepipe.errors import Misconfigured

UserInfo = tuple[str, str]
"""User and password."""

_NEXT: Final = re.compile(r",\s*(?=https?://)")
"""The comma between two URLs; one inside a password is none."""

_EXAMPLE: Final = "http://localhost:8081"


class Address(NamedTuple):
    """
    The URLs of one registry, at any of which the same may be asked.

    Attributes:
        bases: the URLs, without user and password, query and trailing slash.

        user_info: what one of the URLs has of user and password.
    """

    bases: tuple[str, ...]
    user_info: UserInfo | None


def address(url: str | Sequence[str]) -> Address:
    """
    A registry's URLs: one, several with commas between them, or a sequence.

    Raises:
        Misconfigured: one is no http or https URL, or two name different users.
    """
    texts = [part for text in ([url] if isinstance(url, str) else url) for part in _NEXT.split(text)]
    if not texts:
        raise Misconfigured(f"url={url!r}: the registry needs at least one URL, such as {_EXAMPLE}")
    parts = [_parts(text.strip(), "url", f"one URL such as {_EXAMPLE}") for text in texts]
    users = {user_info for _, user_info in parts if user_info is not None}
    if len(users) > 1:
        raise Misconfigured("the registry's URLs name different users; give one, or basic_auth")
    return Address(tuple(base for base, _ in parts), next(iter(users), None))


def proxy(url: str) -> httpx.Proxy:
    """
    The proxy at a URL, with user and password if it has some.

    Raises:
        Misconfigured: it is no http or https URL.
    """
    base, user_info = _parts(url, "proxy", "one URL such as http://proxy:3128")
    return httpx.Proxy(base, auth=user_info)


def _parts(url: str, option: str, needed: str) -> tuple[str, UserInfo | None]:
    """The URL without user and password, and those."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        # Not chained: the vendor's message may hold the password.
        raise Misconfigured(f"{option} cannot be read; {needed} is needed") from None
    bare = str(parsed.copy_with(username=None, password=None, query=None, fragment=None)).rstrip("/")
    if "@" in f"{bare}{parsed.query.decode()}{parsed.fragment}":
        # What looks like path or scheme is the rest of user and password, so nothing of it may be shown.
        raise Misconfigured(
            f"{option} has an @ in the wrong place; {needed} is needed, "
            "with special characters of user and password as %XX"
        )
    port = 80 if parsed.port is None else parsed.port
    if parsed.scheme not in ("http", "https") or not parsed.host or "," in parsed.host or not 0 < port < 65_536:
        raise Misconfigured(f"{option}={bare!r} is not {needed}")
    return bare, (parsed.username, parsed.password) if parsed.userinfo else None
