"""
Transactional writes of records and consumer offsets.

librdkafka uses the transaction protocol that precedes KIP-890: a repeated or late
request may end a later transaction than the one it was sent for. librdkafka repeats
requests without telling the caller, so any slow request or connection error puts the
producer in doubt. A producer in doubt starts no further transaction: a new one takes
over its `transactional.id`, which makes the brokers reject any late request of the
first.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tradepipe.background import run_in_thread
from tradepipe.errors import BrokerUnavailable
from tradepipe.kafka.clients import create_client
from tradepipe.kafka.config import Config, transactions_config
from tradepipe.kafka.failures import FailureClass, classify, translate, unwrap
from tradepipe.kafka.librdkafka import LOG_LEVEL, ConnectionLog
from tradepipe.kafka.send import DeliveryReports, Meanwhile, OutgoingRecords, do_nothing, enqueue, flush

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT: Final = 5.0
"""Seconds to wait for one call before repeating it."""

POLL_SECONDS: Final = 0.1
"""Seconds to wait for the reason of a fatal error."""

REQUESTS_PER_OFFSET_COMMIT: Final = 3
"""Sequential requests that sending offsets may take: for the coordinator, the group, and the offsets."""

_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_PURGED: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
_TIMEOUTS: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT})


class GroupOffsets(NamedTuple):
    """Offsets at which a group resumes after a transaction, and the sender's group metadata."""

    partitions: list[TopicPartition]
    group_metadata: bytes


class Fenced(Exception):
    """Another process has taken over the `transactional.id`; the open transaction is aborted."""


class RecordRejected(Exception):
    """A record was rejected permanently by its topic; the transaction is aborted."""

    def __init__(self, error: KafkaError, topic: str | None) -> None:
        self.error = error
        self.topic = topic
        super().__init__(f"{error.str()} ({error.name()})")


class TransactionAborted(BrokerUnavailable):
    """The brokers confirmed that the transaction is aborted."""


