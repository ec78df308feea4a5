"""Settings read from environment variables or the files they name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import typer

from tradepipe.redaction import register_secret

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
