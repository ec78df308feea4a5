"""Dead letters of the refusals table and the dead-letter topic, and a filter for them."""

from datetime import datetime
from typing import NamedTuple

from tradepipe.trade.record import Record, Refusal

RecordIdentity = tuple[str, str, int, int]
"""Topic, topic id ('' if it is not known), partition and offset of a refused record."""


class DeadLetter(NamedTuple):
    """
    A stored refusal.

    `replay_count` counts the replays of its record that were refused again.
    `replayed_at` is None while the dead letter is open, which means that it has
    not been replayed. `topic_record` is the dead letter's own record in the
    dead-letter topic, None for a refusal of the table. A record of the topic
    that is not a dead letter also takes the place of the refused record.
    """

    refusal: Refusal
    topic_id: str | None = None
    group: str = ""
    refused_at: datetime | None = None
    replay_count: int = 0
    replayed_at: datetime | None = None
    topic_record: Record | None = None

    @property
    def record(self) -> Record:
        """The refused record."""
        return self.refusal.record

    @property
    def is_foreign(self) -> bool:
        """Whether the topic record is not a dead letter and so names no refused record."""
        return self.topic_record is not None and self.topic_record.coordinates == self.record.coordinates

    @property
    def incomplete_reason(self) -> str:
        """Why the record cannot be replayed from its copy, or an empty string."""
        if self.refusal.is_complete:
            return ""
        return f"its copy lacks bytes; read the record itself from Kafka, at {self.record.coordinates}"

    @property
    def identity(self) -> RecordIdentity:
        """Unique key of the refusal."""
        record = self.record
        return record.topic, self.topic_id or "", record.partition, record.offset


class DeadLetterFilter(NamedTuple):
    """
    Filter for refusals; a refusal matches if it satisfies every given condition.

    Attributes:
        codes: violation codes, of which the refusal has at least one.

        since, until: interval of the time of refusal; `until` is exclusive.

        topics, partitions: topics and partitions of the refused record.

        first, last: interval of the refused record's offset, both inclusive.

        coordinates: topic, partition and offset of the refused record or of its dead letter.

        trade_id: key of the refused record, or a part of its value.

        replayed: also match refusals that were replayed.
    """

    codes: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    topics: tuple[str, ...] = ()
    partitions: tuple[int, ...] = ()
    first: int | None = None
    last: int | None = None
    coordinates: tuple[str, int, int] | None = None
    trade_id: str | None = None
    replayed: bool = False

    def matches(self, dead_letter: DeadLetter) -> bool:
        """Return whether a dead letter satisfies the filter."""
        record, time = dead_letter.record, dead_letter.refused_at
        # A foreign record may have no time. An interval excludes it, since it cannot show that it is inside.
        is_in_time = (self.since is None or (time is not None and self.since <= time)) and (
            self.until is None or (time is not None and time < self.until)
        )
        coordinates = {each[:3] for each in (record, dead_letter.topic_record) if each is not None}
        return (
            (self.replayed or dead_letter.replayed_at is None)
            and (not self.codes or not set(self.codes).isdisjoint(dead_letter.refusal.codes))
            and is_in_time
            and (not self.topics or record.topic in self.topics)
            and (not self.partitions or record.partition in self.partitions)
            and (self.first is None or self.first <= record.offset)
            and (self.last is None or record.offset <= self.last)
            and (self.coordinates is None or self.coordinates in coordinates)
            and (self.trade_id is None or _mentions(record, self.trade_id.encode()))
        )


def _mentions(record: Record, trade_id: bytes) -> bool:
    """Return whether a record may belong to a trade."""
    # Avro writes a string as its UTF-8 bytes, so a trade's value holds its id even if it cannot be decoded.
    return record.key == trade_id or trade_id in (record.value or b"")
