"""The two places where dead letters are kept, as the commands look into them."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.dlq.options import DlqArguments
from tradepipe.cli.dlq.render import RecordDecoder
from tradepipe.errors import TopicUnusable
from tradepipe.kafka.admin import Topic, TopicAdmin
from tradepipe.kafka.dead_letters import iter_dead_letters, read_markers
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.postgres import refusals
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity

PAGE: Final = 1_000
"""Refusals read at once."""

OPEN_TRANSACTION: Final = 2.0
"""Seconds to wait for an open transaction when nothing but looking is to be done."""

_EPOCH: Final = datetime.min.replace(tzinfo=UTC)


class SearchResult(NamedTuple):
    """The newest of those that were meant, the newest last; how many were meant in all; what else to say of it."""

    dead_letters: Sequence[DeadLetter]
    total: int
    notes: Sequence[str] = ()


class DeadLetterStore(Protocol):
    """Where dead letters are kept."""

    name: str

    def newest(self, selection: DeadLetterFilter, limit: int | None) -> SearchResult:
        """The newest of those that are meant."""

    def each(self, selection: DeadLetterFilter) -> Iterator[DeadLetter]:
        """All that are meant, in no order that matters."""


def open_store(asked: DlqArguments, reading: RecordDecoder) -> DeadLetterStore:
    """The place a command was asked to look into."""
    if asked.topic is not None:
        return TopicStore(asked, reading)
    return TableStore(asked, reading)


def trade_matcher(selection: DeadLetterFilter, reading: RecordDecoder) -> Callable[[DeadLetter], bool]:
    """Whether one that a selection takes is meant: a trade's id may stand in the value of another trade."""
    trade_id = selection.trade_id
    return (lambda kept: True) if trade_id is None else (lambda kept: reading.is_of(kept, trade_id))


def dead_letter_topic(admin: TopicAdmin, name: str) -> Topic:
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
            f"validator's is made by tradepipe topics create --topic {name} --like SOURCE"
        ) from error


class TableStore:
    name = "the table trade_refusals"

    def __init__(self, asked: DlqArguments, reading: RecordDecoder) -> None:
        self._database = asked.database or ""
        self._deadline = asked.deadline
        self._reading = reading

    def newest(self, selection: DeadLetterFilter, limit: int | None) -> SearchResult:
        return RetryUntil(self._deadline)(lambda: self._newest(selection, limit))

    def each(self, selection: DeadLetterFilter) -> Iterator[DeadLetter]:
        after: RecordIdentity | None = None
        while page := RetryUntil(self._deadline)(lambda: self._page(selection, after)):  # noqa: B023 - called at once
            yield from filter(trade_matcher(selection, self._reading), page)
            after = page[-1].identity

    def _newest(self, selection: DeadLetterFilter, limit: int | None) -> SearchResult:
        with refusals.refusals_connection(self._database, seconds=self._deadline) as connection:
            if selection.trade_id is None:
                return SearchResult(
                    refusals.list_newest(connection, selection, limit), refusals.count(connection, selection)
                )
            candidates = refusals.list_newest(connection, selection, None)
        found = list(filter(trade_matcher(selection, self._reading), candidates))
        return SearchResult(found if limit is None else found[-limit:], len(found))

    def _page(self, selection: DeadLetterFilter, after: RecordIdentity | None) -> list[DeadLetter]:
        with refusals.refusals_connection(self._database, seconds=self._deadline) as connection:
            return refusals.list_page(connection, selection, after, PAGE)


class TopicStore:
    def __init__(self, asked: DlqArguments, reading: RecordDecoder) -> None:
        self._kafka = asked.kafka
        self._topic = asked.topic or ""
        self._deadline = asked.deadline
        self._reading = reading
        self._hidden: list[str] = []
        self.name = f"topic {self._topic}"

    def newest(self, selection: DeadLetterFilter, limit: int | None) -> SearchResult:
        newest: list[tuple[datetime, RecordIdentity, int, DeadLetter]] = []
        total = 0
        for total, kept in enumerate(self.each(selection), 1):
            heapq.heappush(newest, (kept.refused_at or _EPOCH, kept.identity, total, kept))
            if limit is not None and len(newest) > limit:
                heapq.heappop(newest)
        return SearchResult([kept for *_, kept in sorted(newest)], total, self._hidden)

    def each(self, selection: DeadLetterFilter) -> Iterator[DeadLetter]:
        patience = RetryUntil(self._deadline)
        admin = TopicAdmin(self._kafka, request_timeout=patience.call_timeout)
        described = patience(lambda: dead_letter_topic(admin, self._topic))
        extents = patience(lambda: admin.watermarks(self._topic, described.partitions))
        is_meant = trade_matcher(selection, self._reading)
        with TopicReader(self._kafka, topic=self._topic, timeout=OPEN_TRANSACTION) as reader:
            closed = patience(lambda: read_markers(reader.read(extents)))
            for kept, _ in iter_dead_letters(reader.read(extents), closed):
                if selection.matches(kept) and is_meant(kept):
                    yield kept
            self._hidden = [
                f"a transaction is open in {self._topic}[{partition}]: what lies behind offset {offset} is not shown"
                for partition, offset in reader.blocked_offsets.items()
            ]
