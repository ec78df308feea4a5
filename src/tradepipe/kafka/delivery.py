"""Delivery of a validator's records: exactly once by transactions, or at least once."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka.config import Config, producer_config, without_consumer_keys
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.failures import FailureClass, classify, translate, unwrap
from tradepipe.kafka.send import DeliveryReports, Interrupted, OutgoingRecords, enqueue, flush, record_rejected
from tradepipe.kafka.transactions import (
    AccessDenied,
    Fenced,
    GroupOffsets,
    RecordRejected,
    TransactionAborted,
    Transactions,
)

FENCED_OFTEN: Final = 3
FENCED_WITHIN: Final = 60.0
"""So often within so many seconds is no accident: two processes take the same `transactional.id` from each other."""

REFUSED_OFTEN: Final = 3
"""Times in a row that the brokers may refuse us."""

REFUSED_FOR: Final = 5.0
"""Seconds they may, if they have taken anything from us before: rights that are being changed heal."""


class TransactionalDelivery:
    """
    Write records and commit the offsets they came from, all of it or nothing.

    Whoever takes the `transactional.id` from us has it taken back, as it is a
    member of the same group that was thought dead; but not for ever.

    Args:
        limits: what the topics take, as librdkafka's properties.
    """

    def __init__(
        self, config: Config, consumer: Consumer, *, topic: str, transactional_id: str, limits: Mapping[str, int]
    ) -> None:
        self._transactions = Transactions({**limits, **config}, transactional_id=transactional_id)
        self._consumer = consumer
        self._topic = topic
        self._id = transactional_id
        self._fenced_at: deque[float] = deque(maxlen=FENCED_OFTEN)
        self._refused = 0
        self._refused_at = 0.0
        self._has_succeeded = False

    @property
    def is_open(self) -> bool:
        return self._transactions.is_open

    @property
    def producers_created(self) -> int:
        return self._transactions.producers_created

    def open(self) -> None:
        """
        Take over the `transactional.id`; what was open under it is settled before this returns.

        Raises:
            BrokerUnavailable: call it again later.

            ConfigurationError: nothing heals by waiting.
        """
        try:
            self._transactions.open()
        except (Fenced, AccessDenied) as error:
            self._check_repeated(error)
            raise BrokerUnavailable(str(error)) from error

    def write(
        self, outgoing: OutgoingRecords, offsets: Mapping[int, int], while_in_flight: Callable[[], object]
    ) -> None:
        """
        One transaction.

        Raises:
            Interrupted: it is undone, or nobody knows; the committed offsets tell.

            ConfigurationError: nothing heals by waiting; it is undone.
        """
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            membership = self._consumer.group_metadata()
        except BrokerUnavailable as error:
            raise Interrupted(str(error), rolled_back=True) from error
        try:
            self._transactions.write(outgoing, GroupOffsets(places, membership), while_in_flight)
        except RecordRejected as error:
            raise record_rejected(error.error, error.topic) from error
        except (Fenced, AccessDenied) as error:
            self._check_repeated(error)
            raise Interrupted(str(error)) from error
        except BrokerUnavailable as error:
            raise Interrupted(str(error), rolled_back=isinstance(error, TransactionAborted)) from error
        self._refused, self._has_succeeded = 0, True

    def close(self) -> None:
        """Let go of the client; nothing is open between two transactions."""
        self._transactions.close()

    def _check_repeated(self, error: Fenced | AccessDenied) -> None:
        """Stop rather than be refused, or take an id from each other, for ever."""
        now = time.monotonic()
        if isinstance(error, AccessDenied):
            self._refused_at = self._refused_at if self._refused else now
            self._refused += 1
            if self._refused >= REFUSED_OFTEN and now - self._refused_at >= REFUSED_FOR * self._has_succeeded:
                raise error
            return
        self._fenced_at.append(now)
        if len(self._fenced_at) == FENCED_OFTEN and now - self._fenced_at[0] < FENCED_WITHIN:
            raise ConfigurationError(
                f"transactional.id {self._id} was taken from this process {FENCED_OFTEN} times within "
                f"{FENCED_WITHIN:.0f} s: another process runs with the same; give each its own, or none"
            ) from error


ACKNOWLEDGEMENT_TIMEOUT: Final = 60.0
"""Seconds to wait for acknowledgements; then the records are written again, from the committed offsets on."""


class AtLeastOnceDelivery:
    """
    Write records, then commit the offsets they came from: nothing is lost.

    A process that dies between the two has its records written again by the
    next one, so the topics may hold some twice.
    """

    def __init__(self, config: Config, consumer: Consumer, *, limits: Mapping[str, int]) -> None:
        self._config = {**limits, **producer_config(without_consumer_keys(config))}
        self._consumer = consumer
        self._client: confluent_kafka.Producer | None = None
        self._reports = DeliveryReports()
        self.producers_created = 0

    @property
    def is_open(self) -> bool:
        return self._client is not None

    def open(self) -> None:
        """Make the client; it connects by itself."""
        self._reports = DeliveryReports()
        try:
            self._client = confluent_kafka.Producer({**self._config, "on_delivery": self._reports})
        except KafkaException as error:
            raise translate(unwrap(error), "Kafka's client cannot be configured so") from error
        self.producers_created += 1

    def write(
        self, outgoing: OutgoingRecords, offsets: Mapping[int, int], while_in_flight: Callable[[], object]
    ) -> None:
        """
        Write, wait, commit.

        Raises:
            Interrupted: go on from the committed offsets; what was written is written again.

            ConfigurationError: nothing heals by waiting.
        """
        assert self._client is not None, "open() comes before write()"
        try:
            enqueue(self._client, outgoing, self._reports)
            while_in_flight()
            flush(self._client, self._reports, seconds=ACKNOWLEDGEMENT_TIMEOUT)
        except (KafkaException, SystemError) as error:
            raise self._discard(*self._reports.undelivered or (unwrap(error), None)) from error
        if self._reports.undelivered is not None:
            raise self._discard(*self._reports.undelivered)
        try:
            self._consumer.commit(offsets)
        except BrokerUnavailable as error:
            raise Interrupted(str(error)) from error

    def close(self) -> None:
        """Let go of the client; nothing is under way between two calls of `write`."""
        self._client = None

    def _discard(self, error: KafkaError, topic: str | None) -> Exception:
        """Give the client up, as what it holds is written again by another; what to raise."""
        if self._client is not None:
            client, self._client = self._client, None
            client.purge()
        kind = classify(error)
        if kind is FailureClass.DATA:
            return record_rejected(error, topic)
        if kind is FailureClass.CONFIGURATION:
            return translate(error, f"records cannot be written to {topic}" if topic else "records cannot be written")
        return Interrupted(error.str())
