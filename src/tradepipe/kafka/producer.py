"""Idempotent producer for one topic: back-pressure, delivery reports, recovery from fatal errors."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.clients import create_client
from tradepipe.kafka.config import Config, producer_config
from tradepipe.kafka.failures import NOT_IN_LOG, FailureClass, classify, translate, unwrap
from tradepipe.kafka.librdkafka import (
    LOG_LEVEL,
    LOG_SUPPRESSION_SECONDS,
    ConnectionLog,
    FirstContact,
    may_interrupt_requests,
)
from tradepipe.kafka.outage import OutageLog
from tradepipe.names import check_topic
from tradepipe.plural import format_count

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
"""Seconds of one poll of the background thread, which ends after the poll in which the producer is stopped."""

WAIT_SECONDS: Final = 0.005
"""Seconds between two looks at the queue, while waiting for free space in it or for its end."""

SERVE_EVERY: Final = 256
"""Records after which the sending thread serves the client's events."""

SERVED_SECONDS: Final = 0.05
"""Seconds for which the background thread leaves the events to the threads that send."""

PURGE_TIMEOUT: Final = 5.0
"""Seconds to wait for the reports of purged records."""

REQUEST_TIMEOUT: Final = 5.0
"""Seconds to wait for the topic's configuration."""


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

    A background thread serves the client's events, so failures are known without a
    further call. While much is sent, the sending threads serve them instead: the
    interpreter would change threads for every acknowledgement otherwise. All methods
    may be called by several threads at once.

    Args:
        request_timeout: seconds to wait for the topic's configuration.
    """

    def __init__(self, config: Config, *, topic: str, request_timeout: float = REQUEST_TIMEOUT) -> None:
        check_topic(topic)
        self._config = producer_config(config)
        self._given = dict(config)
        self._config["log_level"] = max(LOG_LEVEL, int(self._config.get("log_level", LOG_LEVEL)))
        self._topic = topic
        self._request_timeout = request_timeout
        self._opening = threading.Lock()
        # Held while a record is queued and while a client is retired: a record that was queued after the purge would
        # never be reported. Only its owner can release it.
        self._lock = threading.RLock()
        # Held while the events of a client are served, and before `_lock` while one is retired: a report that another
        # thread receives after that would be lost.
        self._serving = threading.Lock()
        self._is_served = False
        """Whether a thread that sends has served events, or was about to, since the background thread last looked."""
        self._client: confluent_kafka.Producer | None = None
        self._client_failure: str | None = None
        self._retire_reason: str | None = None
        self._sent_since_empty = 0
        self._limits: dict[str, int] | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        """Whether records are refused."""
        self._is_stopped = False
        """Whether the background thread ends."""
        # A deque, whose append and popleft are atomic: reports are added and taken in different threads.
        self.undelivered: deque[Undelivered] = deque()
        """The records that failed since the last `take_undelivered`."""
        self._connection_log = ConnectionLog()
        self._outage_log = OutageLog(topic, count_waiting=self.__len__)
        self._last_lost_at = float("-inf")
        self._contact = FirstContact()

    def __len__(self) -> int:
        """Return the number of records that are sent and neither acknowledged nor failed."""
        with self._lock:
            if self._client is None:
                return 0
            # librdkafka also counts log messages and errors until they are served.
            waiting = len(self._client)
            self._sent_since_empty = min(waiting, self._sent_since_empty)
            return self._sent_since_empty

    def open(self, timeout: float | None = None) -> None:
        """
        Create the client, with batches no larger than the topic accepts.

        Raises:
            TopicUnusable: the topic does not exist.

            ConfigurationError: librdkafka rejects the configuration.

            RuntimeError: the producer is closed.
        """
        with self._opening:
            if self._client is not None:
                return
            if not self._limits or not self._contact.succeeded:
                self._limits = self._read_limits(min(timeout or self._request_timeout, self._request_timeout))
            with self._lock:
                if self._is_closed:
                    raise RuntimeError("the producer is closed")
                self._client = self._create_client(self._limits)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name="tradepipe-producer", daemon=True)
                    self._thread.start()

    def send(self, key: bytes | str, value: bytes | None, timeout: float | None = None) -> Undelivered | None:
        """
        Enqueue a record; if the queue is full, wait until it is not.

        Returns the record if librdkafka rejects it at once, for example as too large.

        Raises:
            BrokerUnavailable: the queue was full for `timeout` seconds; the record is not sent.

            RuntimeError: the producer is closed; the record is not sent.
        """
        sent = 0
        # Not `with`, which takes as long as a quarter of the rest. A signal may raise an exception after any call, also
        # after the one that has taken the lock.
        try:
            self._lock.acquire()
            if self._client is not None and self._client_failure is None and not self._is_closed:
                self._client.produce(self._topic, value, key)
                self._sent_since_empty = sent = self._sent_since_empty + 1
        except (BufferError, KafkaException):  # raised again by `send_many`
            pass
        finally:
            try:  # noqa: SIM105 - `suppress` takes longer than all of this
                self._lock.release()
            except RuntimeError:  # a signal came while another thread had the lock
                pass
        if sent:
            if not sent % SERVE_EVERY:
                self._serve_events(0)
            return None
        refused: list[Undelivered] = []
        if not self.send_many([(key, value)], refused, timeout=timeout):
            raise self.queue_full()
        return refused[0] if refused else None

    def send_many(
        self,
        records: Sequence[tuple[bytes | str, bytes | None]],
        refused: list[Undelivered],
        *,
        timeout: float | None = None,
    ) -> int:
        """
        Enqueue keys and values; while the queue is full, wait.

        Args:
            refused: takes the records that librdkafka rejects at once.

            timeout: seconds to wait each time; None waits without a limit.

        Returns:
            How many were enqueued or refused: all, or those before the first one for which the
            queue was full for `timeout` seconds.

        Raises:
            RuntimeError: the producer is closed; the records are not sent.
        """
        done, deadline = 0, None if timeout is None else time.monotonic() + timeout
        while True:
            if self._client is None:
                self.open(timeout)
            with self._lock:
                if self._is_closed:
                    raise RuntimeError("the producer is closed")
                if self._client is not None and self._client_failure is None:
                    done += self._enqueue(self._client, records[done:] if done else records, refused)
            if done == len(records) or (deadline is not None and not time.monotonic() < deadline):
                if done >= SERVE_EVERY:
                    self._serve_events(0)
                return done
            self._serve_events(WAIT_SECONDS)

    def queue_full(self) -> BrokerUnavailable:
        """Return the error of a record for which the queue was full for too long."""
        return BrokerUnavailable(
            f"the producer queue for topic {self._topic} is full: "
            f"{format_count(len(self), 'record')} not acknowledged in time"
        )

    def _enqueue(
        self,
        client: confluent_kafka.Producer,
        records: Sequence[tuple[bytes | str, bytes | None]],
        refused: list[Undelivered],
    ) -> int:
        """Enqueue records until the queue is full or the client fails; return how many are enqueued or refused."""
        topic, produce = self._topic, client.produce
        self._sent_since_empty += len(records)
        for done, (key, value) in enumerate(records):
            try:
                produce(topic, value, key)
            except BufferError:
                self._sent_since_empty -= len(records) - done
                return done
            except KafkaException as error:
                cause = unwrap(error)
                if classify(cause) is FailureClass.FATAL:
                    self._client_failure = _describe_fatal(cause)
                    self._sent_since_empty -= len(records) - done
                    return done
                self._sent_since_empty -= 1
                refused.append(Undelivered(_bytes(key), value, _format_reason(cause), refused=True))
        return len(records)

    def flush(self, timeout: float | None) -> int:
        """Wait until every record is delivered or failed; return the number left after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (left := len(self)) and (deadline is None or time.monotonic() < deadline):
            self._serve_events(WAIT_SECONDS)
        return left

    def take_undelivered(self) -> list[Undelivered]:
        """Return the records that failed since the last call."""
        failed = []
        while self.undelivered:
            try:
                failed.append(self.undelivered.popleft())
            except IndexError:  # another thread has taken the last one
                break
        return failed

    def stop_accepting(self) -> None:
        """Refuse further records; those that are enqueued are still delivered."""
        with self._lock:
            self._is_closed = True

    def abandon(self, reason: str) -> None:
        """Close the producer, and abandon all unacknowledged records; each of them may be in the log."""
        with self._lock:
            self._is_closed = self._is_stopped = True
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._serving, self._lock:
            self._retire_client(reason)

    def stop(self) -> int:
        """Close the producer without locking, as a finalizer must; return the number of lost records."""
        self._is_closed = self._is_stopped = True
        lost = min(len(self._client), self._sent_since_empty) if self._client is not None else 0
        # A thread inside librdkafka while the interpreter is torn down may crash the process.
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10 * POLL_SECONDS)
        return lost

    def _serve(self) -> None:
        """Serve the client's events until the producer is stopped."""
        while not self._is_stopped:
            client = self._client
            if client is None:
                time.sleep(POLL_SECONDS)
                continue
            try:
                if self._is_served:
                    self._is_served = False
                    time.sleep(SERVED_SECONDS)
                else:
                    with self._serving:
                        self._poll(client, POLL_SECONDS)
                if self._outage_log.check(client):
                    self._contact.succeeded = True
            except Exception:  # without this thread no failure would ever be reported
                logger.exception("could not serve the Kafka producer; retrying")
            with self._lock:
                if not len(client):
                    self._sent_since_empty = 0
            if self._client_failure is not None:
                with self._serving, self._lock:
                    logger.warning("recreating the Kafka producer: %s", self._client_failure)
                    self._retire_client(f"abandoned: {self._client_failure}")

    def _serve_events(self, timeout: float) -> None:
        """Serve the client's events from a thread that sends, or wait if another one serves them."""
        self._is_served = True
        # Not an attempt to take the lock: a signal could raise an exception before the `try` that releases it. If
        # another thread takes it now, this one waits for a single poll.
        if self._client is not None and not self._serving.locked():
            with self._serving:
                # The records of a client that has failed are reported with the reason, once it is retired.
                if (client := self._client) is not None and self._client_failure is None:
                    self._poll(client, timeout)
        elif timeout:
            time.sleep(timeout)

    def _retire_client(self, reason: str) -> None:
        """Abandon the client and its records; the caller has both locks, so no other thread polls the client."""
        client, self._client = self._client, None
        if client is not None:
            self._retire_reason = reason
            client.purge()
            deadline = time.monotonic() + PURGE_TIMEOUT
            while len(client) and time.monotonic() < deadline:
                self._poll(client, WAIT_SECONDS)
        self._retire_reason = self._client_failure = None
        self._sent_since_empty = 0

    def _create_client(self, limits: dict[str, int]) -> confluent_kafka.Producer:
        callbacks = {"on_delivery": self._on_report, "error_cb": self._on_error, "logger": self._connection_log}
        return create_client(confluent_kafka.Producer, {**limits, **self._config, **callbacks})

    def _read_limits(self, timeout: float) -> dict[str, int]:
        """
        Return batch sizes that the topic accepts: librdkafka never splits a batch that the broker finds too large.

        If the broker is unavailable, librdkafka's defaults are used: they equal the broker's.
        """
        topics = TopicAdmin(self._given, request_timeout=timeout)
        try:
            topics.describe(self._topic)
            self._contact.succeeded = True
            largest = topics.max_message_bytes(self._topic)
        except BrokerUnavailable as error:
            self._outage_log.begin(str(error))
            return {}
        finally:
            topics.close()  # an exception's traceback keeps it
        if largest is None:
            return {}
        return {"message.max.bytes": max(largest, 1_000), "batch.size": min(largest, 1_000_000)}

    def _poll(self, client: confluent_kafka.Producer, timeout: float) -> None:
        try:
            client.poll(timeout)
        except (KafkaException, SystemError) as error:  # confluent_kafka may wrap a fatal error in a SystemError
            self._client_failure = _describe_fatal(unwrap(error))

    def _on_report(self, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is None:
            return
        produced_at = time.monotonic() - (message.latency() or 0.0)
        # An earlier attempt may have written the record if its connection broke after the record was produced. A second
        # break within the suppression time is not reported, so the first one counts until that time has passed.
        lost_at = max(self._last_lost_at, self._connection_log.last_lost_at)
        refused = error.code() in NOT_IN_LOG and produced_at > lost_at + LOG_SUPPRESSION_SECONDS
        reason = _format_reason(error) if refused or self._retire_reason is None else self._retire_reason
        self.undelivered.append(Undelivered(message.key(), message.value(), reason, refused))

    def _on_error(self, error: KafkaError) -> None:
        """Handle an error that librdkafka reports inside poll."""
        self._contact.record_error(error)
        if permanent := self._contact.permanent_error():
            self._client_failure = str(permanent)
        self._outage_log.suspect(self._contact.last_error or error.str())
        if error.code() != KafkaError._ALL_BROKERS_DOWN and may_interrupt_requests(error.str()):
            self._last_lost_at = time.monotonic()


def _describe_fatal(error: KafkaError) -> str:
    return str(translate(error, "fatal error"))


def _format_reason(error: KafkaError) -> str:
    return f"{error.str()} ({error.name()})"


def _bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key
