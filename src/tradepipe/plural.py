"""Counts as people write them; apart from the packages, which all print some."""


def format_count(number: int, noun: str, *, zero: str = "0") -> str:
    """
    Format a number and its noun, in the plural unless it is one.

    >>> format_count(1, "record"), format_count(1200, "dead letter"), format_count(0, "error", zero="no")
    ('1 record', '1,200 dead letters', 'no errors')
    """
    return f"{f'{number:,}' if number else zero} {noun}{'' if number == 1 else 's'}"
