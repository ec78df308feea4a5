"""Comparison of a validator's outputs with its source: each record once in one of them, unchanged, in order."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

Place = tuple[int, int]
"""Partition and offset."""

Content = tuple[bytes | None, bytes | None]
"""Key and value."""


class Branches(NamedTuple):
    """
    What a validator owes: all figures are zero when it kept its promise.

    `lost` and `doubled` count records of the source over both branches;
    `misplaced` ones are in the other branch than their bytes ask for, `disordered`
    are keys whose records are not in the order of the source.
    """

    lost: int
    doubled: int
    misplaced: int
    changed: int
    disordered: int


def compare(
    source: Mapping[Place, Content], bad: Iterable[bytes], clean: list[Content], dead: list[tuple[Place, Content]]
) -> Branches:
    """
    Compare the branches with their source.

    Args:
        source: all records by their places, in the order of the log.

        bad: the keys of the records that are to be refused; no good record has one of them.

        clean: the records of the clean topic, each partition in its order.

        dead: the letters, with the places they name.
    """
    refused = set(bad)
    expected, found = _by_key(c for c in source.values() if c[0] not in refused), _by_key(clean)
    owed = {place for place, content in source.items() if content[0] in refused}
    letters = [place for place, _ in dead]
    return Branches(
        lost=len(owed - set(letters)) + sum(max(0, len(c) - len(found.get(key, ()))) for key, c in expected.items()),
        doubled=len(letters)
        - len(set(letters))
        + sum(max(0, len(c) - len(expected.get(key, c))) for key, c in found.items()),
        misplaced=len(set(letters) - owed) + sum(len(c) for key, c in found.items() if key not in expected),
        changed=sum(source.get(place) != content for place, content in dead),
        disordered=sum(expected.get(key) != contents for key, contents in found.items()),
    )


def _by_key(contents: Iterable[Content]) -> dict[bytes | None, list[bytes | None]]:
    values = defaultdict(list)
    for key, value in contents:
        values[key].append(value)
    return dict(values)


class Reader:
    """Reader of the committed records of some topics, in a thread, while they are written."""

    def __init__(self, kafka: Mapping[str, Any], topics: Mapping[str, int]) -> None:
        address = {"bootstrap.servers": kafka["bootstrap.servers"], "group.id": "reader", "log_level": 3}
        self._client = Consumer({**address, "isolation.level": "read_committed", "enable.auto.commit": False})
        self._client.assign(
            [
                TopicPartition(topic, n, OFFSET_BEGINNING)
                for topic, partitions in topics.items()
                for n in range(partitions)
            ]
        )
        self.messages: dict[str, list[Any]] = {topic: [] for topic in topics}
        self._stopping = False
        self._seen_at = time.monotonic()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def seen(self) -> int:
        """Number of records read from all topics."""
        return sum(len(messages) for messages in self.messages.values())

    def stop(self, *, quiet_for: float) -> dict[str, list[Any]]:
        """Return the records, once none has arrived for a number of seconds."""
        while time.monotonic() - self._seen_at < quiet_for:
            time.sleep(0.1)
        self._stopping = True
        self._thread.join()
        self._client.close()
        return self.messages

    def _read(self) -> None:
        while not self._stopping:
            for message in self._client.consume(5_000, 0.2):
                if (error := message.error()) is None:
                    self.messages[message.topic()].append(message)
                    self._seen_at = time.monotonic()
                elif error.code() != KafkaError._PARTITION_EOF and not error.retriable():
                    raise RuntimeError(str(error))
