"""Records written first, and the offsets they came from committed when all are acknowledged."""

import logging
import time
from collections.abc import Mapping
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import BrokerAway
from tradepipe.kafka.client import Config, beside_consumer, producer_config
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.failures import FailureClass, classify, error_of, failure
from tradepipe.kafka.writing import Interrupted, Outgoing, not_taken, put

logger = logging.getLogger(__name__)

PATIENCE: Final = 60.0
"""Seconds to wait for acknowledgements; then the records are written again, from the committed offsets on."""

STEP: Final = 0.1


class Acknowledged:
    """
    Write records, then commit the offsets they came from: nothing is lost.

    A process that dies between the two has its records written again by the
    next one, so the topics may hold some twice.
    """

    def __init__(self, config: Config, consumer: Consumer, *, limits: Mapping[str, int]) -> None:
        self._config = {**limits, **producer_config(beside_consumer(config))}
        self._consumer = consumer
        self._client: confluent_kafka.Producer | None = None
        self._undelivered: tuple[KafkaError, str | None] | None = None
        self.commits = 0
        self.aborts = 0
        self.made = 0

    @property
    def is_open(self) -> bool:
        return self._client is not None

    def open(self) -> None:
        """Make the client; it connects by itself."""
        try:
            self._client = confluent_kafka.Producer({**self._config, "on_delivery": self._on_report})
        except KafkaException as error:
            raise failure(error_of(error), "Kafka's client cannot be configured so") from error
        self.made += 1

    def write(self, outgoing: Outgoing, offsets: Mapping[int, int]) -> None:
        """
        Write, wait, commit.

        Raises:
            Interrupted: go on from the committed offsets; what was written is written again.

            Misconfigured: nothing heals by waiting.
        """
        assert self._client is not None, "open() comes before write()"
        self._undelivered = None
        try:
            put(self._client, outgoing)
            self._flush(self._client)
            self._consumer.commit(offsets)
        except BrokerAway as error:
            self.aborts += 1
            raise Interrupted(str(error)) from error
        except (KafkaException, SystemError) as error:
            raise self._undone(error_of(error), None) from error
        self.commits += 1

    def close(self) -> None:
        """Let go of the client; nothing is under way between two calls of `write`."""
        self._client = None

    def _flush(self, client: confluent_kafka.Producer) -> None:
        deadline = time.monotonic() + PATIENCE
        while left := client.flush(STEP):
            if self._undelivered is not None:
                break
            if time.monotonic() > deadline:
                self._discard()
                raise BrokerAway(f"{left} records were not acknowledged within {PATIENCE:.0f} s")
        if self._undelivered is not None:
            raise self._undone(*self._undelivered)

    def _undone(self, error: KafkaError, topic: str | None) -> Exception:
        self._discard()
        self.aborts += 1
        kind = classify(error)
        if kind is FailureClass.DATA:
            return not_taken(error, topic)
        if kind is FailureClass.CONFIGURATION:
            return failure(error, f"records cannot be written to {topic}" if topic else "records cannot be written")
        return Interrupted(error.str())

    def _discard(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.purge()

    def _on_report(self, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is not None and self._undelivered is None:
            self._undelivered = (error, message.topic())
