"""Watch over the start of each partition's log, which moves when the broker drops old records."""

from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

REQUEST_TIMEOUT: Final = 5.0
"""Seconds a request may take."""


class LogStarts:
    """Find the records that a broker has dropped, of all its topics."""

    def __init__(self, bootstrap_servers: str) -> None:
        # 2 is "critical": the broker closes the connections when it stops, which is no news.
        self._client: Any = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
        self._dropped: dict[str, int] = {}

    def poll(self) -> dict[str, int]:
        """Return the topics that lost records since the last call, each with the number it has lost in all."""
        dropped = self._count_dropped()
        grown = {topic: number for topic, number in dropped.items() if number > self._dropped.get(topic, 0)}
        self._dropped = dropped
        return grown

    def _count_dropped(self) -> dict[str, int]:
        """Return the sum of the log starts of each topic; offsets begin at 0."""
        dropped: dict[str, int] = {}
        try:
            topics = self._client.list_topics(timeout=REQUEST_TIMEOUT).topics
            first = {
                TopicPartition(name, partition): OffsetSpec.earliest()
                for name, topic in topics.items()
                for partition in topic.partitions
            }
            starts = self._client.list_offsets(first, request_timeout=REQUEST_TIMEOUT) if first else {}
            for place, start in starts.items():
                dropped[place.topic] = dropped.get(place.topic, 0) + int(start.result().offset)
        except KafkaException:  # the broker is stopping, or a topic was deleted in between
            return self._dropped
        return dropped
