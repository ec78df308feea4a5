"""Where the logs of our partitions end, also while nothing is fetched; and whether anybody is there to tell."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from tradepipe.kafka.topics import Topics

ASK_EVERY: Final = 5.0


class LogEnds:
    """
    The ends that the last fetches told; while fetching is paused, the ones the brokers tell when they are asked.

    Without asking, the lag would stand still exactly while an outage of the
    database lets it grow. They are asked as well when the client has had errors:
    librdkafka does not say whether it overcame them, and a log without new
    records looks like one whose brokers are gone. Nobody waits for the answer.
    """

    def __init__(self, topics: Topics, topic: str) -> None:
        self._topics = topics
        self._topic = topic
        self._asked: Future[dict[int, int]] | None = None
        self._told: dict[int, int] = {}
        self._due = 0.0
        self._errors = 0
        self._errors_asked = 0
        self.unanswered = False
        """Whether no broker had an answer when they were asked last."""

    def known(self, fetched: Mapping[int, int], *, asking: bool, errors: int = 0) -> dict[int, int]:
        """The latest of what is known of each of these partitions; the client has had so many errors by now."""
        if self._asked is not None and self._asked.done():
            self._take(self._asked.result())
            self._asked = None
        if not fetched:  # nobody will be asked
            self.unanswered = False
        doubtful = asking or errors != self._errors
        if doubtful and fetched and self._asked is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + ASK_EVERY
            self._errors_asked = errors
            self._asked = self._topics.ends(self._topic, fetched)
        return {number: max(end, self._told.get(number, end)) for number, end in fetched.items()}

    def _take(self, told: dict[int, int]) -> None:
        self.unanswered = not told
        if told:
            self._told, self._errors = told, self._errors_asked
