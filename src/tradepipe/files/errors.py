"""Errors of input files and of the options that describe them, and values in messages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, time
from typing import Final

from tradepipe.errors import TradepipeError

SHOWN: Final = 60
"""Maximum number of characters of a value in a message."""


class BadInput(TradepipeError):
    """A file does not consist of trades; trades read before the error have been sent."""

    exit_code = 1


class InvalidOption(TradepipeError):
    """
    An option is invalid, or the file that it names cannot be used; nothing was read.

    Attributes:
        option: the option, as `--input`.
    """

    exit_code = 2

    def __init__(self, message: str, option: str = "--input") -> None:
        self.option = option
        super().__init__(f"Invalid value for {option!r}: {message}")


def unusable(name: str, why: str) -> InvalidOption:
    """Return the error for an unusable file."""
    return InvalidOption(f"{name}: {why}")


@contextmanager
def translate_open_errors(path: str) -> Iterator[None]:
    """Raise what opening a file raises as the error for that file."""
    try:
        yield
    except OSError as error:
        raise unusable(path, f"cannot be opened: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name
        raise unusable(path, f"cannot be opened: {error}") from None


def needs(library: str, name: str) -> InvalidOption:
    """Return the error for a library that is not installed."""
    return unusable(name, f"reading it needs {library}: in a clone of tradepipe, run pip install '.[files]'")


def quote_cell(value: str) -> str:
    """Quote a text for a message, truncated."""
    return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}… ({len(value)} characters)"


def quote_json(value: object) -> str:
    """Describe a JSON value or a typed cell for a message."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case dict() | list() | bytes():
            return {dict: "an object", list: "an array", bytes: "bytes"}[type(value)]
        case str():
            return f"the string {quote_cell(value)}"
        case date() | time():
            return str(value)
    return f"the number {str(value)[:SHOWN]}"


def format_names(names: Sequence[str], limit: int = 8) -> str:
    """Format names for a message, at most `limit` of them."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(quote_cell(name) for name in names[:limit]) + more
