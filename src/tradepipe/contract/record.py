"""A record as it lies in the log."""

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
