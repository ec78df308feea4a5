"""Whether a topic is still the one it was."""

import time
from concurrent.futures import Future
from typing import Final

from tradepipe.errors import TopicUnusable
from tradepipe.kafka.topics import Topics

ASK_EVERY: Final = 60.0


class Identity:
    """
    The id of a topic, looked at again and again; nobody waits for the answer.

    Args:
        advice: what to do about a topic that was created anew.
    """

    def __init__(self, topics: Topics, topic: str, *, advice: str) -> None:
        self._topics = topics
        self._topic = topic
        self._advice = advice
        self._asked: Future[str | None] | None = None
        self._due = time.monotonic() + ASK_EVERY
        self.topic_id: str | None = None
        """The id as far as it is known."""

    def require(self, topic_id: str | None) -> None:
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

    def watch(self) -> None:
        """Ask when it is time; raises as `require`."""
        if self._asked is not None and self._asked.done():
            answer, self._asked = self._asked.result(), None
            self.require(answer)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + ASK_EVERY
            self._asked = self._topics.topic_id(self._topic)
