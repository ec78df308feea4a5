"""Values of files in messages."""

from collections.abc import Sequence
from typing import Final

SHOWN: Final = 60
"""Maximum number of characters of a value in a message."""


def quote_cell(value: str) -> str:
    """Quote a text for a message, truncated."""
    return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}… ({len(value)} characters)"


def format_names(names: Sequence[str], limit: int = 8) -> str:
    """Format names for a message, at most `limit` of them."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(quote_cell(name) for name in names[:limit]) + more
