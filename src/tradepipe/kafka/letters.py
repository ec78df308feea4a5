"""What a dead-letter topic holds: letters, the markers that close them, and which letters are open."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from tradepipe.contract.kept import Kept
from tradepipe.contract.record import Record
from tradepipe.contract.refusal import Refusal
from tradepipe.kafka import dead_letters
from tradepipe.kafka.dead_letters import Letter, Marker, Origin
from tradepipe.kafka.messages import UNREADABLE

SOME_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a letter was replayed whose marker does not say."""

Markers = Mapping[tuple[int, Origin], Marker]
"""The last marker of each origin, by the partition in which it lies."""


def markers(records: Iterable[Record]) -> Markers:
    """The markers among the records of a dead-letter topic."""
    found = (dead_letters.read(record) for record in records)
    return {(marker.record.partition, marker.origin): marker for marker in found if isinstance(marker, Marker)}


def letters(records: Iterable[Record], closed: Markers) -> Iterator[tuple[Kept, Letter | None]]:
    """
    The letters among the records of a dead-letter topic, each with what is known of it; None for a foreign record.

    A letter is open while no marker behind it in its partition names its origin.
    """
    for record in records:
        read = dead_letters.read(record)
        if isinstance(read, Letter):
            marker = closed.get((record.partition, read.origin))
            yield _kept(read, marker if marker and marker.record.offset > record.offset else None), read
        elif not isinstance(read, Marker):
            foreign = record if record.headers is not UNREADABLE else record._replace(headers=())
            yield Kept(Refusal(foreign, ()), refused_at=_time(record), letter=foreign), None


def _kept(letter: Letter, marker: Marker | None) -> Kept:
    return Kept(
        letter.refusal,
        letter.topic_id,
        letter.group,
        _time(letter.record),
        letter.replays,
        (_time(marker.record) or SOME_TIME) if marker else None,
        letter.record,
    )


def _time(record: Record) -> datetime | None:
    if record.timestamp is None:
        return None
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # a producer may have written any number
        return None
