"""The two stores of dead letters: the table trade_refusals and a dead-letter topic."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.dlq.options import DlqArguments
from tradepipe.cli.dlq.render import RecordDecoder
from tradepipe.errors import TopicUnusable
from tradepipe.kafka.admin import Topic, TopicAdmin
from tradepipe.kafka.dead_letters import iter_dead_letters, read_markers
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.postgres import refusals
from tradepipe.postgres.session import open_transaction
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity

PAGE_ROWS: Final = 1_000
"""Rows per query."""

OPEN_TRANSACTION_SECONDS: Final = 2.0
"""Seconds to wait for an open transaction; short, because listing may skip what follows it."""

_EPOCH: Final = datetime.min.replace(tzinfo=UTC)


class SearchResult(NamedTuple):
    """The newest selected dead letters (newest last), the number of selected ones, and notes to print."""

    dead_letters: Sequence[DeadLetter]
    total: int
    notes: Sequence[str] = ()


def open_store(arguments: DlqArguments, decoder: RecordDecoder) -> "TableStore | TopicStore":
    """Open the store that a command's options select."""
    if arguments.topic is not None:
        return TopicStore(arguments, decoder)
    return TableStore(arguments, decoder)


def trade_matcher(selection: DeadLetterFilter, decoder: RecordDecoder) -> Callable[[DeadLetter], bool]:
    """Return a check of the trade id, which stores cannot do: only the decoded value or the whole key is reliable."""
    trade_id = selection.trade_id
    return (lambda _: True) if trade_id is None else (lambda each: decoder.is_of(each, trade_id))


def dead_letter_topic(admin: TopicAdmin, name: str) -> Topic:
    """Describe a dead-letter topic; raise `TopicUnusable` with advice if it does not exist."""
    try:
        return admin.describe(name)
    except TopicUnusable as error:
        raise TopicUnusable(
            f"dead-letter topic {name} does not exist: check --dead-letters and --bootstrap-servers, or create it: "
            f"tradepipe topics create --topic {name} --like SOURCE"
        ) from error


class TableStore:
    """The refusals of sinks."""

    name = "the table trade_refusals"

    def __init__(self, arguments: DlqArguments, decoder: RecordDecoder) -> None:
        self._open = partial(
            open_transaction, arguments.database or "", application_name="tradepipe-dlq", seconds=arguments.deadline
        )
        self._deadline = arguments.deadline
        self._decoder = decoder

    def newest(self, selection: DeadLetterFilter, limit: int | None) -> SearchResult:
        """Return the newest selected dead letters."""
        # Which records belong to a trade is known only after they were decoded, so then all are read.
        is_counted = selection.trade_id is None

        def read() -> tuple[list[DeadLetter], int]:
            with self._open() as connection:
                found = refusals.list_newest(connection, selection, limit if is_counted else None)
                return found, refusals.count(connection, selection) if is_counted else 0

        found, total = RetryUntil(self._deadline)(read)
        if is_counted:
            return SearchResult(found, total)
        found = list(filter(trade_matcher(selection, self._decoder), found))
        return SearchResult(found if limit is None else found[-limit:], len(found))

    def each(self, selection: DeadLetterFilter) -> Iterator[DeadLetter]:
        """Yield all selected dead letters, in any order."""
        after: RecordIdentity | None = None
        # A connection for each page: between two pages the caller may take as long as it likes.
        while page := RetryUntil(self._deadline)(lambda: self._page(selection, after)):  # noqa: B023 - called at once
            yield from filter(trade_matcher(selection, self._decoder), page)
            after = page[-1].identity

    def _page(self, selection: DeadLetterFilter, after: RecordIdentity | None) -> list[DeadLetter]:
        with self._open() as connection:
            return refusals.list_page(connection, selection, after, PAGE_ROWS)


class TopicStore:
    """The dead letters of a validator."""

    def __init__(self, arguments: DlqArguments, decoder: RecordDecoder) -> None:
        self._kafka = arguments.kafka
        self._topic = arguments.topic or ""
        self._deadline = arguments.deadline
        self._decoder = decoder
        self._hidden: list[str] = []
        self.name = f"topic {self._topic}"

    def newest(self, selection: DeadLetterFilter, limit: int | None) -> SearchResult:
        """Return the newest selected dead letters."""
        newest: list[tuple[datetime, RecordIdentity, int, DeadLetter]] = []
        total = 0
        for total, each in enumerate(self.each(selection), 1):
            # At most `limit` of them are in memory, however long the topic is.
            heapq.heappush(newest, (each.refused_at or _EPOCH, each.identity, total, each))
            if limit is not None and len(newest) > limit:
                heapq.heappop(newest)
        return SearchResult([each for *_, each in sorted(newest)], total, self._hidden)

    def each(self, selection: DeadLetterFilter) -> Iterator[DeadLetter]:
        """Yield all selected dead letters, in any order."""
        retry = RetryUntil(self._deadline)
        admin = TopicAdmin(self._kafka, request_timeout=retry.call_timeout)
        described = retry(lambda: dead_letter_topic(admin, self._topic))
        extents = retry(lambda: admin.watermarks(self._topic, described.partitions))
        matches_trade = trade_matcher(selection, self._decoder)
        with TopicReader(self._kafka, topic=self._topic, timeout=OPEN_TRANSACTION_SECONDS) as reader:
            # The topic is read twice, since a marker comes after the dead letter that it closes; up to the same
            # offsets, so that what arrives meanwhile is in neither pass.
            closed = retry(lambda: read_markers(reader.read(extents)))
            for kept, _ in iter_dead_letters(reader.read(extents), closed):
                if selection.matches(kept) and matches_trade(kept):
                    yield kept
            self._hidden = [
                f"a transaction is open in {self._topic}[{partition}]: records from offset {offset} on are not shown"
                for partition, offset in reader.blocked_offsets.items()
            ]
