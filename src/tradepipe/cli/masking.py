"""Passwords out of what is shown."""

import re
from typing import Final
from urllib.parse import quote, unquote

SHORTEST: Final = 4
"""Characters of a secret that is looked for by itself: anything shorter stands in ordinary words."""

# Our own messages say `user:password@host` where they show how a URL is written.
_IN_AUTHORITY = re.compile(r"(://[^:/@\s]*):(?!password@)([^/\s]+)@")
_IN_QUERY = re.compile(r"(?i)\b((?:ssl)?password|secret)=([^&\s'\"]+)")

_secrets: set[str] = set()


def hide(secret: str) -> None:
    """Let `masked` hide a secret from now on wherever it stands, as it is and as it is written in a URL."""
    plain = unquote(secret)
    _secrets.update(form for form in (secret, plain, quote(plain, safe="")) if len(form) >= SHORTEST)


def passwords(text: str) -> list[str]:
    """
    The passwords a text has in the places where passwords stand.

    >>> passwords("postgresql://me:secret@db/trades?sslpassword=other")
    ['secret', 'other']
    """
    return [found[2] for pattern in (_IN_AUTHORITY, _IN_QUERY) for found in pattern.finditer(text)]


def masked(text: str) -> str:
    """
    The text without the passwords of its URLs, and without what was hidden.

    >>> masked("postgresql://me:secret@db/trades?sslpassword=other")
    'postgresql://me:***@db/trades?sslpassword=***'
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _IN_QUERY.sub(r"\1=***", _IN_AUTHORITY.sub(r"\1:***@", text))
