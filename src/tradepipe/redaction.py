"""Redaction of secrets in messages, logs and tracebacks."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

MIN_SECRET_LENGTH: Final = 4
"""Characters. A shorter secret occurs in ordinary words, and the gaps in them would give it away."""

# Our own messages write `user:password@host` where they explain the syntax of a URL.
_IN_AUTHORITY = re.compile(r"(://[^:/@\s]*):(?!password@)([^/\s]+)@")
_IN_QUERY = re.compile(r"(?i)\b((?:ssl)?password|secret)=([^&\s'\"]+)")

_registered: set[str] = set()


def register_secret(secret: str) -> None:
    """Make `redact` mask a secret from now on, both as it is and as a URL encodes it."""
    plain = unquote(secret)
    _registered.update((secret, plain, quote(plain, safe="")))


def find_passwords(text: str) -> list[str]:
    """
    Return the passwords in the URLs of a text.

    >>> find_passwords("postgresql://me:secret@db/trades?sslpassword=other")
    ['secret', 'other']
    """
    return [found[2] for pattern in (_IN_AUTHORITY, _IN_QUERY) for found in pattern.finditer(text)]


def redact(text: str, secrets: Iterable[str | None] = ()) -> str:
    """
    Mask the registered secrets, the given ones, and the passwords of URLs.

    >>> redact("postgresql://me:secret@db/trades?sslpassword=other")
    'postgresql://me:***@db/trades?sslpassword=***'
    """
    known = {secret for secret in (*_registered, *secrets) if secret and len(secret) >= MIN_SECRET_LENGTH}
    # Longest first: a secret may contain another one, whose mask would leave the rest of it readable.
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _IN_QUERY.sub(r"\1=***", _IN_AUTHORITY.sub(r"\1:***@", text))
