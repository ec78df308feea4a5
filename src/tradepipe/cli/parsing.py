"""Values of options: pairs, times, durations, shares."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

from tradepipe.plural import MILLISECONDS

if TYPE_CHECKING:
    from tradepipe.pipeline.partitions import StartPosition

OFF: Final = "off"

_property_key = re.compile(r"[\w.-]*").match


def parse_pairs(texts: Iterable[str] | None, *, option: str) -> dict[str, str]:
    """
    Parse the KEY=VALUE texts of a repeatable option.

    Raises:
        BadParameter: a text is invalid; the message shows at most its key, because the rest may be a password.
    """
    split = [(text, *text.partition("=")) for text in texts or ()]
    for text, key, equals, _ in split:
        if not key or not equals:
            start = _property_key(text[:40])
            # A text without a dot is more likely a value than a property's name.
            shown = f"{start[0]!r}" if not equals and start and "." in start[0] else "a value without a key"
            raise typer.BadParameter(f"must be KEY=VALUE, not {shown}", param_hint=repr(option))
    return {key.strip(): value for _, key, _, value in split}


def parse_time(text: str) -> datetime | None:
    """Parse an ISO 8601 timestamp, in UTC if it has no offset; return None if it is invalid."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def parse_duration(duration: str) -> int | None:
    """
    Parse a duration such as 7d, 48h, 90m or 30s into milliseconds; return -1 for forever, None if it is invalid.

    >>> parse_duration("48h"), parse_duration("forever"), parse_duration("soon")
    (172800000, -1, None)
    """
    if duration == "forever":
        return -1
    # isdigit accepts other scripts' digits too, hence isascii below.
    number, unit = duration[:-1], duration[-1:]
    length = dict(MILLISECONDS).get(unit)
    return int(number) * length if length and number.isascii() and number.isdigit() else None


def parse_start(text: str, *, option: str = "--start", other: str = "") -> "StartPosition":
    """Parse a position in a topic, else raise a usage error; `other` names further forms for its message."""
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    if (time := parse_time(text)) is not None:
        return time
    raise typer.BadParameter(
        f"must be earliest, latest, {other}or a timestamp such as 2025-06-01T08:00:00Z, not {text!r}",
        param_hint=repr(option),
    )


def parse_share(text: str) -> float | None:
    """Parse `--max-refused`, else raise a usage error; None is no refusal limit."""
    if text == OFF:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1:
        raise typer.BadParameter(
            f"must be a share between 0 and 1, or {OFF}, not {text!r}", param_hint="'--max-refused'"
        )
    return number
