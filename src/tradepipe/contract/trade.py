"""A trade: a value, identified by its id and its version."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class Side(StrEnum):
    """Which way a trade goes, from its book's point of view; UNKNOWN where its writer did not say."""

    UNKNOWN = "UNKNOWN"
    BUY = "BUY"
    SELL = "SELL"


class Trade(NamedTuple):
    """
    One version of one trade.

    A value: a new version of a trade is a new `Trade`, never an edit of an old
    one. Nothing is checked on construction; `violations` tells what is wrong.

    The notional is an amount of the currency: both are given, or neither. Of
    two equal amounts the places do not count: 1.5 and 1.5000 are one content.

    >>> from datetime import UTC
    >>> now = datetime(2025, 6, 1, tzinfo=UTC)
    >>> trade = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=now)
    >>> trade._replace(version=2).version
    2
    >>> trade.side, trade._replace(side=Side.BUY, notional=Decimal("1.5"), currency="EUR").notional
    (<Side.UNKNOWN: 'UNKNOWN'>, Decimal('1.5'))
    """

    trade_id: str
    version: int
    counterparty_id: str
    book_id: str
    maturity_date: date
    created_at: datetime
    side: Side = Side.UNKNOWN
    notional: Decimal | None = None
    currency: str | None = None


KEY = ("trade_id", "version")
"""What identifies a record: primary key, conflict target and collision query follow it."""

ORDERED_BY = "trade_id"
"""The Kafka key: all versions of a trade lie on one partition, in the order they were sent."""

CONTENT = tuple(field for field in Trade._fields if field not in KEY)
"""The fields in which two records of one KEY differ when they collide."""
