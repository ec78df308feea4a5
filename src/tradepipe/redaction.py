"""Text for people: secrets are masked, and characters that a terminal or a CI server would execute are escaped."""

import base64
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

MIN_SECRET_LENGTH: Final = 4
"""Characters. A shorter secret occurs in ordinary words, and the gaps in them would give it away."""

# Our own messages write `user:password@host` where they explain the syntax of a URL.
_IN_AUTHORITY = re.compile(r"(://[^:/@\s]*):(?!password@)([^/\s]+)@")
_IN_QUERY = re.compile(r"(?i)\b((?:ssl)?password|secret)=([^&\s'\"]+)")

_starts_with_command = re.compile(r"^( *):(?=:)", re.MULTILINE)

_registered: set[str] = set()


class Secret(str):
    """A string whose repr is blank: tools that collect tracebacks show the repr of local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def encoded_forms(secret: str, user: str | None = None) -> set[str]:
    """
    Return the forms in which a secret may appear in a message: plain, in a URL, and in base64 or hex.

    With a user, also the forms of `user:secret`, as in HTTP Basic authentication.

    >>> sorted(encoded_forms("secret"))
    ['736563726574', 'c2VjcmV0', 'secret']
    """
    found = {secret, quote(secret, safe="", errors="backslashreplace")}
    for text in [secret] if user is None else [secret, f"{user}:{secret}"]:
        content = text.encode(errors="backslashreplace")
        found |= {content.hex(), content.hex().upper()}
        found |= {encode(content).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    # Two or three letters in base64 occur in ordinary words too.
    return found if len(secret) >= MIN_SECRET_LENGTH else {secret}


def register_secret(secret: str) -> None:
    """Make `redact` mask a secret from now on, as it is and in its encoded forms."""
    _registered.update({secret} | encoded_forms(unquote(secret)))


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


def escape(text: str) -> str:
    """
    Escape all characters that are not printable, among them line breaks, terminal escapes and bidirectional marks.

    For names and values that others have written.

    >>> escape("T1\\x1b[2J\\n::error::")
    'T1\\\\x1b[2J\\\\n::error::'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def escape_lines(text: str) -> str:
    """
    Escape a whole text for display, except its line breaks.

    GitHub's runner executes commands in the output of a step: `::command` at
    the start of a line after blanks, and the older `##[command]` anywhere in it
    (actions/runner, ActionCommand.cs).

    >>> escape_lines("one\\n  ::error::two")
    'one\\n  \\\\x3a:error::two'
    """
    text = "\n".join(map(escape, text.split("\n")))
    return _starts_with_command.sub(r"\1\\x3a", text).replace("##[", r"#\x23[")
