"""Kafka records, and the refusals of those that are not stored."""

import hashlib
from enum import StrEnum
from typing import Final, Literal, NamedTuple, Self

from tradepipe.trade.model import DECLARATION

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

    @property
    def payload_bytes(self) -> int:
        """Bytes of the key and the value."""
        return len(self.key or b"") + len(self.value or b"")


class Code(StrEnum):
    """Codes of what may be wrong with a record as a whole; a field's violations have its name in capitals."""

    meaning: str
    """What the code says of a record, for the documentation."""

    def __new__(cls, code: str, meaning: str) -> Self:
        """Create a code, which equals its text."""
        member = str.__new__(cls, code)
        member._value_, member.meaning = code, meaning
        return member

    EMPTY = "EMPTY", "the record has no value (a tombstone)"
    FRAMING = "FRAMING", "the value does not begin with the magic byte 00 and a schema id"
    UNKNOWN_SCHEMA = (
        "UNKNOWN_SCHEMA",
        "the registry does not know the schema id, or the schema is not a version of the subject",
    )
    UNDECODABLE = "UNDECODABLE", "the bytes do not fit the writer schema, or continue after the trade"
    RECORD_KEY = "RECORD_KEY", "the Kafka key is not the trade's, so its versions may be out of order"
    VERSION_COLLISION = (
        "VERSION_COLLISION",
        "another trade with the same primary key but other content is stored already",
    )
    STALE_VERSION = "STALE_VERSION", "a newer version of the trade is stored already; only with `--stale refuse`"
    DATABASE_REFUSED = (
        "DATABASE_REFUSED",
        "PostgreSQL refused the row, for example by a constraint that was added to the table",
    )
    UNREADABLE = (
        "UNREADABLE",
        "Kafka's client cannot read the record or unpack its batch; only offsets and the error are kept",
    )
    TOO_LARGE = "TOO_LARGE", "with its headers the record is too large for the output topics; only of a validator"


CODES: Final[tuple[str, ...]] = (*(field.code for field in DECLARATION.fields), *(code.value for code in Code))
"""All codes of tradepipe; the codes of custom rules must differ from them."""

Stale = Literal["accept", "refuse"]
"""How to treat a version older than one of the same trade that was stored before it."""


class Violation(NamedTuple):
    """One broken constraint or rule: a code, and a sentence that contains the invalid value."""

    code: str
    detail: str


class UnreadableBatch(Record):
    """
    Consecutive records that Kafka's client cannot read: their offsets, and the client's error, without bytes.

    Its own coordinates are those of the first one.
    """

    last_offset: int
    error: str

    def __new__(cls, topic: str, partition: int, offset: int, last_offset: int, error: str) -> Self:
        # A subclass of a NamedTuple cannot add fields, only attributes.
        batch = super().__new__(cls, topic, partition, offset, None, None)
        batch.last_offset, batch.error = last_offset, error
        return batch

    def __getnewargs__(self) -> tuple[object, ...]:
        return self.topic, self.partition, self.offset, self.last_offset, self.error

    @property
    def violation(self) -> Violation:
        """The reason of its refusal."""
        offsets = (
            f"offset {self.offset}"
            if self.last_offset == self.offset
            else (f"offsets {self.offset} to {self.last_offset}")
        )
        return Violation(Code.UNREADABLE, f"{offsets} cannot be read, and remain in Kafka: {self.error}")


MAX_KEPT_BYTES: Final = 1_048_576
"""Bytes of key, value and headers together that a refusal keeps."""

MAX_KEPT_HEADERS: Final = 1_000
"""Headers that a refusal keeps, all or none."""

HEADER_BYTES: Final = 150
"""Memory that a header takes in addition to its name and value."""


class Digest(NamedTuple):
    """Length and SHA-256 of bytes that a refusal does not keep."""

    size: int
    sha256: bytes

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the digest of bytes."""
        return cls(len(data), hashlib.sha256(data).digest())

    def __str__(self) -> str:
        return f"{self.size:,} bytes, SHA-256 {self.sha256.hex()}"


class Omitted(NamedTuple):
    """What a refusal does not keep of its record, None for what it keeps; headers count as `name=value` lines."""

    key: Digest | None = None
    value: Digest | None = None
    headers: Digest | None = None


class Refusal(NamedTuple):
    """
    A record that was not stored, with all its violations.

    The record lacks what is in `omitted`; all of it is only in Kafka, at the record's coordinates.
    """

    record: Record
    violations: tuple[Violation, ...]
    schema_id: int | None = None
    omitted: Omitted = Omitted()

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the violations, in the order in which they were found."""
        return tuple(violation.code for violation in self.violations)

    @property
    def details(self) -> tuple[str, ...]:
        """Details of the violations, one for each code."""
        return tuple(violation.detail for violation in self.violations)

    @property
    def is_complete(self) -> bool:
        """Whether the whole record is kept."""
        return self.omitted == Omitted() and Code.UNREADABLE not in self.codes

    def within(self, max_bytes: int = MAX_KEPT_BYTES) -> "Refusal":
        """
        Return the refusal with at most `max_bytes` of its record: without its value, then headers, then key.

        Headers that are more than `MAX_KEPT_HEADERS` are omitted too.
        """
        record, omitted = self.record, self.omitted
        headers = b"".join(b"%b=%b\n" % (name.encode(), value or b"") for name, value in record.headers)
        excess = len(record.key or b"") + len(record.value or b"") + len(headers) - max_bytes
        if excess > 0 and record.value:
            excess -= len(record.value)
            omitted = omitted._replace(value=Digest.of(record.value))
            record = record._replace(value=None)
        # A hundred thousand headers of three bytes take 15 MB of memory.
        if headers and (excess > 0 or len(record.headers) > MAX_KEPT_HEADERS):
            excess -= len(headers)
            omitted = omitted._replace(headers=Digest.of(headers))
            record = record._replace(headers=())
        if excess > 0 and record.key:
            omitted = omitted._replace(key=Digest.of(record.key))
            record = record._replace(key=None)
        return self if record is self.record else self._replace(record=record, omitted=omitted)
