"""Where the logs of our partitions end, also while nothing is fetched."""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from tradepipe.kafka.topics import Topics

ASK_EVERY: Final = 5.0


class Ends:
    """
    The ends that the last fetches told; while fetching is paused, the ones the brokers tell when they are asked.

    Without asking, the lag would stand still exactly while an outage of the
    database lets it grow. Nobody waits for the answer.
    """

    def __init__(self, topics: Topics, topic: str) -> None:
        self._topics = topics
        self._topic = topic
        self._asked: Future[dict[int, int]] | None = None
        self._told: dict[int, int] = {}
        self._due = 0.0

    def known(self, fetched: Mapping[int, int], *, asking: bool) -> dict[int, int]:
        """The latest of what is known of each of these partitions."""
        if self._asked is not None and self._asked.done():
            self._told, self._asked = self._asked.result(), None
        if asking and fetched and self._asked is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + ASK_EVERY
            self._asked = self._topics.ends(self._topic, fetched)
        return {number: max(end, self._told.get(number, end)) for number, end in fetched.items()}
