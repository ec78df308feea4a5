"""
The trade: the one declaration of its fields, constraints, keys and rules.

Columns, CHECKs, codes, validation and keys are derived from it.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from annotated_types import Ge, Gt

from tradepipe.trade.constraints import Digits, Identifier, Key, NotBefore, PartitionKey, Pattern, Together
from tradepipe.trade.declaration import declare


class Side(StrEnum):
    """Direction of a trade from its book's point of view; UNKNOWN if the writer did not give it."""

    UNKNOWN = "UNKNOWN"
    BUY = "BUY"
    SELL = "SELL"


class Trade(NamedTuple):
    """
    One version of one trade.

    A trade is immutable: a new version of a trade is a new `Trade`. The
    constructor does not validate; `violations` does.

    Attributes:
        trade_id: names the trade: 1 to 64 ASCII characters from `!` to `~`, except backslash.

        version: number of the version, from 1 to 2147483647.

        counterparty_id: names the other side of the trade, in the same form as `trade_id`.

        book_id: names the book that the trade belongs to, in the same form.

        maturity_date: the day on which the trade ends; not before the UTC date of `created_at`.

        created_at: when this version was made; a datetime with a time zone.

        side: direction from the book's point of view; UNKNOWN if it was not given.

        notional: an amount of the currency, above zero, with at most 14 digits before the point
            and 4 after it. Trailing zeros do not matter: 1.5 and 1.5000 are the same content.

        currency: three ASCII letters from A to Z. Notional and currency are both given, or neither.

    >>> from datetime import UTC
    >>> now = datetime(2025, 6, 1, tzinfo=UTC)
    >>> trade = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=now)
    >>> trade._replace(version=2).version
    2
    >>> trade.side, trade._replace(side=Side.BUY, notional=Decimal("1.5"), currency="EUR").notional
    (<Side.UNKNOWN: 'UNKNOWN'>, Decimal('1.5'))
    """

    trade_id: Annotated[str, Key(), PartitionKey(), Identifier()]
    version: Annotated[int, Key(), Ge(1)]
    counterparty_id: Annotated[str, Identifier()]
    book_id: Annotated[str, Identifier()]
    maturity_date: date
    created_at: datetime
    side: Side = Side.UNKNOWN
    notional: Annotated[Decimal | None, Gt(0), Digits(18, 4)] = None
    currency: Annotated[str | None, Pattern("[A-Z]{3}", "three ASCII letters from A to Z")] = None


# A rule added here changes what is refused, and adds a CHECK: docs/schema.md has the steps.
RULES: Final = (NotBefore("maturity_date", "created_at"), Together("notional", "currency"))
"""Relations between fields."""

DECLARATION: Final = declare(Trade, RULES)
"""What the rest of tradepipe derives from the fields and rules above."""

PRIMARY_KEY: Final = DECLARATION.primary_key
"""Fields that identify a trade version; the primary key, conflict target and collision query derive from it."""

KAFKA_KEY: Final = DECLARATION.partition_key
"""Field used as the Kafka key, so that all versions of a trade are in one partition, in the order they were sent."""

CONTENT_FIELDS: Final = tuple(field for field in Trade._fields if field not in PRIMARY_KEY)
"""Fields outside the primary key: a duplicate has the same content as the stored trade, a collision has not."""
