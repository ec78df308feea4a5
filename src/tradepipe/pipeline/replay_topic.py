"""Replay of a dead-letter topic: each record goes back to its source topic, with a marker next to its dead letter."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple

from tradepipe.errors import BrokerUnavailable, ConfigurationError, TradepipeError
from tradepipe.kafka import dead_letters
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import Config
from tradepipe.kafka.dead_letters import REPLAYS, DeadLetterRecord, find_marker, iter_dead_letters, read_markers
from tradepipe.kafka.origin import OriginCheck, describe_foreign_origin
from tradepipe.kafka.send import Destination
from tradepipe.kafka.topic_reader import TopicReader
from tradepipe.kafka.transactions import Fenced, RecordRejected, Transactions
from tradepipe.pipeline.replay_table import exhausted_message
from tradepipe.trade.dead_letter import DeadLetter, DeadLetterFilter, RecordIdentity
from tradepipe.trade.record import Record

MAX_RECORD_BYTES: Final = 1_000_000_000
"""Bytes of a record: librdkafka's highest limit, so that only the topic's own limit applies."""


class ReplaySuperseded(TradepipeError):
    """Another replay of the same dead-letter topic has started and fenced this one, which can be run again later."""

    exit_code = 75

    def __init__(self) -> None:
        super().__init__(
            "another replay of these dead letters has started and processes all of them; "
            "when it has ended, run this one again if any are left"
        )


CHUNK_RECORDS: Final = 500
"""Records in one transaction at most."""

CHUNK_BYTES: Final = 8 << 20
"""Bytes of records in one transaction, approximately."""


class TopicReplayStep(NamedTuple):
    """
    Result of one transaction of a replay.

    `skipped` holds the dead letters that were skipped, each with the reason.
    """

    replayed: tuple[DeadLetter, ...] = ()
    skipped: tuple[tuple[DeadLetter, str], ...] = ()


class TopicReplay:
    """
    Send refused records back to their source topics, each once.

    Each step is one Kafka transaction with the records and the markers that close
    their dead letters. So however a replay ends, the next one resumes where it
    stopped. Of two concurrent replays, the one that started last fences the
    other. A record keeps its key, value and headers; it gets one header that
    counts its replays, the time of the replay, and an offset after all records
    sent in between.

    Args:
        sources: the topics to which records may be sent back.

        include_connect: also send back the records of Kafka Connect's dead letters.

        unverified: also send back copies of records that their topic no longer holds.
            Any other copy must equal the record in Kafka.

        matches: an additional condition on the selected dead letters.

        max_replays: skip a dead letter that was replayed this often and refused again.

        limit: the maximum number of records to send back.

        wait: seconds to wait for brokers and for open transactions.

        keep: False only reports what would be sent, and does not fence a running replay.
    """

    def __init__(
        self,
        kafka: Config,
        dead_letters: str,
        selection: DeadLetterFilter,
        *,
        sources: Collection[str],
        include_connect: bool = False,
        unverified: bool = False,
        matches: Callable[[DeadLetter], bool] = lambda dead_letter: True,
        max_replays: int = 3,
        limit: int | None = None,
        wait: float = 30.0,
        keep: bool = True,
    ) -> None:
        self._kafka = kafka
        self._topic = dead_letters
        self._selection = selection._replace(replayed=False)
        self._matches = matches
        self._max_replays = max_replays
        self._remaining = limit
        self._wait = wait
        # All replays of a dead-letter topic share one id: opening it aborts the open transaction of an earlier replay,
        # and fences one that still runs. One record per batch: librdkafka splits none, so one that is too large would
        # take others with it.
        sizes = {"message.max.bytes": MAX_RECORD_BYTES, "batch.num.messages": 1}
        id_ = f"tradepipe-replay-{dead_letters}"
        self._transactions = Transactions({**kafka, **sizes}, transactional_id=id_) if keep else None
        self._topics = TopicAdmin(kafka, request_timeout=min(wait, 10.0))
        self._sources = frozenset(sources)
        self._include_connect = include_connect
        self._origins = OriginCheck(kafka, self._topics, timeout=wait, unverified=unverified)
        self._reported: set[RecordIdentity] = set()
        self._replayed: set[RecordIdentity] = set()
        self._unconfirmed: list[tuple[DeadLetter, DeadLetterRecord]] = []
        self._resources = ExitStack()
        self._dead_letters: Iterator[tuple[DeadLetter, DeadLetterRecord | None]] | None = None

    def close(self) -> None:
        """Close all connections."""
        self._dead_letters = None
        self._resources.close()
        if self._transactions is not None:
            self._transactions.close()

    def run_step(self) -> TopicReplayStep | None:
        """
        Run the next transaction; return None when there is nothing left.

        A step that failed with `BrokerUnavailable` may be run again.

        Raises:
            ReplaySuperseded: another replay has started.

            BrokerUnavailable: Kafka is unavailable, or an open transaction hides dead letters.

            TopicUnusable: the dead-letter topic or a record's source topic does not exist.
        """
        try:
            # Opened again after each failure: the position in the topic and the producer are both in doubt then.
            if self._dead_letters is None:
                confirmed = self._open()
                if confirmed.replayed:
                    return confirmed
            return self._next()
        except BaseException as error:
            self.close()
            if isinstance(error, Fenced):
                raise ReplaySuperseded from error
            if isinstance(error, RecordRejected):
                raise ConfigurationError(
                    f"cannot replay records into topic {error.topic}: {error}; raise the topic's "
                    "max.message.bytes slightly, since a replayed record has an additional header"
                ) from error
            raise

    def _open(self) -> TopicReplayStep:
        """
        Fence other replays, read the markers, and resolve a transaction whose outcome is unknown.

        The order matters: only after fencing do the markers that are read include
        those of every replay before this one.
        """
        if self._transactions is not None:
            if self._topics.is_mock():
                raise ConfigurationError(
                    "the embedded broker has no transactions, which a replay requires; use Apache Kafka, or send the "
                    "corrected trades again: tradepipe produce --input FILE"
                )
            # A new client, and so a new epoch: an old one's late request cannot join the next transaction.
            self._transactions.close()
            self._transactions.open()
        self._topics.check_not_compacted(self._topic)
        extents = self._topics.watermarks(self._topic, self._topics.describe(self._topic).partitions)
        self._resources.enter_context(self._origins)
        reader = self._resources.enter_context(TopicReader(self._kafka, topic=self._topic, timeout=self._wait))
        closed = read_markers(reader.read(extents))
        for partition, offset in reader.blocked_offsets.items():
            # Markers may follow the open transaction: the dead letters they close would be replayed twice.
            raise BrokerUnavailable(
                f"a transaction is open in {self._topic}[{partition}], and hides what follows {offset}"
            )
        self._dead_letters = iter_dead_letters(reader.read(extents), closed)
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        # A transaction is all or nothing, so the first dead letter stands for all.
        if unconfirmed and find_marker(closed, unconfirmed[0][1]) is not None:
            return self._record_replayed(unconfirmed)
        return TopicReplayStep()

    def _next(self) -> TopicReplayStep | None:
        chosen, skipped = self._select_chunk()
        if not chosen and not skipped:
            self.close()
            return None
        if chosen and self._transactions is not None:
            now = int(time.time() * 1000)
            sent = set(self._replayed)
            outgoing: dict[Destination, list[Record]] = {}
            for dead_letter, stored in chosen:
                count, own = dead_letter.replay_count + 1, stored.record
                # Every dead letter gets its marker, but a record with several dead letters goes back once.
                if dead_letter.identity not in sent:
                    sent.add(dead_letter.identity)
                    record = dead_letter.record
                    headers = (*dead_letters.strip_replay_header(record.headers), (REPLAYS, str(count).encode()))
                    replayed = record._replace(timestamp=now, headers=headers)
                    outgoing.setdefault(Destination(record.topic), []).append(replayed)
                marker = own._replace(value=None, timestamp=now, headers=dead_letters.marker_headers(stored, count))
                outgoing.setdefault(Destination(own.topic, own.partition), []).append(marker)
            # Kept until the answer: if the commit's outcome stays unknown, `_open` finds it in the markers.
            self._unconfirmed = chosen
            self._transactions.write(outgoing)
            self._unconfirmed = []
        # A skipped dead letter is reported once, even if the topic is read again after a failure.
        self._reported.update(dead_letter.identity for dead_letter, _ in skipped)
        return self._record_replayed(chosen)._replace(skipped=tuple(skipped))

    def _record_replayed(self, chosen: list[tuple[DeadLetter, DeadLetterRecord]]) -> TopicReplayStep:
        """Count the replayed records; several dead letters of one record count once."""
        new = {
            dead_letter.identity: dead_letter for dead_letter, _ in chosen if dead_letter.identity not in self._replayed
        }
        self._replayed.update(new)
        if self._remaining is not None:
            self._remaining -= len(new)
        return TopicReplayStep(tuple(new.values()))

    def _select_chunk(self) -> tuple[list[tuple[DeadLetter, DeadLetterRecord]], list[tuple[DeadLetter, str]]]:
        """Return the dead letters for the next transaction, and those that were skipped on the way."""
        chosen: list[tuple[DeadLetter, DeadLetterRecord]] = []
        skipped: list[tuple[DeadLetter, str]] = []
        size = 0
        limit = CHUNK_RECORDS if self._remaining is None else min(CHUNK_RECORDS, self._remaining)
        while len(chosen) < limit and size < CHUNK_BYTES:
            found = next(self._dead_letters or iter(()), None)
            if found is None:
                break
            dead_letter, stored = found
            if (
                not self._selection.matches(dead_letter)
                or dead_letter.identity in self._reported
                or not self._matches(dead_letter)
            ):
                continue
            if stored is None or (reason := self._skip_reason(dead_letter, stored)):
                skipped.append((dead_letter, foreign_reason(dead_letter) if stored is None else reason))
            else:
                chosen.append((dead_letter, stored))
                size += dead_letters.size(dead_letter.record)
        return chosen, skipped

    def _skip_reason(self, dead_letter: DeadLetter, stored: DeadLetterRecord) -> str:
        """Return why a dead letter is skipped, or an empty string."""
        topic = dead_letter.record.topic
        if topic == self._topic or topic.startswith("__"):
            return f"its record came from topic {topic}, to which nothing is replayed"
        if topic not in self._sources:
            return f"its record came from topic {topic}; --source {topic} sends it back there"
        if stored.is_connect and not self._include_connect:
            return "Kafka Connect wrote it; --include-connect sends it back"
        if dead_letter.incomplete_reason:
            return dead_letter.incomplete_reason
        if dead_letter.replay_count >= self._max_replays:
            return exhausted_message(dead_letter)
        return self._origins.find_difference(dead_letter)


def foreign_reason(dead_letter: DeadLetter) -> str:
    """Return why a record that is not a dead letter is skipped."""
    return describe_foreign_origin(dead_letter.record) or "its headers do not say where its record was"
