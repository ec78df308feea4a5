"""Kafka records: valid ones with their trades, and refusals."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from tradepipe.trade.model import DECLARATION, Trade

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
    """Codes of what may be wrong with a record as a whole; a field's violations have its name in capitals."""

    EMPTY = "EMPTY"
    FRAMING = "FRAMING"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    UNDECODABLE = "UNDECODABLE"
    RECORD_KEY = "RECORD_KEY"
    VERSION_COLLISION = "VERSION_COLLISION"
    STALE_VERSION = "STALE_VERSION"
    DATABASE_REFUSED = "DATABASE_REFUSED"


MEANINGS: Final[Mapping[Code, str]] = {
    Code.EMPTY: "the record has no value (a tombstone)",
    Code.FRAMING: "the value does not begin with the magic byte 00 and a schema id",
    Code.UNKNOWN_SCHEMA: "the registry does not know the schema id, or the schema is not a version of the subject",
    Code.UNDECODABLE: "the bytes do not fit the writer schema, or continue after the trade",
    Code.RECORD_KEY: "the Kafka key is not the trade's, so its versions may be out of order",
    Code.VERSION_COLLISION: "another trade with the same primary key but other content is stored already",
    Code.STALE_VERSION: "a newer version of the trade is stored already; only with `--stale refuse`",
    Code.DATABASE_REFUSED: "PostgreSQL refused the row, for example by a constraint that was added to the table",
}
"""The meaning of each code, for the documentation."""

CODES: Final[tuple[str, ...]] = (*(field.code for field in DECLARATION.fields), *(code.value for code in Code))
"""All codes of tradepipe; the codes of custom rules must differ from them."""


class Violation(NamedTuple):
    """One broken constraint or rule: a code, and a sentence that contains the invalid value."""

    code: str
    detail: str


class ValidRecord:
    """
    A record whose trade may be stored, with its row for PostgreSQL.

    `row` holds the trade's columns in the order of `Trade`, each as a field of
    PostgreSQL's binary COPY. `trade` is given, or read from the record at its
    first use: most records of a validated topic are stored without it.
    """

    # One is created per record: with slots it costs 0.4 µs less than a NamedTuple.
    __slots__ = ("_trade", "record", "row", "schema_id")

    def __init__(self, record: Record, schema_id: int, row: bytes, trade: Trade | Callable[[Record], Trade]) -> None:
        self.record = record
        self.schema_id = schema_id
        self.row = row
        self._trade = trade

    @property
    def trade(self) -> Trade:
        """The trade in the record."""
        if not isinstance(self._trade, Trade):
            self._trade = self._trade(self.record)
        return self._trade


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
