"""Settings read from environment variables or the files they name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import typer

from tradepipe.redaction import register_secret

FILE: Final = "_FILE"
"""Suffix of a variable that names a file with the value."""

MAX_FILE_BYTES: Final = 65_536
"""Maximum size of such a file."""


def read_variable(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """
    Return the value of a variable, or of the file named by the variable with `_FILE`; None if neither is set.

    A newline at the end of the file is removed, because editors and `echo` add one.

    Raises:
        BadParameter: both are set, or the file is unreadable or empty.
    """
    environment = os.environ if environment is None else environment
    value, path = environment.get(name) or None, environment.get(name + FILE) or None
    if path is None:
        return value
    if value is not None:
        raise typer.BadParameter(f"{name} and {name}{FILE} are both set: unset one of them", param_hint=name)
    return _read_file(name + FILE, path)


def read_secret(name: str) -> str | None:
    """Return the value of a variable or of its file, and redact it from now on."""
    value = read_variable(name)
    if value is not None:
        register_secret(value)
    return value


def _read_file(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise _unusable(name, path, f"is not readable: {error.strerror}") from None
    except ValueError:
        raise _unusable(name, path, "is not UTF-8 text") from None
    if not text:
        raise _unusable(name, path, "is empty")
    if len(content) > MAX_FILE_BYTES:
        raise _unusable(name, path, f"is larger than {MAX_FILE_BYTES:,} bytes")
    return text


def _unusable(name: str, path: str, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"the file {path!r} {why}", param_hint=name)
