"""The clean and the dead-letter topic of a validator: their checks, and the writes to them."""

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from tradepipe.backoff import Backoff
from tradepipe.errors import BrokerUnavailable, ConfigurationError, TopicUnusable
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import Config
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.dead_letters import build_headers
from tradepipe.kafka.delivery import AtLeastOnceDelivery, TransactionalDelivery
from tradepipe.kafka.send import Delivery, Destination, Interrupted, OutgoingRecords
from tradepipe.pipeline.validator_buffer import ValidatorBatch

logger = logging.getLogger(__name__)

HEADER_ALLOWANCE: Final = 16_384
"""Bytes a dead letter may have beside what the record had: for its headers, which shorten their texts for it."""

LARGEST_BATCH: Final = 1_000_000
"""Bytes; librdkafka's own default."""

LARGEST_RECORD: Final = 1_000_000_000
"""Bytes before compression, of which a topic's limit says nothing; librdkafka allows no more."""

UNLIMITED: Final = -1


class SizeLimits(NamedTuple):
    """
    What the targets take, in bytes; None where the brokers do not say.

    `largest` is for any record, `letter` for a dead letter.
    """

    record: int | None
    dead_letter: int | None

    @property
    def properties(self) -> dict[str, int]:
        """The same as librdkafka's properties: it never splits a batch that the broker finds too large."""
        if self.record is None:
            return {}
        return {"message.max.bytes": LARGEST_RECORD, "batch.size": min(self.record, LARGEST_BATCH)}


class OutputTopics:
    """The topic of valid records and the one of dead letters, beside the one they come from."""

    def __init__(self, topics: TopicAdmin, *, source: str, clean: str, dead_letters: str) -> None:
        if len({source, clean, dead_letters}) < 3:
            raise ConfigurationError(
                f"topic is {source}, clean {clean} and dead_letters {dead_letters}: a validator needs three topics"
            )
        self.clean = clean
        self.dead_letters = dead_letters
        self._topics = topics
        self._source = source

    def check(self) -> SizeLimits:
        """
        Refuse topics that would lose records or not take them all.

        Raises:
            TopicUnusable: one is missing, compacted or takes too little.

            BrokerUnavailable: the brokers cannot be asked now.
        """
        source = self._topic_config(self._source)
        clean, letters = self._topic_config(self.clean), self._topic_config(self.dead_letters)
        for name, target, room in ((self.clean, clean, 0), (self.dead_letters, letters, HEADER_ALLOWANCE)):
            self._check_record_size(
                name, _number(target, "max.message.bytes"), _number(source, "max.message.bytes"), room
            )
            self._check_retention(name, target, source)
        limits = [_number(target, "max.message.bytes") for target in (clean, letters)]
        return SizeLimits(min((limit for limit in limits if limit is not None), default=None), limits[1])

    def are_empty(self) -> bool:
        """Whether neither holds anything."""
        return not any(
            extent.high > extent.low
            for name in (self.clean, self.dead_letters)
            for extent in self._topics.watermarks(name, self._topics.describe(name).partitions).values()
        )

    def _topic_config(self, name: str) -> dict[str, str]:
        try:
            self._topics.describe(name)
        except TopicUnusable as error:
            if name == self._source:
                raise
            raise TopicUnusable(
                f"there is no topic {name}; create it: tradepipe topics create --topic {name} --like {self._source}"
            ) from error
        self._topics.check_not_compacted(name)
        return self._topics.config(name)

    def _check_record_size(self, name: str, takes: int | None, largest: int | None, room: int) -> None:
        if takes is None or largest is None or takes >= largest + room:
            return
        raise TopicUnusable(
            f"topic {name} takes records of {takes} bytes, but those of {self._source} have up to {largest}"
            f"{f', and a dead letter {room} more for its headers' if room else ''}; raise it: kafka-configs.sh --alter "
            f"--entity-type topics --entity-name {name} --add-config max.message.bytes={largest + room}"
        )

    def _check_retention(self, name: str, target: dict[str, str], source: dict[str, str]) -> None:
        keeps, kept = _number(target, "retention.ms"), _number(source, "retention.ms")
        if keeps is None or kept is None or keeps == UNLIMITED or (keeps >= kept and kept != UNLIMITED):
            return
        logger.warning(
            "topic %s keeps its records for %d ms, %s for %s: what is read late may be gone; set retention.ms",
            name,
            keeps,
            self._source,
            "ever" if kept == UNLIMITED else f"{kept} ms",
        )


