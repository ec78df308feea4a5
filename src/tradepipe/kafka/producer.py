"""Idempotent producer for one topic: back-pressure, delivery reports, recovery from fatal errors."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import Config, producer_config
from tradepipe.kafka.failures import FailureClass, classify, translate, unwrap
from tradepipe.kafka.librdkafka import (
    LOG_LEVEL,
    LOG_SUPPRESSION_SECONDS,
    OUTAGE_LOG_INTERVAL,
    ConnectionLog,
    FirstContact,
    may_interrupt_requests,
)

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
"""Seconds of one poll; deadlines and signals are checked between two."""

PURGE_TIMEOUT: Final = 5.0
"""Seconds to wait for the reports of purged records."""

REQUEST_TIMEOUT: Final = 5.0
"""Seconds to wait for the topic's configuration."""

_NOT_IN_LOG: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
"""Errors after which a record is not in the log, unless an earlier attempt may have written it."""


class Undelivered(NamedTuple):
    """A record that was not acknowledged; if `refused`, it is certainly not in the log."""

    key: bytes | None
    value: bytes | None
    reason: str
    refused: bool


class IdempotentProducer:
    """
    Send records to one topic; each acknowledged record is in the log exactly once.

    librdkafka retries without a time limit; `take_undelivered` returns the records
    that it could not deliver. After a fatal error, the client and its unacknowledged
    records are abandoned, and a new client is created. The same happens if the brokers
    reject the credentials, unless an earlier connection succeeded: that is an outage.

    Args:
        request_timeout: seconds to wait for the topic's configuration.
    """

    def __init__(self, config: Config, *, topic: str, request_timeout: float = REQUEST_TIMEOUT) -> None:
        self._given = dict(config)
        self._config = producer_config(config)
        self._config["log_level"] = max(LOG_LEVEL, int(self._config.get("log_level", LOG_LEVEL)))
        self._topic = topic
        self._request_timeout = request_timeout
        self._client: confluent_kafka.Producer | None = None
        self._opening = threading.Lock()
        self._undelivered: list[Undelivered] = []
        self._connection_log = ConnectionLog()
        self._last_error_at = float("-inf")
        self._last_lost_at = float("-inf")
        self._client_failure: str | None = None
        self._contact = FirstContact()

    def __len__(self) -> int:
        return len(self._client) if self._client is not None else 0

    def open(self) -> None:
        """
        Create the client, with batches no larger than the topic accepts.

        Raises:
            TopicUnusable: the topic does not exist.

            ConfigurationError: librdkafka rejects the configuration.
        """
        with self._opening:
            if self._client is None:
                limits = self._limits()
                self._client = self._create_client(limits)

    def send(self, key: bytes | str, value: bytes | None, *, timeout: float | None = None) -> Undelivered | None:
        """
        Enqueue a record; if the queue is full, wait until it is not.

        Returns the record if librdkafka rejects it at once, for example as too large.

        Raises:
            BrokerUnavailable: the queue was full for `timeout` seconds; the record is not sent.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            client = self._require_client()
            try:
                client.produce(self._topic, value, key)
            except BufferError:
                self._wait_for_space(client, deadline)
            except KafkaException as error:
                cause = unwrap(error)
                if classify(cause) is not FailureClass.FATAL:
                    return Undelivered(_bytes(key), value, _format_reason(cause), refused=True)
                self._client_failure = _describe_fatal(cause)
            else:
                self._poll(client, 0)
                return None

    def flush(self, timeout: float | None) -> int:
        """Wait until every record is delivered or failed; return the number left after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (left := len(self)) and (deadline is None or time.monotonic() < deadline):
            self._replace_failed_client()
            if self._client is not None:
                self._poll(self._client, POLL_SECONDS)
        return left

    def take_undelivered(self) -> list[Undelivered]:
        """Return the records that failed since the last call."""
        failed, self._undelivered = self._undelivered, []
        return failed

    def abandon(self, reason: str) -> None:
        """Abandon all unacknowledged records; each of them may be in the log."""
        client, self._client = self._client, None
        if client is None:
            return
        before = len(self._undelivered)
        client.purge()
        deadline = time.monotonic() + PURGE_TIMEOUT
        while len(client) and time.monotonic() < deadline:
            _catch_fatal(lambda: client.poll(POLL_SECONDS))
        for number in range(before, len(self._undelivered)):
            if not self._undelivered[number].refused:
                self._undelivered[number] = self._undelivered[number]._replace(reason=reason)

    def _require_client(self) -> confluent_kafka.Producer:
        self._replace_failed_client()
        if self._client is None:
            self.open()
        assert self._client is not None
        return self._client

    def _replace_failed_client(self) -> None:
        if self._client_failure is not None:
            reason, self._client_failure = self._client_failure, None
            logger.warning("recreating the Kafka producer: %s", reason)
            self.abandon(f"abandoned: {reason}")

    def _create_client(self, limits: dict[str, int]) -> confluent_kafka.Producer:
        callbacks = {"on_delivery": self._on_report, "error_cb": self._on_error, "logger": self._connection_log}
        try:
            return confluent_kafka.Producer({**limits, **self._config, **callbacks})
        except KafkaException as error:
            raise translate(unwrap(error), "invalid Kafka client configuration") from error

    def _limits(self) -> dict[str, int]:
        """
        Return batch sizes that the topic accepts: librdkafka never splits a batch that the broker finds too large.

        If the broker is unavailable, librdkafka's defaults are used: they equal the broker's.
        """
        topics = TopicAdmin(self._given, request_timeout=self._request_timeout)
        try:
            topics.describe(self._topic)
            self._contact.succeeded = True
            largest = topics.max_message_bytes(self._topic)
        except BrokerUnavailable as error:
            logger.warning("Kafka unavailable, records are sent once it is available: %s", error)
            return {}
        if largest is None:
            return {}
        return {"message.max.bytes": max(largest, 1_000), "batch.size": min(largest, 1_000_000)}

    def _wait_for_space(self, client: confluent_kafka.Producer, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise BrokerUnavailable(
                f"the producer queue for topic {self._topic} is full: "
                f"none of its {len(client)} records was acknowledged in time"
            )
        self._poll(client, POLL_SECONDS)

    def _poll(self, client: confluent_kafka.Producer, timeout: float) -> None:
        error = _catch_fatal(lambda: client.poll(timeout))
        if error is not None:
            self._client_failure = _describe_fatal(error)

    def _on_report(self, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is None:
            return
        produced_at = time.monotonic() - (message.latency() or 0.0)
        # An earlier attempt may have written the record if its connection broke after the record was produced. A second
        # break within the suppression time is not reported, so the first one counts until that time has passed.
        lost_at = max(self._last_lost_at, self._connection_log.last_lost_at)
        refused = error.code() in _NOT_IN_LOG and produced_at > lost_at + LOG_SUPPRESSION_SECONDS
        self._undelivered.append(Undelivered(message.key(), message.value(), _format_reason(error), refused))

    def _on_error(self, error: KafkaError) -> None:
        """Handle an error that librdkafka reports inside poll."""
        self._contact.record_error(error)
        if permanent := self._contact.permanent_error():
            self._client_failure = str(permanent)
        now = time.monotonic()
        if now - self._last_error_at > OUTAGE_LOG_INTERVAL:
            logger.warning("Kafka reported an error, retrying: %s", error.str())
        self._last_error_at = now
        if error.code() != KafkaError._ALL_BROKERS_DOWN and may_interrupt_requests(error.str()):
            self._last_lost_at = now


def _catch_fatal(serve: Callable[[], object]) -> KafkaError | None:
    """Call `serve`; return the fatal error if it raises one, possibly wrapped in a SystemError."""
    try:
        serve()
    except (KafkaException, SystemError) as error:
        return unwrap(error)
    return None


def _describe_fatal(error: KafkaError) -> str:
    return str(translate(error, "fatal error"))


def _format_reason(error: KafkaError) -> str:
    return f"{error.str()} ({error.name()})"


def _bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key
