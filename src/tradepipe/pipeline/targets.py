"""The topics a validator writes to, as they have to be."""

import logging
from typing import Final, NamedTuple

from tradepipe.errors import Misconfigured, TopicUnusable
from tradepipe.kafka.topics import Topics

logger = logging.getLogger(__name__)

ROOM: Final = 16_384
"""Bytes a dead letter may have beside what the record had: for its headers, which shorten their texts for it."""

LARGEST_BATCH: Final = 1_000_000
"""Bytes; librdkafka's own default."""

LARGEST_RECORD: Final = 1_000_000_000
"""Bytes before compression, of which a topic's limit says nothing; librdkafka allows no more."""

FOREVER: Final = -1


class Limits(NamedTuple):
    """
    What the targets take, in bytes; None where the brokers do not say.

    `largest` is for any record, `letter` for a dead letter.
    """

    largest: int | None
    letter: int | None

    @property
    def properties(self) -> dict[str, int]:
        """The same as librdkafka's properties: it never splits a batch that the broker finds too large."""
        if self.largest is None:
            return {}
        return {"message.max.bytes": LARGEST_RECORD, "batch.size": min(self.largest, LARGEST_BATCH)}


class Targets:
    """The topic of valid records and the one of dead letters, beside the one they come from."""

    def __init__(self, topics: Topics, *, source: str, clean: str, dead_letters: str) -> None:
        if len({source, clean, dead_letters}) < 3:
            raise Misconfigured(
                f"topic is {source}, clean {clean} and dead_letters {dead_letters}: a validator needs three topics"
            )
        self.clean = clean
        self.dead_letters = dead_letters
        self._topics = topics
        self._source = source

    def require(self) -> Limits:
        """
        Refuse topics that would lose records or not take them all.

        Raises:
            TopicUnusable: one is missing, compacted or takes too little.

            BrokerAway: the brokers cannot be asked now.
        """
        source = self._settings(self._source)
        clean, letters = self._settings(self.clean), self._settings(self.dead_letters)
        for name, target, room in ((self.clean, clean, 0), (self.dead_letters, letters, ROOM)):
            self._require_room(name, _number(target, "max.message.bytes"), _number(source, "max.message.bytes"), room)
            self._compare_retention(name, target, source)
        limits = [_number(target, "max.message.bytes") for target in (clean, letters)]
        return Limits(min((limit for limit in limits if limit is not None), default=None), limits[1])

    def are_empty(self) -> bool:
        """Whether neither holds anything."""
        return not any(
            extent.end > extent.begin
            for name in (self.clean, self.dead_letters)
            for extent in self._topics.extents(name, self._topics.describe(name).partitions).values()
        )

    def _settings(self, name: str) -> dict[str, str]:
        try:
            self._topics.describe(name)
        except TopicUnusable as error:
            if name == self._source:
                raise
            raise TopicUnusable(
                f"there is no topic {name}; create it: python -m tradepipe.topics create --topic {name} "
                f"--like {self._source}"
            ) from error
        self._topics.require_uncompacted(name)
        return self._topics.settings(name)

    def _require_room(self, name: str, takes: int | None, largest: int | None, room: int) -> None:
        if takes is None or largest is None or takes >= largest + room:
            return
        raise TopicUnusable(
            f"topic {name} takes records of {takes} bytes, but those of {self._source} have up to {largest}"
            f"{f', and a dead letter {room} more for its headers' if room else ''}; raise it: kafka-configs.sh --alter "
            f"--entity-type topics --entity-name {name} --add-config max.message.bytes={largest + room}"
        )

    def _compare_retention(self, name: str, target: dict[str, str], source: dict[str, str]) -> None:
        keeps, kept = _number(target, "retention.ms"), _number(source, "retention.ms")
        if keeps is None or kept is None or keeps == FOREVER or (keeps >= kept and kept != FOREVER):
            return
        logger.warning(
            "topic %s keeps its records for %d ms, %s for %s: what is read late may be gone; set retention.ms",
            name,
            keeps,
            self._source,
            "ever" if kept == FOREVER else f"{kept} ms",
        )


def _number(settings: dict[str, str], name: str) -> int | None:
    return int(settings[name]) if name in settings else None
