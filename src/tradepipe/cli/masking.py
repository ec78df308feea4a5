"""Passwords out of what is shown."""

import re

# Our own messages say `user:password@host` where they show how a URL is written.
_IN_AUTHORITY = re.compile(r"(://[^:/@\s]*):(?!password@)[^/\s]+@")
_IN_QUERY = re.compile(r"(?i)\b((?:ssl)?password|secret)=[^&\s'\"]+")


def masked(text: str) -> str:
    """
    The text with the passwords of all its URLs hidden.

    >>> masked("postgresql://me:secret@db/trades?sslpassword=other")
    'postgresql://me:***@db/trades?sslpassword=***'
    """
    return _IN_QUERY.sub(r"\1=***", _IN_AUTHORITY.sub(r"\1:***@", text))
