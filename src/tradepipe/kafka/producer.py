"""Records on their way into the log: back-pressure, delivery reports, a client that is made anew when it is lost."""

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
"""Seconds between two looks at a deadline, or for a signal."""

PURGE_TIMEOUT: Final = 5.0

REQUEST_TIMEOUT: Final = 5.0
"""Seconds to ask how much the topic takes."""

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
"""Verdicts after which a record is not in the log, unless an earlier try of it may have got through."""


class Undelivered(NamedTuple):
    """A record that was not acknowledged; `refused` says that it is certainly not in the log."""

    key: bytes | None
    value: bytes | None
    reason: str
    refused: bool


class IdempotentProducer:
    """
    Send records to one topic, each into the log once if it is acknowledged.

    librdkafka keeps trying for as long as it takes; what it gives up is told by
    `undelivered`. A client that reports a fatal error is given up with all it
    had in hand, and another one takes its place. So is one that the brokers do
    not let in, unless they have let us in before: then it is tried on.

    Args:
        request_timeout: seconds to ask how much the topic takes.
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
        Make the client, with batches no larger than the topic takes.

        Raises:
            TopicUnusable: there is no such topic.

            ConfigurationError: librdkafka refuses the configuration.
        """
        with self._opening:
            if self._client is None:
                limits = self._limits()
                self._client = self._create_client(limits)

    def send(self, key: bytes | str, value: bytes | None, *, timeout: float | None = None) -> Undelivered | None:
        """
        Put a record into the queue; where that is full, wait for room.

        Returns the record when it is refused on the spot, as one too large is.

        Raises:
            BrokerUnavailable: there was no room within `timeout` seconds; the record is not sent.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            client = self._require_client()
            try:
                client.produce(self._topic, value, key)
            except BufferError:
                self._wait_for_space(client, deadline)
            except KafkaException as error:
                told = unwrap(error)
                if classify(told) is not FailureClass.FATAL:
                    return Undelivered(_bytes(key), value, _format_reason(told), refused=True)
                self._client_failure = _describe_fatal(told)
            else:
                self._poll(client, 0)
                return None

    def flush(self, timeout: float | None) -> int:
        """Wait until every record is acknowledged or given up; the number left after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (left := len(self)) and (deadline is None or time.monotonic() < deadline):
            self._replace_failed_client()
            if self._client is not None:
                self._poll(self._client, POLL_SECONDS)
        return left

    def take_undelivered(self) -> list[Undelivered]:
        """The records that failed since the last call."""
        failed, self._undelivered = self._undelivered, []
        return failed

    def abandon(self, reason: str) -> None:
        """Give up all that is not acknowledged; each such record counts as possibly in the log."""
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
            told, self._client_failure = self._client_failure, None
            logger.warning("Kafka's client is made anew: %s", told)
            self.abandon(f"given up: {told}")

    def _create_client(self, limits: dict[str, int]) -> confluent_kafka.Producer:
        callbacks = {"on_delivery": self._on_report, "error_cb": self._on_error, "logger": self._connection_log}
        try:
            return confluent_kafka.Producer({**limits, **self._config, **callbacks})
        except KafkaException as error:
            raise translate(unwrap(error), "Kafka's client cannot be configured so") from error

    def _limits(self) -> dict[str, int]:
        """
        Batch sizes below what the topic takes: librdkafka never splits a batch that the broker finds too large.

        A broker that is away is not waited for: its defaults and librdkafka's agree.
        """
        topics = TopicAdmin(self._given, request_timeout=self._request_timeout)
        try:
            topics.describe(self._topic)
            self._contact.succeeded = True
            largest = topics.max_message_bytes(self._topic)
        except BrokerUnavailable as error:
            logger.warning("Kafka is away, sending as soon as it is back: %s", error)
            return {}
        if largest is None:
            return {}
        return {"message.max.bytes": max(largest, 1_000), "batch.size": min(largest, 1_000_000)}

    def _wait_for_space(self, client: confluent_kafka.Producer, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise BrokerUnavailable(
                f"the queue to topic {self._topic} is full: {len(client)} records wait, none was acknowledged in time"
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
        if refusal := self._contact.permanent_error():
            self._client_failure = str(refusal)
        now = time.monotonic()
        if now - self._last_error_at > OUTAGE_LOG_INTERVAL:
            logger.warning("Kafka reported an error, retrying: %s", error.str())
        self._last_error_at = now
        if error.code() != KafkaError._ALL_BROKERS_DOWN and may_interrupt_requests(error.str()):
            self._last_lost_at = now


def _catch_fatal(serve: Callable[[], object]) -> KafkaError | None:
    """librdkafka's fatal error, should serving callbacks bring one up; it may come wrapped in a SystemError."""
    try:
        serve()
    except (KafkaException, SystemError) as error:
        return unwrap(error)
    return None


def _describe_fatal(error: KafkaError) -> str:
    return str(translate(error, "it met a fatal error"))


def _format_reason(error: KafkaError) -> str:
    return f"{error.str()} ({error.name()})"


def _bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key
