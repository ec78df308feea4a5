"""Records written first, and the offsets they came from committed when all are acknowledged."""

from collections.abc import Callable, Mapping
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import BrokerAway
from tradepipe.kafka.client import Config, beside_consumer, producer_config
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.failures import FailureClass, classify, error_of, failure
from tradepipe.kafka.writing import Interrupted, Outgoing, Reports, flush, not_taken, put

PATIENCE: Final = 60.0
"""Seconds to wait for acknowledgements; then the records are written again, from the committed offsets on."""


class AtLeastOnce:
    """
    Write records, then commit the offsets they came from: nothing is lost.

    A process that dies between the two has its records written again by the
    next one, so the topics may hold some twice.
    """

    def __init__(self, config: Config, consumer: Consumer, *, limits: Mapping[str, int]) -> None:
        self._config = {**limits, **producer_config(beside_consumer(config))}
        self._consumer = consumer
        self._client: confluent_kafka.Producer | None = None
        self._reports = Reports()
        self.made = 0

    @property
    def is_open(self) -> bool:
        return self._client is not None

    def open(self) -> None:
        """Make the client; it connects by itself."""
        self._reports = Reports()
        try:
            self._client = confluent_kafka.Producer({**self._config, "on_delivery": self._reports})
        except KafkaException as error:
            raise failure(error_of(error), "Kafka's client cannot be configured so") from error
        self.made += 1

    def write(self, outgoing: Outgoing, offsets: Mapping[int, int], meanwhile: Callable[[], object]) -> None:
        """
        Write, wait, commit.

        Raises:
            Interrupted: go on from the committed offsets; what was written is written again.

            Misconfigured: nothing heals by waiting.
        """
        assert self._client is not None, "open() comes before write()"
        try:
            put(self._client, outgoing, self._reports)
            meanwhile()
            flush(self._client, self._reports, seconds=PATIENCE)
        except (KafkaException, SystemError) as error:
            raise self._undone(*self._reports.undelivered or (error_of(error), None)) from error
        if self._reports.undelivered is not None:
            raise self._undone(*self._reports.undelivered)
        try:
            self._consumer.commit(offsets)
        except BrokerAway as error:
            raise Interrupted(str(error)) from error

    def close(self) -> None:
        """Let go of the client; nothing is under way between two calls of `write`."""
        self._client = None

    def _undone(self, error: KafkaError, topic: str | None) -> Exception:
        """Give the client up, as what it holds is written again by another; what to raise."""
        if self._client is not None:
            client, self._client = self._client, None
            client.purge()
        kind = classify(error)
        if kind is FailureClass.DATA:
            return not_taken(error, topic)
        if kind is FailureClass.CONFIGURATION:
            return failure(error, f"records cannot be written to {topic}" if topic else "records cannot be written")
        return Interrupted(error.str())
