"""Output topics of the validator: configuration checks and writes."""

import logging
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from tradepipe.errors import BrokerUnavailable, ConfigurationError, TopicUnusable
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import Config
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.dead_letters import build_record
from tradepipe.kafka.delivery import AtLeastOnceDelivery, TransactionalDelivery
from tradepipe.kafka.send import Destination, Interrupted, Meanwhile
from tradepipe.outage import Backoff
from tradepipe.pipeline.validator_buffer import UNCHECKED_RECORD_BYTES, ValidatorBatch

logger = logging.getLogger(__name__)

HEADER_ALLOWANCE: Final = 16_384
"""Bytes that a dead letter may have in addition to its record, for the headers with the reasons."""

MAX_BATCH_SIZE: Final = 1_000_000
"""Bytes; librdkafka's own default."""

MAX_MESSAGE_SIZE: Final = 1_000_000_000
"""Bytes before compression, librdkafka's maximum: a topic's limit applies after compression."""

UNLIMITED: Final = -1

TIME_LIMIT: Final = "message.timestamp.after.max.ms"
"""Setting: milliseconds by which a record's time may be ahead of the broker's clock."""

NO_TIME_LIMIT: Final = 2**63 - 1


class SizeLimits(NamedTuple):
    """
    Record size limits in bytes; None where the brokers do not report them.

    `record` is the smaller limit of both topics, `dead_letter` that of the dead letters.
    """

    record: int | None
    dead_letter: int | None

    @property
    def properties(self) -> dict[str, int]:
        """The limits as librdkafka properties: it does not split a batch that the broker rejects as too large."""
        if self.record is None:
            return {}
        return {"message.max.bytes": MAX_MESSAGE_SIZE, "batch.size": min(self.record, MAX_BATCH_SIZE)}


def takes_times_of(output: Mapping[str, str], source: Mapping[str, str]) -> bool:
    """Return whether a topic with these settings takes the time of every record of its source."""
    if "LogAppendTime" in {each.get("message.timestamp.type") for each in (output, source)}:
        return True
    return int(output.get(TIME_LIMIT, NO_TIME_LIMIT)) >= int(source.get(TIME_LIMIT, 0))


class OutputTopics:
    """The topics of valid records and of dead letters."""

    def __init__(self, topics: TopicAdmin, *, source: str, clean: str, dead_letters: str) -> None:
        if len({source, clean, dead_letters}) < 3:
            raise ConfigurationError(
                f"a validator needs three different topics, not topic {source}, clean {clean} and dead letters "
                f"{dead_letters}"
            )
        self.clean = clean
        self.dead_letters = dead_letters
        self._topics = topics
        self._source = source

    def check(self) -> SizeLimits:
        """Check that the topics take and keep every record of the source (`TopicUnusable`); return their limits."""
        source = self._topic_config(self._source)
        clean, dead_letters = self._topic_config(self.clean), self._topic_config(self.dead_letters)
        # An output topic that rejects a record would stop the validator there for ever: check before reading.
        for name, output, allowance in ((self.clean, clean, 0), (self.dead_letters, dead_letters, HEADER_ALLOWANCE)):
            limit, largest = _number(output, "max.message.bytes"), _number(source, "max.message.bytes")
            if limit is not None and largest is not None and limit < largest + allowance:
                raise TopicUnusable(
                    f"topic {name} takes records of {limit} bytes, but those of {self._source} have up to {largest}"
                    f"{f', and a dead letter {allowance} more for its headers' if allowance else ''}; raise it: "
                    f"kafka-configs.sh --alter --entity-type topics --entity-name {name} "
                    f"--add-config max.message.bytes={largest + allowance}"
                )
            # Dead letters have the time at which they are written.
            if output is clean and not takes_times_of(clean, source):
                raise TopicUnusable(
                    f"topic {name} takes no records whose time is {clean[TIME_LIMIT]} ms ahead of the clock, and "
                    f"{self._source} does; raise it: "
                    f"kafka-configs.sh --alter --entity-type topics --entity-name {name} "
                    f"--add-config {TIME_LIMIT}={NO_TIME_LIMIT}"
                )
            keeps, source_keeps = _number(output, "retention.ms"), _number(source, "retention.ms")
            if keeps is None or source_keeps is None or keeps == UNLIMITED:
                continue
            if source_keeps == UNLIMITED or source_keeps > keeps:
                logger.warning(
                    "topic %s keeps its records for %d ms, but %s %s: records that are read late may be lost; set "
                    "retention.ms",
                    name,
                    keeps,
                    self._source,
                    "for ever" if source_keeps == UNLIMITED else f"for {source_keeps} ms",
                )
        limits = [_number(output, "max.message.bytes") for output in (clean, dead_letters)]
        return SizeLimits(min((limit for limit in limits if limit is not None), default=None), limits[1])

    def are_empty(self) -> bool:
        """Return whether neither topic holds a record."""
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


