"""The two places where dead letters are kept, as the commands look into them."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from tradepipe.cli.dlq.options import Asked
from tradepipe.cli.dlq.reading import Reading
from tradepipe.cli.patience import Patience
from tradepipe.contract.kept import Identity, Kept, Selection
from tradepipe.errors import TopicUnusable
from tradepipe.kafka.letters import letters, markers
from tradepipe.kafka.reader import Reader
from tradepipe.kafka.topics import Topic, Topics
from tradepipe.postgres import refusals

PAGE: Final = 1_000
"""Refusals read at once."""

OPEN_TRANSACTION: Final = 2.0
"""Seconds to wait for an open transaction when nothing but looking is to be done."""

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Found(NamedTuple):
    """The newest of those that were meant, the newest last; how many were meant in all; what else to say of it."""

    kept: Sequence[Kept]
    total: int
    notes: Sequence[str] = ()


class Place(Protocol):
    """Where dead letters are kept."""

    name: str

    def newest(self, selection: Selection, limit: int | None) -> Found:
        """The newest of those that are meant."""

    def each(self, selection: Selection) -> Iterator[Kept]:
        """All that are meant, in no order that matters."""


def place_of(asked: Asked, reading: Reading) -> Place:
    """The place a command was asked to look into."""
    if asked.topic is not None:
        return _Topic(asked, reading)
    return _Table(asked, reading)


def means(selection: Selection, reading: Reading) -> Callable[[Kept], bool]:
    """Whether one that a selection takes is meant: a trade's id may stand in the value of another trade."""
    trade_id = selection.trade_id
    return (lambda kept: True) if trade_id is None else (lambda kept: reading.is_of(kept, trade_id))


def dead_letter_topic(admin: Topics, name: str) -> Topic:
    """
    A dead-letter topic, as its brokers describe it.

    Raises:
        TopicUnusable: there is none of this name.
    """
    try:
        return admin.describe(name)
    except TopicUnusable as error:
        raise TopicUnusable(
            f"there is no topic {name} to look for dead letters in: check --dead-letters and --bootstrap-servers; a "
            f"validator's is made by python -m tradepipe.topics create --topic {name} --like SOURCE"
        ) from error


class _Table:
    name = "the table trade_refusals"

    def __init__(self, asked: Asked, reading: Reading) -> None:
        self._database = asked.database or ""
        self._deadline = asked.deadline
        self._reading = reading

    def newest(self, selection: Selection, limit: int | None) -> Found:
        return Patience(self._deadline)(lambda: self._newest(selection, limit))

    def each(self, selection: Selection) -> Iterator[Kept]:
        after: Identity | None = None
        while page := Patience(self._deadline)(lambda: self._page(selection, after)):  # noqa: B023 - called at once
            yield from filter(means(selection, self._reading), page)
            after = page[-1].identity

    def _newest(self, selection: Selection, limit: int | None) -> Found:
        with refusals.shelf(self._database, seconds=self._deadline) as connection:
            if selection.trade_id is None:
                return Found(refusals.newest(connection, selection, limit), refusals.count(connection, selection))
            candidates = refusals.newest(connection, selection, None)
        found = list(filter(means(selection, self._reading), candidates))
        return Found(found if limit is None else found[-limit:], len(found))

    def _page(self, selection: Selection, after: Identity | None) -> list[Kept]:
        with refusals.shelf(self._database, seconds=self._deadline) as connection:
            return refusals.page(connection, selection, after, PAGE)


class _Topic:
    def __init__(self, asked: Asked, reading: Reading) -> None:
        self._kafka = asked.kafka
        self._topic = asked.topic or ""
        self._deadline = asked.deadline
        self._reading = reading
        self._hidden: list[str] = []
        self.name = f"topic {self._topic}"

    def newest(self, selection: Selection, limit: int | None) -> Found:
        newest: list[tuple[datetime, Identity, int, Kept]] = []
        total = 0
        for total, kept in enumerate(self.each(selection), 1):
            heapq.heappush(newest, (kept.refused_at or _LONG_AGO, kept.identity, total, kept))
            if limit is not None and len(newest) > limit:
                heapq.heappop(newest)
        return Found([kept for *_, kept in sorted(newest)], total, self._hidden)

    def each(self, selection: Selection) -> Iterator[Kept]:
        patience = Patience(self._deadline)
        admin = Topics(self._kafka, request_timeout=patience.one_call)
        described = patience(lambda: dead_letter_topic(admin, self._topic))
        extents = patience(lambda: admin.extents(self._topic, described.partitions))
        is_meant = means(selection, self._reading)
        with Reader(self._kafka, topic=self._topic, wait=OPEN_TRANSACTION) as reader:
            closed = patience(lambda: markers(reader.read(extents)))
            for kept, _ in letters(reader.read(extents), closed):
                if selection.takes(kept) and is_meant(kept):
                    yield kept
            self._hidden = [
                f"a transaction is open in {self._topic}[{partition}]: what lies behind offset {offset} is not shown"
                for partition, offset in reader.hidden.items()
            ]
