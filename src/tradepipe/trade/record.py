"""Records of a topic, and refusals of records."""

from enum import StrEnum
from typing import NamedTuple

Headers = tuple[tuple[str, bytes | None], ...]
"""A record's headers in their order; a name may come more than once."""


class Record(NamedTuple):
    """
    One Kafka record: its coordinates and its bytes, unchanged.

    `timestamp` is in milliseconds since 1970, None where the log has none.
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
        """The place of the record as `topic[partition]@offset`, as kcat and librdkafka write it."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Code(StrEnum):
    """Every reason for which tradepipe itself refuses a record; a user's own code must differ from all of them."""

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
    """One reason against a record: a code, and a sentence that holds the offending value."""

    code: str
    detail: str


class Refusal(NamedTuple):
    """A record that will never be stored, with all that speaks against it."""

    record: Record
    violations: tuple[Violation, ...]
    schema_id: int | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes, in the order in which the rules found them."""
        return tuple(violation.code for violation in self.violations)

    @property
    def details(self) -> tuple[str, ...]:
        """The details, one for each code."""
        return tuple(violation.detail for violation in self.violations)