def _number(settings: dict[str, str], name: str) -> int | None:
    return int(settings[name]) if name in settings else None


NO_LIMITS: Final = SizeLimits(None, None)


class OutputWriter:
    """
    Write batches, one at a time, and back off after a failure.

    Args:
        transactional_id: id of the transactions that hold a batch and its
            offsets; None commits the offsets after the batch.
    """

    def __init__(
        self, kafka: Config, consumer: Consumer, outputs: OutputTopics, *, topic: str, transactional_id: str | None
    ) -> None:
        self._kafka = kafka
        self._consumer = consumer
        self._outputs = outputs
        self._topic = topic
        self._transactional_id = transactional_id
        self._dead_letter_limit = UNCHECKED_RECORD_BYTES
        self._backoff = Backoff()
        self.kafka_problem: BrokerUnavailable | None = None
        """Why the producer cannot be connected."""
        self._delivery = self._create_delivery(NO_LIMITS)  # at construction: reports an invalid configuration at once

    @property
    def is_ready(self) -> bool:
        """Whether a batch can be written now."""
        return self._delivery.is_open and self._backoff.is_due

    @property
    def producers_created(self) -> int:
        """How many producers were created so far."""
        return self._delivery.producers_created

    def set_limits(self, limits: SizeLimits) -> None:
        """Recreate the producer with the size limits of the topics."""
        self._delivery = self._create_delivery(limits)
        self._dead_letter_limit = limits.dead_letter or UNCHECKED_RECORD_BYTES

    def connect(self) -> None:
        """Connect if necessary; if Kafka is unavailable, back off until a later call. Raises as `write`."""
        if self._delivery.is_open or not self._backoff.is_due:
            return
        try:
            self._delivery.open()
        except BrokerUnavailable as error:
            self._backoff.next_delay()
            self.kafka_problem = error
        else:
            self.kafka_problem = None

    def write(self, batch: ValidatorBatch, topic_id: str | None, meanwhile: Meanwhile) -> Interrupted | None:
        """
        Write a batch and commit its offsets.

        Args:
            meanwhile: work that overlaps with the brokers'.

        Returns:
            None after the commit; else the interruption, after which the group's
            committed offsets show whether the batch took effect.

        Raises:
            ConfigurationError: waiting would not help.
        """
        # A dead letter carries its own time: with the record's, retention could delete it before anyone sees it.
        now = int(time.time() * 1000)
        group, limit = self._consumer.group, self._dead_letter_limit
        dead_letters = [
            build_record(refusal, topic_id=topic_id, group=group, max_bytes=limit)._replace(timestamp=now)
            for refusal in batch.refusals
        ]
        clean, refused = Destination(self._outputs.clean), Destination(self._outputs.dead_letters)
        try:
            self._delivery.write({clean: batch.passed, refused: dead_letters}, batch.offsets, meanwhile)
        except Interrupted as error:
            logger.warning("transaction interrupted, resuming from the committed offsets: %s", error)
            self._backoff.next_delay()
            return error
        if self._backoff.failures:
            self._backoff.reset()
        return None

    def close(self) -> None:
        """Close the connection."""
        self._delivery.close()

    def _create_delivery(self, limits: SizeLimits) -> TransactionalDelivery | AtLeastOnceDelivery:
        if self._transactional_id is None:
            return AtLeastOnceDelivery(self._kafka, self._consumer, limits=limits.properties)
        return TransactionalDelivery(
            self._kafka,
            self._consumer,
            topic=self._topic,
            transactional_id=self._transactional_id,
            limits=limits.properties,
        )
