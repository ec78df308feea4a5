"""Result of an insertion: how many trades were inserted, and which were duplicates or refused."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tradepipe.errors import TradepipeError
from tradepipe.trade.model import CONTENT_FIELDS, PRIMARY_KEY, Trade
from tradepipe.trade.record import Code, Refusal, Violation
from tradepipe.trade.validated import ValidRecord

Rows = Sequence[tuple[int, ValidRecord]]
"""Trades with their ordinals."""


class InsertResult(NamedTuple):
    """The outcome of some of a batch's trades, by their ordinals."""

    inserted: int = 0
    duplicates: tuple[int, ...] = ()
    refused: tuple[tuple[int, Refusal], ...] = ()

    def plus(self, other: "InsertResult") -> "InsertResult":
        return InsertResult(
            self.inserted + other.inserted, self.duplicates + other.duplicates, self.refused + other.refused
        )


class RowsVanished(TradepipeError):
    """A staged trade is neither in the table nor refused, because rows were deleted; the batch is retried."""

    retriable = True


def key_of(trade: Trade) -> tuple[object, ...]:
    """Return the values of the primary key."""
    return tuple(getattr(trade, field) for field in PRIMARY_KEY)


def row_vanished(valid: ValidRecord) -> RowsVanished:
    """Build the error of a trade that is not where it was found."""
    return RowsVanished(f"trade {key_of(valid.trade)} vanished from the table while it was stored")


def collision(valid: ValidRecord, stored: Any) -> Refusal:
    """Refuse a trade, naming each field that differs from the stored trade."""
    differing = "; ".join(
        f"{field} is {_format_value(ours)}, not {_format_value(getattr(stored, field))}"
        for field in CONTENT_FIELDS
        if (ours := getattr(valid.trade, field)) != getattr(stored, field)
    )
    key = " ".join(f"{field} {getattr(valid.trade, field)}" for field in PRIMARY_KEY)
    coordinates = f"{stored.source_topic}[{stored.source_partition}]@{stored.source_offset}"
    detail = f"{key} is already stored, from {coordinates}: {differing}"
    return Refusal(valid.record, (Violation(Code.VERSION_COLLISION, detail),), valid.schema_id)


def _format_value(value: object) -> str:
    return repr(str(value)) if isinstance(value, str) else str(value)
