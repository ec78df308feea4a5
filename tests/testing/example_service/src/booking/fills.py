"""Fills of a venue, booked as trades."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from tradepipe import InvalidTrade, Producer, Trade


def as_trade(fill: Mapping[str, Any]) -> Trade:
    """The trade that a fill stands for."""
    return Trade(
        trade_id=fill["ref"],
        version=fill.get("amendment", 0) + 1,
        counterparty_id=fill["with"],
        book_id=fill["book"],
        maturity_date=date.fromisoformat(fill["ends"]),
        created_at=datetime.fromisoformat(fill["at"]),
    )


def book(fills: Iterable[Mapping[str, Any]], producer: Producer) -> list[str]:
    """Send fills as trades; what was not sent comes back, each as a sentence."""
    problems = []
    for fill in fills:
        try:
            producer.produce(as_trade(fill))
        except InvalidTrade as invalid:
            problems.append(str(invalid))
    return problems
