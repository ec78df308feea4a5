"""Asynchronous watches of a topic: its id and its high watermarks."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from tradepipe.errors import TopicUnusable
from tradepipe.kafka.admin import QUERY_TIMEOUT, TopicAdmin

TOPIC_ID_INTERVAL: Final = 60.0


class TopicIdWatch:
    """
    Detect that a topic was deleted and recreated under the same name, without blocking.

    Args:
        advice: what to do about a recreated topic, for the error message.
    """

    def __init__(self, topics: TopicAdmin, topic: str, *, advice: str) -> None:
        self._topics = topics
        self._topic = topic
        self._advice = advice
        self._query: Future[str | None] | None = None
        self._due = time.monotonic() + TOPIC_ID_INTERVAL
        self.topic_id: str | None = None
        """The first id that was seen; None while the brokers have not returned one."""

    def check(self, topic_id: str | None) -> None:
        """Compare an id with the first one that was seen; `TopicUnusable` if the topic was recreated."""
        if self.topic_id is None:
            self.topic_id = topic_id
        elif topic_id is not None and topic_id != self.topic_id:
            raise TopicUnusable(
                f"topic {self._topic} was recreated while it was read: its id was {self.topic_id} and is now "
                f"{topic_id}; {self._advice}"
            )

    def poll(self) -> None:
        """Check the answer to the last query, and send the next query when it is due; raises as `check`."""
        if self._query is not None and self._query.done():
            answer, self._query = self._query.result(), None
            self.check(answer)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + TOPIC_ID_INTERVAL
            self._query = self._topics.topic_id(self._topic)


WATERMARK_INTERVAL: Final = 5.0
"""Seconds between two queries."""

SILENCE_SECONDS: Final = 4.0
"""Seconds that brokers of a client without errors have to answer a query, twice, before they count as unavailable."""


class HighWatermarks:
    """
    The high watermarks of the last fetches and of regular queries to the brokers.

    A paused partition is not fetched, so without the queries the lag would not move
    exactly while an outage of the database makes it grow. They also show that the
    brokers answer: a log without new records looks like one whose brokers do not,
    and a client notices a broker that keeps its connections but never answers only
    after `socket.timeout.ms`, a minute. No query blocks.

    Partitions are unanswered after one query if the client has had errors since the
    last answer. One error is not an outage, and librdkafka reports no recovery. Without
    errors a second query must confirm it: the broker may be slow, or this process was frozen.
    """

    def __init__(self, topics: TopicAdmin, topic: str) -> None:
        self._topics = topics
        self._topic = topic
        self._query: Future[dict[int, int | None]] | None = None
        self._answer: dict[int, int] = {}
        self._due = 0.0
        # An answer clears the suspicion of those errors only that had happened when its query was sent.
        self._errors = 0
        self._errors_cleared = 0
        self._errors_at_query = 0
        self._queried: dict[int, int] = {}
        self._is_suspected = False
        self.unanswered: tuple[int, ...] = ()
        """The partitions for which no broker answered."""

    @property
    def has_new_errors(self) -> bool:
        """Whether the client has had errors since the last query that was answered."""
        return self._errors != self._errors_cleared

    def get(self, fetched: Mapping[int, int], *, errors: int = 0) -> dict[int, int]:
        """
        Return the latest known high watermark of each partition.

        Args:
            fetched: the high watermarks of the last fetches.

            errors: how many errors the client has had.
        """
        self._errors = errors
        if self._query is not None and self._query.done():
            answer, self._query = self._query.result(), None
            self._answer |= {number: end for number, end in answer.items() if end is not None}
            # A fetch that has moved a watermark since the query is an answer too.
            missing = tuple(n for n, end in self._queried.items() if n not in answer and fetched.get(n, end) == end)
            if not missing:
                self._errors_cleared = self._errors_at_query
                self._is_suspected = False
            if not missing or self._is_suspected or self.has_new_errors:
                self.unanswered = missing
            else:
                self._is_suspected, self._due = True, 0.0
        if self._query is None and time.monotonic() >= self._due:
            # Due again after the interval, whenever the answer comes: slow brokers must not be queried more often.
            self._due = time.monotonic() + WATERMARK_INTERVAL
            self._errors_at_query = errors
            # Without an assignment only whether there is an answer is of interest, and each topic has a partition 0.
            self._queried = dict(fetched) or {0: -1}
            # Not as long after an error: while a leader is down, librdkafka spins until the timeout.
            timeout = QUERY_TIMEOUT if self.has_new_errors else SILENCE_SECONDS
            self._query = self._topics.high_watermarks_async(self._topic, self._queried, timeout=timeout)
        # Watermarks only grow, so the larger one is the newer one, whichever way it came.
        return {number: max(end, self._answer.get(number, end)) for number, end in fetched.items()}


STANDSTILL_SECONDS: Final = 60.0
"""Seconds for which a position may stand still unnoticed: a long transaction is not a fault yet."""

SEARCH_AFTER_SECONDS: Final = 10.0
"""Seconds after which a partition that stands still is searched for malformed records."""


class StandstillWatch:
    """
    Detect partitions whose position stands still below the high watermark, and find out why.

    Kafka delivers nothing from the first record of an open transaction on to
    consumers of committed records. So the position stays below the high watermark, and the last
    stable offset does not pass it. If it does, the records could be read. No query blocks.

    Args:
        after: seconds for which a position may stand still unnoticed.
    """

    def __init__(self, topics: TopicAdmin, topic: str, *, after: float) -> None:
        self._topics = topics
        self._topic = topic
        self._after = after
        self._standing: dict[int, tuple[int, float]] = {}
        self._query: Future[dict[int, int | None]] | None = None
        self._due = 0.0
        self._stable: dict[int, int] = {}
        self.withheld: dict[int, float] = {}
        """The seconds for which partitions have stood still before an open transaction."""
        self.unread: dict[int, int] = {}
        """The positions of partitions that stand still although the records there could be read."""

    def has_stood(self, partition: int, seconds: float) -> bool:
        """Return whether the position of a partition has stood still for this long."""
        return partition in self._standing and time.monotonic() - self._standing[partition][1] >= seconds

    def update(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """
        Compare the positions with the last ones.

        Args:
            positions: the next offset of each partition that is read.

            ends: the high watermarks.
        """
        now = time.monotonic()
        self._standing = {
            number: self._standing[number] if self._standing.get(number, (-1, 0.0))[0] == offset else (offset, now)
            for number, offset in positions.items()
            if offset < ends.get(number, offset)
        }
        suspects = {each: offset for each, (offset, since) in self._standing.items() if now - since >= self._after}
        if self._query is not None and self._query.done():
            self._stable = {number: end for number, end in self._query.result().items() if end is not None}
            self._query = None
        if suspects and self._query is None and now >= self._due:
            self._due = now + WATERMARK_INTERVAL
            self._query = self._topics.high_watermarks_async(self._topic, suspects, stable=True)
        known = {number: offset for number, offset in suspects.items() if number in self._stable}
        self.unread = {number: offset for number, offset in known.items() if offset < self._stable[number]}
        self.withheld = {number: now - self._standing[number][1] for number in known.keys() - self.unread.keys()}
