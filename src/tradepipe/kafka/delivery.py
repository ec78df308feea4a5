"""Transactional and at-least-once delivery of the validator's records."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka.clients import create_client
from tradepipe.kafka.config import Config, producer_config, without_consumer_keys
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.failures import Confirmation, FailureClass, classify, translate, unwrap
from tradepipe.kafka.send import (
    DeliveryReports,
    Interrupted,
    Meanwhile,
    OutgoingRecords,
    enqueue,
    flush,
    record_rejected,
)
from tradepipe.kafka.transactions import Fenced, GroupOffsets, RecordRejected, TransactionAborted, Transactions

FENCED_LIMIT: Final = 3
FENCED_WINDOW_SECONDS: Final = 60.0
"""Fenced this often within the window, the process shares its `transactional.id` with another one."""


class TransactionalDelivery:
    """
    Write records and commit their source offsets in one transaction.

    If another process takes over the `transactional.id`, this one takes it back: the
    other is usually a member of the group that was believed dead. If that happens
    repeatedly, delivery stops.

    Args:
        limits: the topics' size limits, as librdkafka properties.
    """

    def __init__(
        self, config: Config, consumer: Consumer, *, topic: str, transactional_id: str, limits: Mapping[str, int]
    ) -> None:
        self._transactions = Transactions({**limits, **config}, transactional_id=transactional_id)
        self._consumer = consumer
        self._topic = topic
        self._id = transactional_id
        self._fenced_at: deque[float] = deque(maxlen=FENCED_LIMIT)
        self._confirmation = Confirmation()

    @property
    def is_open(self) -> bool:
        """Whether `write` may be called; if not, call `open` first."""
        return self._transactions.is_open

    @property
    def producers_created(self) -> int:
        """Number of Kafka clients created so far."""
        return self._transactions.producers_created

    def open(self) -> None:
        """
        Take over the `transactional.id`; its open transaction is completed or aborted before this returns.

        Raises:
            BrokerUnavailable: the same call may succeed later.

            ConfigurationError: waiting does not help.
        """
        try:
            self._transactions.open()
        except (Fenced, ConfigurationError) as error:
            self._check_permanent(error)
            raise BrokerUnavailable(str(error)) from error

    def write(self, outgoing: OutgoingRecords, offsets: Mapping[int, int], meanwhile: Meanwhile) -> None:
        """
        Write records and commit offsets of the consumer's topic in one transaction.

        Args:
            meanwhile: work that overlaps with the brokers'.

        Raises:
            Interrupted: the transaction is aborted or its outcome is unknown; resume from the committed offsets.

            ConfigurationError: the transaction is aborted; waiting does not help.
        """
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        # Before the transaction begins: without a member id it could only be aborted.
        try:
            group_metadata = self._consumer.group_metadata()
        except BrokerUnavailable as error:
            raise Interrupted(str(error), rolled_back=True) from error
        try:
            self._transactions.write(outgoing, GroupOffsets(places, group_metadata), meanwhile)
        except RecordRejected as error:
            raise record_rejected(error.error, error.topic) from error
        except (Fenced, ConfigurationError) as error:
            self._check_permanent(error)
            raise Interrupted(str(error)) from error
        except BrokerUnavailable as error:
            raise Interrupted(str(error), rolled_back=isinstance(error, TransactionAborted)) from error
        # Not after `open`: an id may be taken over without the right to write a single record.
        self._confirmation.record_success()

    def close(self) -> None:
        """Close the client; no transaction is open between two calls of `write`."""
        self._transactions.close()

    def _check_permanent(self, error: Fenced | ConfigurationError) -> None:
        """Raise an error that lasts: denied access, or two processes taking an id from each other."""
        if isinstance(error, ConfigurationError):
            if self._confirmation.confirm():
                raise error
            return
        now = time.monotonic()
        # Once or twice is normal: the group gave the partitions to another member while this one was frozen.
        self._fenced_at.append(now)
        if len(self._fenced_at) == FENCED_LIMIT and now - self._fenced_at[0] < FENCED_WINDOW_SECONDS:
            raise ConfigurationError(
                f"transactional.id {self._id} was taken from this process {FENCED_LIMIT} times within "
                f"{FENCED_WINDOW_SECONDS:.0f} s: another process uses the same id; "
                "give each process its own, or omit the option"
            ) from error


MEANWHILE_SECONDS: Final = 0.05
"""Seconds of other work while records are in flight; they are usually acknowledged by then."""

ACKNOWLEDGEMENT_TIMEOUT: Final = 60.0
"""Seconds to wait for acknowledgements; then the records are written again from the committed offsets."""


class AtLeastOnceDelivery:
    """
    Write records, then commit their source offsets: no record is lost.

    If a process dies between the two, the next one writes the records again, so the
    topics may contain duplicates.
    """

    def __init__(self, config: Config, consumer: Consumer, *, limits: Mapping[str, int]) -> None:
        self._config = {**limits, **producer_config(without_consumer_keys(config))}
        self._consumer = consumer
        self._client: confluent_kafka.Producer | None = None
        self._reports = DeliveryReports()
        self._confirmation = Confirmation()
        self.producers_created = 0

    @property
    def is_open(self) -> bool:
        return self._client is not None

    def open(self) -> None:
        """Create the client, which connects in the background."""
        self._reports = DeliveryReports()
        try:
            self._client = create_client(confluent_kafka.Producer, {**self._config, "on_delivery": self._reports})
        except ConfigurationError as error:
            if self._confirmation.confirm():
                raise
            raise BrokerUnavailable(str(error)) from error
        self.producers_created += 1

    def write(self, outgoing: OutgoingRecords, offsets: Mapping[int, int], meanwhile: Meanwhile) -> None:
        """
        Write records, wait for their acknowledgements, then commit offsets.

        Raises:
            Interrupted: resume from the committed offsets; records may be written again.

            ConfigurationError: waiting does not help.
        """
        assert self._client is not None, "open() comes before write()"
        try:
            enqueue(self._client, outgoing, self._reports)
            until = time.monotonic() + MEANWHILE_SECONDS
            # A poll could let the group take a partition away before its offset is committed.
            meanwhile(lambda: time.monotonic() > until, lambda: False)
            flush(self._client, self._reports, seconds=ACKNOWLEDGEMENT_TIMEOUT)
        # SystemError: confluent_kafka wraps a client's fatal error in one.
        except (KafkaException, SystemError) as error:
            raise self._discard(*self._reports.undelivered or (unwrap(error), None)) from error
        if self._reports.undelivered is not None:
            raise self._discard(*self._reports.undelivered)
        # Last: offsets committed before the acknowledgements would lose the records if the process died in between.
        try:
            self._confirmation(lambda: self._consumer.commit(offsets))
        except BrokerUnavailable as error:
            raise Interrupted(str(error)) from error

    def close(self) -> None:
        """Close the client; no record is in flight between two calls of `write`."""
        self._client = None

    def _discard(self, error: KafkaError, topic: str | None) -> Exception:
        """Discard the client, since a new one writes its records again; return the exception to raise."""
        if self._client is not None:
            client, self._client = self._client, None
            # Otherwise its records could still arrive after those that the next client writes again.
            client.purge()
        kind = classify(error)
        if kind is FailureClass.DATA:
            return record_rejected(error, topic)
        if kind is FailureClass.CONFIGURATION and self._confirmation.confirm():
            return translate(error, f"cannot write records to {topic}" if topic else "cannot write records")
        return Interrupted(error.str())
