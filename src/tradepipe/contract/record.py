"""A record as it lies in the log."""

from typing import NamedTuple


class Record(NamedTuple):
    """One Kafka record: its coordinates and its bytes, unchanged."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def coordinates(self) -> str:
        """The place of the record as `topic[partition]@offset`, as kcat and librdkafka write it."""
        return f"{self.topic}[{self.partition}]@{self.offset}"