class Transactions:
    """
    Write records and offsets atomically.

    No transaction stays open between two calls of `write`. The next `open` completes or
    aborts what an interrupted transaction left.

    Attributes:
        producers_created: number of Kafka clients created so far.
    """

    def __init__(self, config: Config, *, transactional_id: str) -> None:
        self._config = transactions_config(config, transactional_id=transactional_id)
        self._config["log_level"] = max(LOG_LEVEL, int(self._config.get("log_level", LOG_LEVEL)))
        self._id = transactional_id
        self._slow_after = float(self._config["socket.timeout.ms"]) / 1000
        self._transaction_timeout = float(self._config["transaction.timeout.ms"]) / 1000
        self._client: confluent_kafka.Producer | None = None
        self._ready = False
        self._reports, self._connection_log = DeliveryReports(), ConnectionLog()
        self._doubt: str | None = None
        self._abandoned: tuple[int, str] | None = None
        self.producers_created = 0

    @property
    def is_open(self) -> bool:
        """Whether `write` may be called; if not, call `open` first."""
        return self._ready

    def open(self) -> None:
        """
        Take over the `transactional.id`; its open transaction is completed or aborted before this returns.

        Raises:
            Fenced: another process has taken it over in the meantime.

            BrokerUnavailable: the same call may succeed later.

            ConfigurationError: librdkafka rejects the configuration, or the brokers deny access.
        """
        if self._client is None:
            self._client = self._create_client()
        try:
            self._client.init_transactions(REQUEST_TIMEOUT)
        except (KafkaException, SystemError) as error:
            cause = _unwrap_fatal(error)
            if not cause.retriable():
                self._discard(cause.str())
            failure = f"cannot start transactions with transactional.id {self._id}"
            raise _to_exception(cause, failure, fenced=cause.code() in _FENCED) from error
        self._ready = True

    def write(
        self,
        outgoing: OutgoingRecords,
        offsets: GroupOffsets | None = None,
        meanwhile: Meanwhile = do_nothing,
    ) -> None:
        """
        Write records and offsets in one transaction.

        Args:
            meanwhile: work that overlaps with the brokers'.

        Raises:
            Fenced, RecordRejected, ConfigurationError, TransactionAborted: the transaction is aborted.

            BrokerUnavailable: the transaction is aborted or its outcome is unknown; the committed offsets show which.
        """
        # After an error while idle, librdkafka may not report the next one: a client in doubt is replaced.
        if self._client is not None and (doubt := self._check_doubt(self._client)) is not None:
            self._discard(doubt, level=logging.INFO)
            self.open()
        client = self._client
        assert client is not None, "open() comes before write()"
        self._reports.undelivered = None
        try:
            # The brokers accept offsets only inside a transaction, and a commit before every record was acknowledged
            # would not cover all of them. Records and offsets commit together or not.
            client.begin_transaction()
            # In a thread: the offsets are sent while the records are enqueued, which takes as long, and the other work
            # must not delay the commit, however long it takes.
            enqueued, are_offsets_sent = Future[None](), threading.Event()
            commit = run_in_thread(
                partial(self._commit, client, offsets, enqueued, are_offsets_sent), "tradepipe-commit"
            )
            try:
                enqueue(client, outgoing, self._reports)
            except BaseException as error:  # raised again by the result, when the thread has left the client alone
                enqueued.set_exception(error)
            else:
                enqueued.set_result(None)
                meanwhile(commit.done, are_offsets_sent.is_set)
            commit.result()
        except (KafkaException, SystemError) as error:
            raise self._handle_failure(client, outgoing, _unwrap_fatal(error)) from error
        # Checked after the commit too: a commit that succeeded late may have ended another transaction.
        if (doubt := self._check_doubt(client)) is not None:
            self._discard(doubt)
            raise BrokerUnavailable(f"a transaction may or may not have been committed: {doubt}")

    def close(self) -> None:
        """Close the client; the next `open` aborts a transaction that is open."""
        client, self._client, self._ready = self._client, None, False
        if client is not None:
            client.purge()

    def _create_client(self) -> confluent_kafka.Producer:
        if self._abandoned is not None:
            level, why = self._abandoned
            logger.log(level, "recreating transactional producer %s: %s", self._id, why)
        self._reports, self._connection_log, self._doubt, self._abandoned = (
            DeliveryReports(),
            ConnectionLog(),
            None,
            None,
        )
        callbacks = {"on_delivery": self._reports, "error_cb": self._on_error, "logger": self._connection_log}
        client = create_client(confluent_kafka.Producer, {**self._config, **callbacks})
        self.producers_created += 1
        return client

    def _check_doubt(self, client: confluent_kafka.Producer) -> str | None:
        """Return why requests of this client may have been repeated, or None."""
        client.poll(0)
        return self._doubt or self._connection_log.last_error

    def _commit(
        self,
        client: confluent_kafka.Producer,
        offsets: GroupOffsets | None,
        enqueued: Future[None],
        are_offsets_sent: threading.Event,
    ) -> None:
        """Send the offsets, wait until the records are enqueued and acknowledged, and commit the transaction."""
        if offsets is not None:
            limit = REQUESTS_PER_OFFSET_COMMIT * self._slow_after

            def send_offsets(timeout: float) -> None:
                # In a thread: librdkafka may wait forever for a lost coordinator (librdkafka#5456).
                sent = run_in_thread(lambda: client.send_offsets_to_transaction(*offsets, timeout), "tradepipe-offsets")
                try:
                    sent.result(limit)
                except TimeoutError:
                    reason = f"the offsets were not acknowledged within {limit:g} s"
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, reason)) from None

            self._call_until_done(send_offsets)
        # The coordinator has the offsets: if the group moves a partition now, its next owner waits for the end of this
        # transaction before it reads where to start.
        are_offsets_sent.set()
        enqueued.result()
        flush(client, self._reports, seconds=self._transaction_timeout)
        self._call_until_done(client.commit_transaction)

    def _call_until_done(self, call: Callable[[float], object]) -> None:
        """Repeat a call while its error is retriable; a retry or a slow call puts the client in doubt."""
        started = time.monotonic()
        try:
            while True:
                try:
                    call(REQUEST_TIMEOUT)
                    return
                except KafkaException as error:
                    cause = unwrap(error)
                    if cause.retriable() or cause.code() in _TIMEOUTS:
                        self._doubt = cause.str()
                    if not cause.retriable() or time.monotonic() - started > self._transaction_timeout:
                        raise
        finally:
            if (took := time.monotonic() - started) > self._slow_after:
                self._doubt = f"a request took {took:.1f} s"

    def _handle_failure(
        self, client: confluent_kafka.Producer, outgoing: OutgoingRecords, error: KafkaError
    ) -> Exception:
        """Abort the transaction, or discard the client with it; return the exception to raise."""
        error = _find_cause(client, error)
        # The transaction may have failed elsewhere because of a rejected record, whose report is not yet served.
        with suppress(KafkaException, SystemError):
            client.poll(0)
        cause, topic = self._reports.undelivered or (error, None)
        if cause.code() in _PURGED:  # the record was purged because another one failed, of any topic
            cause, topic = error, " or ".join(sorted(destination.topic for destination in outgoing))
        # librdkafka marks errors that it can abort; a record that it rejects on enqueueing is not marked.
        is_abortable = not error.fatal() and (error.txn_requires_abort() or classify(error) is FailureClass.DATA)
        abort_error, doubt = None if is_abortable else error, None
        if is_abortable:
            try:
                self._call_until_done(client.abort_transaction)
            except (KafkaException, SystemError) as failed:
                abort_error = _unwrap_fatal(failed)
        if abort_error is not None:
            self._discard(abort_error.str())
        else:
            logger.warning("aborted a transaction: %s", cause.str())
            if (doubt := self._check_doubt(client)) is not None:
                self._discard(doubt)
        failure = f"a transaction that writes to {topic} failed" if topic else "a transaction failed"
        fenced = (abort_error or error).code() in _FENCED
        raised = _to_exception(cause, failure, fenced=fenced, topic=topic)
        is_certain = abort_error is None and doubt is None and isinstance(raised, BrokerUnavailable)
        return TransactionAborted(str(raised)) if is_certain else raised

    def _discard(self, why: str, *, level: int = logging.WARNING) -> None:
        """Discard the client, with everything that may still be in flight; the next `open` creates another."""
        self._abandoned = (level, why)
        self.close()

    def _on_error(self, error: KafkaError) -> None:
        """Handle an error inside a call of the client: an outage puts the transaction in doubt."""
        if classify(error) is FailureClass.UNAVAILABLE:
            self._doubt = error.str()


