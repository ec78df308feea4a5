"""Dead letters of a topic come back: each record into the topic it was refused from, with a marker for its letter."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple

from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka import dead_letters
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import Config
from tradepipe.kafka.dead_letters import REPLAYS, DeadLetterRecord, Markers, iter_dead_letters, read_markers
from tradepipe.kafka.replay_producer import ReplayProducer
from tradepipe.kafka.send import Destination, OutgoingRecords
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.pipeline.replay_table import exhausted_message
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity
from tradepipe.trade.record import Record

CHUNK_RECORDS: Final = 500
"""Records in one transaction, at most."""

CHUNK_BYTES: Final = 8 << 20
"""Bytes of values in one transaction, about."""


class TopicReplayStep(NamedTuple):
    """
    One transaction of a replay.

    `left` are letters that were not touched, each with the reason.
    """

    replayed: tuple[DeadLetter, ...] = ()
    left: tuple[tuple[DeadLetter, str], ...] = ()


class TopicReplay:
    """
    Put refused records back into the topics they came from, each once.

    Each step is one Kafka transaction of records and of the markers that close
    their letters, so however a replay ends, the next one goes on where it was.
    Of two at once the one that began last goes on, and the other one ends. A
    record goes back with its key, value and headers, one header that counts its
    replays, and the time of the replay; it is behind whatever came meanwhile.

    Args:
        means: which letters of the selection are meant after all.

        max_replays: what was replayed so often, and refused again, is left.

        limit: how many are put back at most.

        wait: seconds to wait for brokers, and for open transactions.

        keep: False only tells what would be done; a replay that runs goes on.
    """

    def __init__(
        self,
        kafka: Config,
        dead_letters: str,
        selection: DeadLetterFilter,
        *,
        means: Callable[[DeadLetter], bool] = lambda kept: True,
        max_replays: int = 3,
        limit: int | None = None,
        wait: float = 30.0,
        keep: bool = True,
    ) -> None:
        self._kafka = kafka
        self._topic = dead_letters
        self._selection = selection._replace(replayed=False)
        self._means = means
        self._max_replays = max_replays
        self._remaining = limit
        self._wait = wait
        self._replaying = ReplayProducer(kafka, dead_letters=dead_letters) if keep else None
        self._topics = TopicAdmin(kafka, request_timeout=min(wait, 10.0))
        self._sources: set[str] = set()
        self._reported: set[RecordIdentity] = set()
        self._replayed: set[RecordIdentity] = set()
        self._unanswered: list[tuple[DeadLetter, DeadLetterRecord]] = []
        self._reading = ExitStack()
        self._letters: Iterator[tuple[DeadLetter, DeadLetterRecord | None]] | None = None

    def close(self) -> None:
        """Let go of all connections."""
        self._letters = None
        self._reading.close()
        if self._replaying is not None:
            self._replaying.close()

    def run_step(self) -> TopicReplayStep | None:
        """
        The next transaction, None when all are done; a step that failed by `BrokerUnavailable` may be tried again.

        Raises:
            Superseded: another replay has begun.

            BrokerUnavailable: Kafka is not reachable now, or a transaction is open that hides letters.

            TopicUnusable: there is no such dead-letter topic, or a record's own topic is gone.
        """
        try:
            if self._letters is None:
                settled = self._open()
                if settled.replayed:
                    return settled
            return self._next()
        except BaseException:
            self.close()
            raise

    def _open(self) -> TopicReplayStep:
        """Become the only replay, read what was replayed, and find out about a transaction that was not answered."""
        if self._replaying is not None:
            self._replaying.open()
        self._topics.check_not_compacted(self._topic)
        extents = self._topics.watermarks(self._topic, self._topics.describe(self._topic).partitions)
        reader = self._reading.enter_context(TopicReader(self._kafka, topic=self._topic, timeout=self._wait))
        closed = read_markers(reader.read(extents))
        for partition, offset in reader.blocked_offsets.items():
            # Behind it may lie markers: what they close would be put back twice.
            raise BrokerUnavailable(
                f"a transaction is open in {self._topic}[{partition}], and hides what follows {offset}"
            )
        self._letters = iter_dead_letters(reader.read(extents), closed)
        unanswered, self._unanswered = self._unanswered, []
        return self._done(unanswered) if unanswered and _are_closed(unanswered, closed) else TopicReplayStep()

    def _next(self) -> TopicReplayStep | None:
        chosen, left = self._next_chunk()
        if not chosen and not left:
            self.close()
            return None
        if chosen and self._replaying is not None:
            outgoing = self._build_outgoing(chosen)
            self._unanswered = chosen
            self._replaying.write(outgoing)
            self._unanswered = []
        self._reported.update(kept.identity for kept, _ in left)
        return self._done(chosen)._replace(left=tuple(left))

    def _done(self, chosen: list[tuple[DeadLetter, DeadLetterRecord]]) -> TopicReplayStep:
        """Take account of what was put back; letters of one record count once."""
        new = {kept.identity: kept for kept, _ in chosen if kept.identity not in self._replayed}
        self._replayed.update(new)
        if self._remaining is not None:
            self._remaining -= len(new)
        return TopicReplayStep(tuple(new.values()))

    def _next_chunk(self) -> tuple[list[tuple[DeadLetter, DeadLetterRecord]], list[tuple[DeadLetter, str]]]:
        """What the next transaction puts back, and what was found meanwhile that is left."""
        chosen: list[tuple[DeadLetter, DeadLetterRecord]] = []
        left: list[tuple[DeadLetter, str]] = []
        size = 0
        room = CHUNK_RECORDS if self._remaining is None else min(CHUNK_RECORDS, self._remaining)
        while len(chosen) < room and size < CHUNK_BYTES:
            found = next(self._matching(), None)
            if found is None:
                break
            kept, letter = found
            if letter is None or (reason := self._skip_reason(kept)):
                left.append((kept, "it does not say where its record lay" if letter is None else reason))
            else:
                chosen.append((kept, letter))
                size += len(kept.record.value or b"")
        return chosen, left

    def _matching(self) -> Iterator[tuple[DeadLetter, DeadLetterRecord | None]]:
        return (
            (kept, letter)
            for kept, letter in self._letters or ()
            if self._selection.matches(kept) and kept.identity not in self._reported and self._means(kept)
        )

    def _skip_reason(self, kept: DeadLetter) -> str:
        """Why a letter is left, or nothing."""
        topic = kept.record.topic
        if topic == self._topic or topic.startswith("__"):
            return f"its record came from topic {topic}, which nothing is put back into"
        return exhausted_message(kept) if kept.replay_count >= self._max_replays else ""

    def _build_outgoing(self, chosen: list[tuple[DeadLetter, DeadLetterRecord]]) -> OutgoingRecords:
        now = int(time.time() * 1000)
        sent = set(self._replayed)
        outgoing: dict[Destination, list[Record]] = {}
        for kept, letter in chosen:
            count, own = kept.replay_count + 1, letter.record
            if kept.identity not in sent:
                sent.add(kept.identity)
                back = self._record(kept, count)
                outgoing.setdefault(Destination(back.topic), []).append(back._replace(timestamp=now))
            marker = own._replace(value=None, timestamp=now, headers=dead_letters.marker_headers(letter, count))
            outgoing.setdefault(Destination(own.topic, own.partition), []).append(marker)
        return outgoing

    def _record(self, kept: DeadLetter, count: int) -> Record:
        record = kept.record
        if record.topic not in self._sources:
            self._topics.describe(record.topic)
            self._sources.add(record.topic)
        return record._replace(
            headers=(*dead_letters.strip_replay_header(record.headers), (REPLAYS, str(count).encode()))
        )


def _are_closed(chosen: list[tuple[DeadLetter, DeadLetterRecord]], closed: Markers) -> bool:
    """Whether the transaction that was to close these letters took place; it was all or nothing."""
    _, letter = chosen[0]
    marker = closed.get((letter.record.partition, letter.origin))
    return marker is not None and marker.record.offset > letter.record.offset
