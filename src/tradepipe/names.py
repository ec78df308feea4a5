"""Names of topics, consumer groups, subjects and clients, checked before any service is asked for them."""

import re
from typing import Final

from tradepipe.errors import ConfigurationError

MAX_TOPIC_LENGTH: Final = 249
"""Kafka's limit: the name of a partition's directory is at most 255 characters long."""

MAX_LENGTH: Final = 255
"""Characters of any other name at most; the services state no limit."""

_QUOTATION_MARKS: Final = frozenset("\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}")

_not_in_topic = re.compile(r"[^a-zA-Z0-9._-]").search
# Lone surrogates too, which no protocol encodes.
_control = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]").search


def find_topic_problem(name: object) -> str | None:
    """
    Return why Kafka does not accept the name of a topic, or None if it does.

    >>> find_topic_problem("my topic")
    "has ' ' at position 3; a topic's name has only ASCII letters, digits, '.', '_' and '-'"
    """
    if problem := _find_problem(name, MAX_TOPIC_LENGTH):
        return problem
    if name in (".", ".."):
        return "is not allowed as the name of a topic"
    if wrong := _not_in_topic(str(name)):
        allowed = "a topic's name has only ASCII letters, digits, '.', '_' and '-'"
        return f"has {wrong[0]!r} at position {wrong.start() + 1}; {allowed}"
    return None


def find_name_problem(name: object) -> str | None:
    """
    Return why a name of a group, subject, client or transaction is not usable, or None if it is.

    >>> find_name_problem(" sink"), find_name_problem("")
    ('begins or ends with a blank', 'is empty')
    """
    if problem := _find_problem(name, MAX_LENGTH):
        return problem
    if wrong := _control(str(name)):
        return f"has the control character {wrong[0]!r} at position {wrong.start() + 1}"
    return "begins or ends with a blank" if str(name) != str(name).strip() else None


def find_padding(address: str) -> str | None:
    """
    Return what a file of variables or a copy has left around an address, or None.

    >>> find_padding('"http://localhost:8081"'), find_padding("http://localhost:8081")
    ('has a quotation mark around it: remove it', None)
    """
    if not {address[:1], address[-1:]}.isdisjoint(_QUOTATION_MARKS):
        return "has a quotation mark around it: remove it"
    return "begins or ends with a blank: remove it" if address != address.strip() else None


def check_topic(name: str, argument: str = "topic") -> None:
    """Raise a `ConfigurationError` for a name that Kafka does not accept for a topic."""
    if problem := find_topic_problem(name):
        raise ConfigurationError(f"{argument}={_shorten(name)} {problem}")


def check_name(name: str, argument: str) -> None:
    """Refuse a group, subject, client or transaction whose name is empty, too long, or would change on the way."""
    if problem := find_name_problem(name):
        raise ConfigurationError(f"{argument}={_shorten(name)} {problem}")


def _find_problem(name: object, longest: int) -> str | None:
    if not isinstance(name, str):
        return "is not a string"
    if not name:
        return "is empty"
    if not name.strip():
        return "is blank"
    return f"is {len(name)} characters long, at most {longest} are allowed" if len(name) > longest else None


def _shorten(name: object) -> str:
    shown = repr(name)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