def _to_exception(error: KafkaError, failure: str, *, fenced: bool, topic: str | None = None) -> Exception:
    if fenced:
        return Fenced(f"{failure}: {error.str()} ({error.name()})")
    return RecordRejected(error, topic) if classify(error) is FailureClass.DATA else translate(error, failure)


def _find_cause(client: confluent_kafka.Producer, error: KafkaError) -> KafkaError:
    """Return the cause of an error that says only that the client or its transaction has failed."""
    code = error.code()
    try:
        if code == KafkaError._FATAL:
            # librdkafka reports the cause only in the next call.
            client.abort_transaction(POLL_SECONDS)
        elif code == KafkaError._STATE:
            # A call that meets the failure of a transaction halfway names only the state. Inside a transaction,
            # beginning another one changes nothing: it is refused, with the cause if there is one.
            client.begin_transaction()
    except (KafkaException, SystemError) as failed:
        cause = _unwrap_fatal(failed)
        return error if code == KafkaError._STATE == cause.code() else cause
    return error


def _unwrap_fatal(error: KafkaException | SystemError) -> KafkaError:
    """Return the error inside an exception; a client that is fenced during a flush reports no cause."""
    if isinstance(error, SystemError) and error.__cause__ is None:
        return KafkaError(KafkaError._FATAL)
    return unwrap(error)
