"""Secrets: read from variables or files, and redacted from everything printed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import typer

MIN_SECRET_LENGTH: Final = 4
"""Characters of a secret that is looked for by itself: anything shorter stands in ordinary words."""

# Our own messages say `user:password@host` where they show how a URL is written.
_IN_AUTHORITY = re.compile(r"(://[^:/@\s]*):(?!password@)([^/\s]+)@")
_IN_QUERY = re.compile(r"(?i)\b((?:ssl)?password|secret)=([^&\s'\"]+)")

_secrets: set[str] = set()


def register_secret(secret: str) -> None:
    """Let `masked` hide a secret from now on wherever it stands, as it is and as it is written in a URL."""
    plain = unquote(secret)
    _secrets.update(form for form in (secret, plain, quote(plain, safe="")) if len(form) >= MIN_SECRET_LENGTH)


def find_passwords(text: str) -> list[str]:
    """
    The passwords a text has in the places where passwords stand.

    >>> passwords("postgresql://me:secret@db/trades?sslpassword=other")
    ['secret', 'other']
    """
    return [found[2] for pattern in (_IN_AUTHORITY, _IN_QUERY) for found in pattern.finditer(text)]


def redact(text: str) -> str:
    """
    The text without the passwords of its URLs, and without what was hidden.

    >>> masked("postgresql://me:secret@db/trades?sslpassword=other")
    'postgresql://me:***@db/trades?sslpassword=***'
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _IN_QUERY.sub(r"\1=***", _IN_AUTHORITY.sub(r"\1:***@", text))


FILE: Final = "_FILE"
"""Behind a variable's name: the variable's value is what the file of that name holds."""

LARGEST: Final = 65_536
"""Bytes of a file that is a value."""


def read_variable(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """
    The value of a variable, or of the file that its sister with `_FILE` names; None if neither is set.

    One line end behind a file's content is not part of it, as editors and `echo` write one.

    Raises:
        BadParameter: both are set, or the file cannot be read, or is empty.
    """
    environment = os.environ if environment is None else environment
    value, path = environment.get(name) or None, environment.get(name + FILE) or None
    if path is None:
        return value
    if value is not None:
        raise typer.BadParameter(f"{name} and {name}{FILE} are both set: unset one of them", param_hint=name)
    return _read_file(name + FILE, path)


def read_secret(name: str) -> str | None:
    """The same of a value that nothing may show from now on."""
    value = read_variable(name)
    if value is not None:
        register_secret(value)
    return value


def _read_file(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise _unusable(name, path, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise _unusable(name, path, "is no text in UTF-8") from None
    if not text:
        raise _unusable(name, path, "is empty")
    if len(content) > LARGEST:
        raise _unusable(name, path, f"has more than {LARGEST:,} bytes, which no value has")
    return text


def _unusable(name: str, path: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"the file {path!r} {why}", param_hint=name)
