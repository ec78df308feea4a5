"""A refusal as it is kept, by the table or by the dead-letter topic, and which of them are meant."""

from datetime import datetime
from typing import NamedTuple

from tradepipe.trade.record import Record, Refusal

RecordIdentity = tuple[str, str, int, int]
"""Topic, topic id ('' if it is not known), partition and offset of a refused record."""


class DeadLetter(NamedTuple):
    """
    A refusal, with what is known of its keeping.

    `replays` counts how often its record was replayed before and refused again.
    `replayed_at` is None for an open one, which nothing has replayed since.
    `letter` is the dead letter itself, None in the table. A record of the
    dead-letter topic that is no letter stands for the refused record too.
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
        """Whether it does not say which record it is about."""
        return self.topic_record is not None and self.topic_record.coordinates == self.record.coordinates

    @property
    def identity(self) -> RecordIdentity:
        """What no other refusal has."""
        record = self.record
        return record.topic, self.topic_id or "", record.partition, record.offset


class DeadLetterFilter(NamedTuple):
    """
    Which refusals are meant: those for which all holds that is given.

    Attributes:
        codes: it has one of these.

        since, until: when it was refused, the second not included.

        topics, partitions: where the refused record lies.

        first, last: its offset, both included.

        place: topic, partition and offset, of the refused record or of its letter.

        trade_id: the record's key, or somewhere in its value.

        replayed: also those that were replayed.
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

    def matches(self, kept: DeadLetter) -> bool:
        """Whether a refusal is meant."""
        return (
            (self.replayed or kept.replayed_at is None)
            and (not self.codes or not set(self.codes).isdisjoint(kept.refusal.codes))
            and self._matches_time(kept.refused_at)
            and self._matches_coordinates(kept)
            and (self.trade_id is None or _mentions(kept.record, self.trade_id.encode()))
        )

    def _matches_time(self, time: datetime | None) -> bool:
        if time is None:
            return self.since is None and self.until is None
        return (self.since is None or self.since <= time) and (self.until is None or time < self.until)

    def _matches_coordinates(self, kept: DeadLetter) -> bool:
        record = kept.record
        return (
            (not self.topics or record.topic in self.topics)
            and (not self.partitions or record.partition in self.partitions)
            and (self.first is None or self.first <= record.offset)
            and (self.last is None or record.offset <= self.last)
            and (
                self.coordinates is None
                or self.coordinates in {each[:3] for each in (record, kept.topic_record) if each is not None}
            )
        )


def _mentions(record: Record, trade_id: bytes) -> bool:
    """Whether a record may be of a trade: Avro writes a string as its bytes."""
    return record.key == trade_id or trade_id in (record.value or b"")
