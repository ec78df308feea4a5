"""A trade: a value, identified by its id and its version."""

from datetime import date, datetime
from typing import NamedTuple


class Trade(NamedTuple):
    """
    One version of one trade.

    A value: a new version of a trade is a new `Trade`, never an edit of an old
    one. Nothing is checked on construction; `violations` tells what is wrong.

    >>> from datetime import UTC
    >>> now = datetime(2025, 6, 1, tzinfo=UTC)
    >>> trade = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=now)
    >>> trade._replace(version=2).version
    2
    """

    trade_id: str
    version: int
    counterparty_id: str
    book_id: str
    maturity_date: date
    created_at: datetime


KEY = ("trade_id", "version")
"""What identifies a record: primary key, conflict target and collision query follow it."""

ORDERED_BY = "trade_id"
"""The Kafka key: all versions of a trade lie on one partition, in the order they were sent."""

CONTENT = tuple(field for field in Trade._fields if field not in KEY)
"""The fields in which two records of one KEY differ when they collide."""