def _number(settings: dict[str, str], name: str) -> int | None:
    return int(settings[name]) if name in settings else None


NO_LIMITS: Final = SizeLimits(None, None)


class OutputWriter:
    """
    Write batches, one at a time; after a failure not before some time has passed.

    Args:
        transactional_id: under which a batch and its offsets are one
            transaction; None for offsets that follow.
    """

    def __init__(
        self, kafka: Config, consumer: Consumer, targets: OutputTopics, *, topic: str, transactional_id: str | None
    ) -> None:
        self._kafka = kafka
        self._consumer = consumer
        self._targets = targets
        self._topic = topic
        self._transactional_id = transactional_id
        self._room: int | None = None
        self._backoff = Backoff()
        self._writing = self._create_delivery(NO_LIMITS)  # so that a wrong configuration is told at once

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to write by."""
        return self._writing.is_open

    @property
    def is_ready(self) -> bool:
        """Whether a batch may be written now."""
        return self._writing.is_open and self._backoff.is_due

    @property
    def producers_created(self) -> int:
        """How many producers it took so far."""
        return self._writing.producers_created

    def set_limits(self, limits: SizeLimits) -> None:
        """Write no more at once than the targets take."""
        self._writing = self._create_delivery(limits)
        self._room = limits.dead_letter

    def connect(self) -> None:
        """
        Connect if need be and if it is time; when Kafka is away, try again later.

        Raises:
            ConfigurationError: nothing heals by waiting.
        """
        if self._writing.is_open or not self._backoff.is_due:
            return
        try:
            self._writing.open()
        except BrokerUnavailable as error:
            logger.warning("waiting: %s", error)
            self._backoff.next_delay()

    def write(
        self, batch: ValidatorBatch, topic_id: str | None, while_in_flight: Callable[[], object]
    ) -> Interrupted | None:
        """
        Write a batch and commit its offsets; what kept it from that, if it is to go on from the committed offsets.

        Args:
            while_in_flight: called once, while the records are on their way; raises nothing.

        Raises:
            ConfigurationError: nothing heals by waiting.
        """
        try:
            self._writing.write(self._outgoing(batch, topic_id), batch.offsets, while_in_flight)
        except Interrupted as error:
            logger.warning("going on from the committed offsets: %s", error)
            self._backoff.next_delay()
            return error
        self._backoff.reset()
        return None

    def close(self) -> None:
        """Let go of the connection."""
        self._writing.close()

    def _create_delivery(self, limits: SizeLimits) -> Delivery:
        if self._transactional_id is None:
            return AtLeastOnceDelivery(self._kafka, self._consumer, limits=limits.properties)
        return TransactionalDelivery(
            self._kafka,
            self._consumer,
            topic=self._topic,
            transactional_id=self._transactional_id,
            limits=limits.properties,
        )

    def _outgoing(self, batch: ValidatorBatch, topic_id: str | None) -> OutgoingRecords:
        now = int(time.time() * 1000)
        group, room = self._consumer.group, self._room
        letters = [
            refusal.record._replace(
                timestamp=now, headers=build_headers(refusal, topic_id=topic_id, group=group, room=room)
            )
            for refusal in batch.refusals
        ]
        return {Destination(self._targets.clean): batch.passed, Destination(self._targets.dead_letters): letters}
