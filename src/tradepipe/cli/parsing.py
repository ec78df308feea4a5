"""Values of options: pairs, times, durations, shares."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from tradepipe.pipeline.partitions import StartPosition

OFF: Final = "off"

_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
"""Milliseconds of each unit, the longest first."""

_property_key = re.compile(r"[\w.-]*").match


def kafka_config(bootstrap_servers: str, properties: Iterable[str] | None) -> dict[str, str]:
    """librdkafka's properties, as the options give them; an option of its own has the last word."""
    return {**parse_pairs(properties, option="-X"), "bootstrap.servers": bootstrap_servers}


def parse_pairs(texts: Iterable[str] | None, *, option: str, form: str = "KEY=VALUE") -> dict[str, str]:
    """
    The KEY=VALUE of a repeated option.

    Raises:
        BadParameter: a text is none; of it only what may be a key is shown, the rest may be a password.
    """
    split = [(text, *text.partition("=")) for text in texts or ()]
    for text, key, equals, _ in split:
        if not key or not equals:
            begin = _property_key(text[:40])
            shown = f"{begin[0]!r}" if not equals and begin and begin[0] else "no key"
            raise typer.BadParameter(f"it takes {form}, not {shown}", param_hint=repr(option))
    return {key.strip(): value for _, key, _, value in split}


def parse_time(text: str) -> datetime | None:
    """The moment a text in ISO 8601 names, in UTC if it does not say; None if it names none."""
    try:
        named = datetime.fromisoformat(text)
    except ValueError:
        return None
    return named if named.tzinfo else named.replace(tzinfo=UTC)


def parse_duration(duration: str) -> int | None:
    """
    A duration such as 7d, 48h, 90m or 30s; None for what is none.

    >>> milliseconds("48h"), milliseconds("forever"), milliseconds("soon")
    (172800000, -1, None)
    """
    if duration == "forever":
        return -1
    number, unit = duration[:-1], duration[-1:]
    length = dict(_UNITS).get(unit)
    return int(number) * length if length and number.isascii() and number.isdigit() else None


def format_duration(number: int) -> str:
    if number < 0:
        return "forever"
    return next((f"{number // length}{unit}" for unit, length in _UNITS if number % length == 0), f"{number}ms")


def parse_start(text: str) -> "StartPosition":
    """
    Where `--start` says to begin.

    Raises:
        BadParameter: it says neither a place nor a time.
    """
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if (time := parse_time(text)) is not None:
        return time
    raise typer.BadParameter(
        f"it is earliest, latest, or a time such as 2025-06-01T08:00:00Z, not {text!r}", param_hint="'--start'"
    )


def parse_share(text: str) -> float | None:
    """
    The share that `--max-refused` gives; None for no ceiling.

    Raises:
        BadParameter: it is no share.
    """
    if text == OFF:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1:
        raise typer.BadParameter(
            f"it is a share above 0 and below 1, or {OFF}, not {text!r}", param_hint="'--max-refused'"
        )
    return number


def missing_option(option: str, variable: str) -> typer.BadParameter:
    """An option that this time must be given."""
    return typer.BadParameter(f"it must be given, or {variable} be set", param_hint=repr(option))
