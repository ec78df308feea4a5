"""Counts and durations in words, for the messages of all packages."""

from typing import Final

MILLISECONDS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
"""Milliseconds of each unit, the longest first."""


def format_count(number: int, noun: str, *, zero: str = "0") -> str:
    """
    Format a number and its noun, in the plural unless it is one.

    >>> format_count(1, "record"), format_count(1200, "dead letter"), format_count(0, "error", zero="no")
    ('1 record', '1,200 dead letters', 'no errors')
    """
    return f"{f'{number:,}' if number else zero} {noun}{'' if number == 1 else 's'}"


def format_duration(milliseconds: int) -> str:
    """
    Format a number of milliseconds in the longest unit of which it is a multiple; a negative one is forever.

    >>> format_duration(172_800_000), format_duration(1_500), format_duration(-1)
    ('2d', '1500ms', 'forever')
    """
    if milliseconds < 0:
        return "forever"
    found = (f"{milliseconds // length}{unit}" for unit, length in MILLISECONDS if milliseconds % length == 0)
    return next(found, f"{milliseconds}ms")
