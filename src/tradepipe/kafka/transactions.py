"""
Records in one Kafka transaction, and the offsets they came from if there are any.

librdkafka speaks the transaction protocol from before KIP-890: a request that it
sent twice, or late, may end a transaction that came after the one it was meant
for. It repeats requests without telling the caller, so whatever took long, or met
trouble on the way, puts the producer in doubt. A producer in doubt begins nothing any
more: another one takes its place and its `transactional.id`, which makes the
brokers refuse all that may still come from the first.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tradepipe.errors import BrokerUnavailable, ConfigurationError
from tradepipe.kafka.config import Config, transactions_config
from tradepipe.kafka.failures import FailureClass, classify, translate, unwrap
from tradepipe.kafka.librdkafka import LOG_LEVEL, ConnectionLog, call_with_timeout
from tradepipe.kafka.send import DeliveryReports, OutgoingRecords, enqueue, flush

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT: Final = 5.0
"""Seconds one call waits before it is made again."""

POLL_SECONDS: Final = 0.1

REQUESTS_PER_OFFSET_COMMIT: Final = 3
"""Requests that sending offsets may take, one after the other: for the coordinator, the group, and the offsets."""

_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_PURGED: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
_TIMEOUTS: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT})


class GroupOffsets(NamedTuple):
    """Where a member of a group goes on behind a transaction, and what proves that it is one."""

    partitions: list[TopicPartition]
    group_metadata: bytes


class Fenced(Exception):
    """Another process has taken the `transactional.id`, and what was open under it is undone."""


class RecordRejected(Exception):
    """A record is one that its topic will never take; the transaction is undone."""

    def __init__(self, error: KafkaError, topic: str | None) -> None:
        self.error = error
        self.topic = topic
        super().__init__(f"{error.str()} ({error.name()})")


class TransactionAborted(BrokerUnavailable):
    """The transaction is undone, and the brokers have said so."""


class AccessDenied(ConfigurationError):
    """The brokers refuse us; rights that are being changed heal, nothing else does."""


class Transactions:
    """
    Write records and offsets, all of it or nothing.

    Between two transactions nothing is open. What a transaction that was
    interrupted has left is settled by the next `open`.

    Attributes:
        made: how many clients it took so far.
    """

    def __init__(self, config: Config, *, transactional_id: str) -> None:
        self._config = transactions_config(config, transactional_id=transactional_id)
        self._config["log_level"] = max(LOG_LEVEL, int(self._config.get("log_level", LOG_LEVEL)))
        self._id = transactional_id
        self._slow_after = float(self._config["socket.timeout.ms"]) / 1000
        self._transaction_timeout = float(self._config["transaction.timeout.ms"]) / 1000
        self._client: confluent_kafka.Producer | None = None
        self._ready = False
        self._reports, self._watched = DeliveryReports(), ConnectionLog()
        self._doubt: str | None = None
        self._abandoned: tuple[int, str] | None = None
        self.producers_created = 0

    @property
    def is_open(self) -> bool:
        """Whether `write` may be called."""
        return self._ready

    def open(self) -> None:
        """
        Take over the `transactional.id`; what was open under it is settled before this returns.

        Raises:
            Fenced: another one has taken it over meanwhile.

            BrokerUnavailable: call it again later.

            ConfigurationError: librdkafka does not take the configuration, or the brokers refuse us.
        """
        if self._client is None:
            self._client = self._create_client()
        try:
            self._client.init_transactions(REQUEST_TIMEOUT)
        except (KafkaException, SystemError) as error:
            told = _replacement_reason(error)
            if not told.retriable():
                self._discard(told.str())
            doing = f"transactions cannot be begun under transactional.id {self._id}"
            raise _fatal_cause(told, doing, fenced=_is_fenced(told)) from error
        self._ready = True

    def write(
        self,
        outgoing: OutgoingRecords,
        offsets: GroupOffsets | None = None,
        while_in_flight: Callable[[], object] | None = None,
    ) -> None:
        """
        One transaction.

        Args:
            while_in_flight: called once, while the records are on their way; raises nothing.

        Raises:
            Fenced, NotTaken, ConfigurationError, Aborted: it is undone.

            BrokerUnavailable: it is undone, or nobody knows; what is committed tells.
        """
        client = self._ready_client()
        try:
            client.begin_transaction()
            enqueue(client, outgoing, self._reports)
            if while_in_flight is not None:
                while_in_flight()
            if offsets is not None:  # while the records are on their way
                self._call_until_done(lambda wait: self._send(client, offsets, wait))
            flush(client, self._reports, seconds=self._transaction_timeout)
            self._call_until_done(client.commit_transaction)
        except (KafkaException, SystemError) as error:
            raise self._handle_failure(client, outgoing, _replacement_reason(error)) from error
        if (doubt := self._check_doubt(client)) is not None:
            self._discard(doubt)
            raise BrokerUnavailable(f"a transaction may have been committed, or not: {doubt}")

    def close(self) -> None:
        """Let go of the client; a transaction that is open is left to the next `open`."""
        client, self._client, self._ready = self._client, None, False
        if client is not None:
            client.purge()

    def _create_client(self) -> confluent_kafka.Producer:
        if self._abandoned is not None:
            level, why = self._abandoned
            logger.log(level, "the transactional producer %s is made anew: %s", self._id, why)
        self._reports, self._watched, self._doubt, self._abandoned = DeliveryReports(), ConnectionLog(), None, None
        listening = {"on_delivery": self._reports, "error_cb": self._on_error, "logger": self._watched}
        try:
            client = confluent_kafka.Producer({**self._config, **listening})
        except KafkaException as error:
            raise translate(unwrap(error), "Kafka's client cannot be configured so") from error
        self.producers_created += 1
        return client

    def _ready_client(self) -> confluent_kafka.Producer:
        """A client without a doubt: one that met trouble while it was idle may not tell of the next."""
        if self._client is not None and (doubt := self._check_doubt(self._client)) is not None:
            self._discard(doubt, level=logging.INFO)
            self.open()
        assert self._client is not None, "open() comes before write()"
        self._reports.undelivered = None
        return self._client

    def _check_doubt(self, client: confluent_kafka.Producer) -> str | None:
        """Why requests of this client may have been repeated, if they may."""
        client.poll(0)
        return self._doubt or self._watched.last_error

    def _send(self, client: confluent_kafka.Producer, offsets: GroupOffsets, wait: float) -> None:
        """Send offsets; librdkafka may wait for ever for a coordinator that went away (librdkafka#5456)."""
        try:
            call_with_timeout(
                lambda: client.send_offsets_to_transaction(*offsets, wait),
                patience := REQUESTS_PER_OFFSET_COMMIT * self._slow_after,
            )
        except TimeoutError:
            unanswered = KafkaError(KafkaError._TIMED_OUT, f"offsets were not taken within {patience:g} s")
            raise KafkaException(unanswered) from None

    def _call_until_done(self, call: Callable[[float], object]) -> None:
        """Make a call until it has an answer that is no mere delay; that it had to wait is kept as a doubt."""
        begun = time.monotonic()
        try:
            while True:
                try:
                    call(REQUEST_TIMEOUT)
                    return
                except KafkaException as error:
                    told = unwrap(error)
                    if told.retriable() or told.code() in _TIMEOUTS:
                        self._doubt = told.str()
                    if not told.retriable() or time.monotonic() - begun > self._transaction_timeout:
                        raise
        finally:
            if (took := time.monotonic() - begun) > self._slow_after:
                self._doubt = f"a request took {took:.1f} s"

    def _handle_failure(
        self, client: confluent_kafka.Producer, outgoing: OutgoingRecords, error: KafkaError
    ) -> Exception:
        """Abort, or give the client up with whatever it has begun; what to raise."""
        if error.code() == KafkaError._FATAL:
            error = _kafka_error(client) or error
        told, topic = self._reports.undelivered or (error, None)
        if told.code() in _PURGED:  # for the sake of another, of whichever topic
            told, topic = error, " or ".join(sorted(place.topic for place in outgoing))
        broken = self._abort(client) if _is_abortable(error) else error
        doubt = None
        if broken is not None:
            self._discard(broken.str())
        else:
            logger.warning("a transaction was aborted: %s", told.str())
            if (doubt := self._check_doubt(client)) is not None:
                self._discard(doubt)
        doing = f"a transaction that writes to {topic}" if topic else "a transaction"
        raised = _fatal_cause(told, doing, fenced=_is_fenced(broken or error), topic=topic)
        is_certain = broken is None and doubt is None and isinstance(raised, BrokerUnavailable)
        return TransactionAborted(str(raised)) if is_certain else raised

    def _abort(self, client: confluent_kafka.Producer) -> KafkaError | None:
        """Abort; the error if it cannot be done."""
        try:
            self._call_until_done(client.abort_transaction)
        except (KafkaException, SystemError) as error:
            return _replacement_reason(error)
        return None

    def _discard(self, why: str, *, level: int = logging.WARNING) -> None:
        """Give the client up, with all that may still be on its way."""
        self._abandoned = (level, why)
        self.close()

    def _on_error(self, error: KafkaError) -> None:
        """Called inside the client's calls: trouble on the way puts the transaction in doubt."""
        if classify(error) is FailureClass.UNAVAILABLE:
            self._doubt = error.str()


def _fatal_cause(error: KafkaError, doing: str, *, fenced: bool, topic: str | None = None) -> Exception:
    if fenced:
        return Fenced(f"{doing}: {error.str()} ({error.name()})")
    kind = classify(error)
    if kind is FailureClass.DATA:
        return RecordRejected(error, topic)
    told = translate(error, doing)
    return AccessDenied(str(told)) if kind is FailureClass.CONFIGURATION else told


def _is_fenced(error: KafkaError) -> bool:
    return error.code() in _FENCED


def _is_abortable(error: KafkaError) -> bool:
    """Whether to abort and go on with the same client: librdkafka says so, or it refused a record on the spot."""
    return not error.fatal() and (error.txn_requires_abort() or classify(error) is FailureClass.DATA)


def _kafka_error(client: confluent_kafka.Producer) -> KafkaError | None:
    """What lies behind a fatal error that is only told as such."""
    try:
        client.abort_transaction(POLL_SECONDS)
    except (KafkaException, SystemError) as error:
        return _replacement_reason(error)
    return None


def _replacement_reason(error: KafkaException | SystemError) -> KafkaError:
    """The error inside; fenced while it flushes, the client says only that it has failed."""
    if isinstance(error, SystemError) and error.__cause__ is None:
        return KafkaError(KafkaError._FATAL)
    return unwrap(error)
