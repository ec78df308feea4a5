"""Watches of a topic: its id, and its high watermarks."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from tradepipe.errors import TopicUnusable
from tradepipe.kafka.admin import TopicAdmin

TOPIC_ID_INTERVAL: Final = 60.0


class TopicIdWatch:
    """
    The id of a topic, looked at again and again; nobody waits for the answer.

    Args:
        advice: what to do about a topic that was created anew.
    """

    def __init__(self, topics: TopicAdmin, topic: str, *, advice: str) -> None:
        self._topics = topics
        self._topic = topic
        self._advice = advice
        self._asked: Future[str | None] | None = None
        self._due = time.monotonic() + TOPIC_ID_INTERVAL
        self.topic_id: str | None = None
        """The id as far as it is known."""

    def check(self, topic_id: str | None) -> None:
        """
        Take an id that was told.

        Raises:
            TopicUnusable: it was another one before.
        """
        if self.topic_id is None:
            self.topic_id = topic_id
        elif topic_id is not None and topic_id != self.topic_id:
            raise TopicUnusable(
                f"topic {self._topic} was created anew while it was read: its id was {self.topic_id} and is now "
                f"{topic_id}; {self._advice}"
            )

    def poll(self) -> None:
        """Ask when it is time; raises as `require`."""
        if self._asked is not None and self._asked.done():
            answer, self._asked = self._asked.result(), None
            self.check(answer)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + TOPIC_ID_INTERVAL
            self._asked = self._topics.topic_id(self._topic)


WATERMARK_INTERVAL: Final = 5.0


class HighWatermarks:
    """
    The ends that the last fetches told; while fetching is paused, the ones the brokers tell when they are asked.

    Without asking, the lag would stand still exactly while an outage of the
    database lets it grow. They are asked as well when the client has had errors:
    librdkafka does not say whether it overcame them, and a log without new
    records looks like one whose brokers are gone. Nobody waits for the answer.
    """

    def __init__(self, topics: TopicAdmin, topic: str) -> None:
        self._topics = topics
        self._topic = topic
        self._asked: Future[dict[int, int]] | None = None
        self._known: dict[int, int] = {}
        self._due = 0.0
        self._errors = 0
        self._errors_asked = 0
        self.is_unanswered = False
        """Whether no broker had an answer when they were asked last."""

    def get(self, fetched: Mapping[int, int], *, asking: bool, errors: int = 0) -> dict[int, int]:
        """The latest of what is known of each of these partitions; the client has had so many errors by now."""
        if self._asked is not None and self._asked.done():
            self._collect(self._asked.result())
            self._asked = None
        if not fetched:  # nobody will be asked
            self.is_unanswered = False
        doubtful = asking or errors != self._errors
        if doubtful and fetched and self._asked is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + WATERMARK_INTERVAL
            self._errors_asked = errors
            self._asked = self._topics.high_watermarks_async(self._topic, fetched)
        return {number: max(end, self._known.get(number, end)) for number, end in fetched.items()}

    def _collect(self, told: dict[int, int]) -> None:
        self.is_unanswered = not told
        if told:
            self._known, self._errors = told, self._errors_asked
