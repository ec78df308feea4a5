"""Kafka records and their refusals."""

from enum import StrEnum
from typing import NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]
"""A record's headers in order; a name may occur more than once."""


class Record(NamedTuple):
    """
    One Kafka record: its coordinates and unchanged bytes.

    `timestamp` is in milliseconds since 1970, None if the log has no timestamp.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int | None = None
    headers: Headers = ()

    @property
    def coordinates(self) -> str:
        """Coordinates of the record as `topic[partition]@offset`, the notation of kcat and librdkafka."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Code(StrEnum):
    """Violation codes of tradepipe; the codes of custom rules must differ from all of them."""

    TRADE_ID = "TRADE_ID"
    VERSION = "VERSION"
    COUNTERPARTY_ID = "COUNTERPARTY_ID"
    BOOK_ID = "BOOK_ID"
    MATURITY_DATE = "MATURITY_DATE"
    CREATED_AT = "CREATED_AT"
    SIDE = "SIDE"
    NOTIONAL = "NOTIONAL"
    CURRENCY = "CURRENCY"
    EMPTY = "EMPTY"
    FRAMING = "FRAMING"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    UNDECODABLE = "UNDECODABLE"
    RECORD_KEY = "RECORD_KEY"
    VERSION_COLLISION = "VERSION_COLLISION"
    STALE_VERSION = "STALE_VERSION"
    DATABASE_REFUSED = "DATABASE_REFUSED"


class Violation(NamedTuple):
    """One broken constraint or rule: a code, and a sentence that contains the invalid value."""

    code: str
    detail: str


class Refusal(NamedTuple):
    """A record that was not stored, with all its violations."""

    record: Record
    violations: tuple[Violation, ...]
    schema_id: int | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the violations, in the order in which they were found."""
        return tuple(violation.code for violation in self.violations)

    @property
    def details(self) -> tuple[str, ...]:
        """Details of the violations, one for each code."""
        return tuple(violation.detail for violation in self.violations)
