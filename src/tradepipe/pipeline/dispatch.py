"""The writing half of a validator: what passed and what was refused into their topics, with the offsets."""

import logging
import time
from collections.abc import Callable
from typing import Final

from tradepipe.errors import BrokerAway
from tradepipe.kafka.at_least_once import AtLeastOnce
from tradepipe.kafka.client import Config
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.dead_letters import headers
from tradepipe.kafka.exactly_once import ExactlyOnce
from tradepipe.kafka.writing import Interrupted, Outgoing, Place, Writing
from tradepipe.pipeline.backoff import delay
from tradepipe.pipeline.targets import Limits, Targets
from tradepipe.pipeline.verdicts import Batch

logger = logging.getLogger(__name__)

NOTHING: Final = Limits(None, None)


class Dispatch:
    """
    Write batches, one at a time; after a failure not before some time has passed.

    Args:
        transactional_id: under which a batch and its offsets are one
            transaction; None for offsets that follow.
    """

    def __init__(
        self, kafka: Config, consumer: Consumer, targets: Targets, *, topic: str, transactional_id: str | None
    ) -> None:
        self._kafka = kafka
        self._consumer = consumer
        self._targets = targets
        self._topic = topic
        self._transactional_id = transactional_id
        self._room: int | None = None
        self._due = 0.0
        self._failed = 0
        self._writing = self._made(NOTHING)  # so that a wrong configuration is told at once

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to write by."""
        return self._writing.is_open

    @property
    def is_ready(self) -> bool:
        """Whether a batch may be written now."""
        return self._writing.is_open and time.monotonic() >= self._due

    @property
    def clients(self) -> int:
        """How many producers it took so far."""
        return self._writing.made

    def fit(self, limits: Limits) -> None:
        """Write no more at once than the targets take."""
        self._writing = self._made(limits)
        self._room = limits.letter

    def connect(self) -> None:
        """
        Connect if need be and if it is time; when Kafka is away, try again later.

        Raises:
            Misconfigured: nothing heals by waiting.
        """
        if self._writing.is_open or time.monotonic() < self._due:
            return
        try:
            self._writing.open()
        except BrokerAway as error:
            logger.warning("waiting: %s", error)
            self._put_off()

    def write(self, batch: Batch, topic_id: str | None, meanwhile: Callable[[], object]) -> Interrupted | None:
        """
        Write a batch and commit its offsets; what kept it from that, if it is to go on from the committed offsets.

        Args:
            meanwhile: called once, while the records are on their way; raises nothing.

        Raises:
            Misconfigured: nothing heals by waiting.
        """
        try:
            self._writing.write(self._outgoing(batch, topic_id), batch.offsets, meanwhile)
        except Interrupted as error:
            logger.warning("going on from the committed offsets: %s", error)
            self._put_off()
            return error
        self._failed = 0
        return None

    def close(self) -> None:
        """Let go of the connection."""
        self._writing.close()

    def _made(self, limits: Limits) -> Writing:
        if self._transactional_id is None:
            return AtLeastOnce(self._kafka, self._consumer, limits=limits.properties)
        return ExactlyOnce(
            self._kafka,
            self._consumer,
            topic=self._topic,
            transactional_id=self._transactional_id,
            limits=limits.properties,
        )

    def _outgoing(self, batch: Batch, topic_id: str | None) -> Outgoing:
        now = int(time.time() * 1000)
        group, room = self._consumer.group, self._room
        letters = [
            refusal.record._replace(timestamp=now, headers=headers(refusal, topic_id=topic_id, group=group, room=room))
            for refusal in batch.refusals
        ]
        return {Place(self._targets.clean): batch.passed, Place(self._targets.dead_letters): letters}

    def _put_off(self) -> None:
        self._due = time.monotonic() + delay(self._failed)
        self._failed += 1
