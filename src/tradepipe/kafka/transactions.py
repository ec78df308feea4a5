"""
Records and offsets in one Kafka transaction.

librdkafka speaks the transaction protocol from before KIP-890: a request that it
sent twice, or late, may end a transaction that came after the one it was meant
for. It repeats requests without telling the caller, so whatever took long, or met
trouble on the way, puts the producer in doubt. A producer in doubt begins nothing any
more: another one takes its place and its `transactional.id`, which makes the
brokers refuse all that may still come from the first.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tradepipe.errors import BrokerAway, Misconfigured
from tradepipe.kafka.bounded import bounded
from tradepipe.kafka.client import Config, transactions_config
from tradepipe.kafka.consumer import Consumer
from tradepipe.kafka.failures import FailureClass, classify, error_of, failure
from tradepipe.kafka.watched import LEVEL, Watched
from tradepipe.kafka.writing import Interrupted, Outgoing, not_taken, put

logger = logging.getLogger(__name__)

REQUEST: Final = 5.0
"""Seconds one call waits before it is made again."""

STEP: Final = 0.1

FENCED_OFTEN: Final = 3
FENCED_WITHIN: Final = 60.0
"""So often within so many seconds is no accident: two processes take the same `transactional.id` from each other."""

REFUSED_OFTEN: Final = 3
"""Transactions one after the other that the brokers may refuse us: rights that are being changed heal."""

_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
_TIMEOUTS: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT})


class Transactions:
    """
    Write records and the offsets they came from, all of it or nothing.

    Between two transactions nothing is open. What a transaction that was
    interrupted has left is settled by the next `open`.

    Args:
        limits: what the topics take, as librdkafka's properties.
    """

    def __init__(
        self, config: Config, consumer: Consumer, *, topic: str, transactional_id: str, limits: Mapping[str, int]
    ) -> None:
        self._config = {**limits, **transactions_config(config, transactional_id=transactional_id)}
        self._config["log_level"] = max(LEVEL, int(self._config.get("log_level", LEVEL)))
        self._consumer = consumer
        self._topic = topic
        self._id = transactional_id
        self._slow = float(self._config["socket.timeout.ms"]) / 1000
        self._lasts = float(self._config["transaction.timeout.ms"]) / 1000
        self._client: confluent_kafka.Producer | None = None
        self._ready = False
        self._watched = Watched()
        self._doubt: str | None = None
        self._undelivered: tuple[KafkaError, str | None] | None = None
        self._fenced_at: deque[float] = deque(maxlen=FENCED_OFTEN)
        self._refused = 0
        self.commits = 0
        self.aborts = 0
        self.made = 0

    @property
    def is_open(self) -> bool:
        return self._ready

    def open(self) -> None:
        """
        Take over the `transactional.id`; what was open under it is settled before this returns.

        Raises:
            BrokerAway: call it again later.

            Misconfigured: nothing heals by waiting.
        """
        if self._client is None:
            self._client = self._new()
        try:
            self._client.init_transactions(REQUEST)
        except (KafkaException, SystemError) as error:
            told = error_of(error)
            if not told.retriable():
                self._discard(told.str())
                self._count(told)
            if classify(told) is FailureClass.CONFIGURATION and self._refused < REFUSED_OFTEN:
                raise BrokerAway(f"transactions cannot be begun: {told.str()} ({told.name()})") from error
            raise failure(told, f"transactions cannot be begun under transactional.id {self._id}") from error
        self._ready = True

    def write(self, outgoing: Outgoing, offsets: Mapping[int, int]) -> None:
        """
        One transaction.

        Raises:
            Interrupted: it is undone, or nobody knows; the committed offsets tell.

            Misconfigured: nothing heals by waiting; it is undone.
        """
        try:
            membership = self._consumer.membership()
            client = self._begun()
        except BrokerAway as error:
            raise Interrupted(str(error)) from error
        try:
            client.begin_transaction()
            put(client, outgoing)
            self._flush(client)
            places = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
            self._step(lambda wait: self._send(client, places, membership, wait))
            self._step(client.commit_transaction)
        except (KafkaException, SystemError) as error:
            raise self._undone(client, error_of(error)) from error
        self.commits += 1
        self._refused = 0
        self._leave_no_doubt(client)

    def close(self) -> None:
        """Let go of the client; nothing is open between two transactions."""
        self._ready = False
        self._client = None

    def _new(self) -> confluent_kafka.Producer:
        self._watched, self._doubt = Watched(), None
        listening = {"on_delivery": self._on_report, "error_cb": self._on_error, "logger": self._watched}
        try:
            client = confluent_kafka.Producer({**self._config, **listening})
        except KafkaException as error:
            raise failure(error_of(error), "Kafka's client cannot be configured so") from error
        self.made += 1
        return client

    def _begun(self) -> confluent_kafka.Producer:
        """A client without a doubt: one that met trouble while it was idle may not tell of the next."""
        if self._client is not None and (doubt := self._doubts(self._client)) is not None:
            self._discard(doubt, level=logging.INFO)
            self.open()
        assert self._client is not None, "open() comes before write()"
        self._undelivered = None
        return self._client

    def _doubts(self, client: confluent_kafka.Producer) -> str | None:
        """Why requests of this client may have been repeated, if they may."""
        client.poll(0)
        return self._doubt or self._watched.trouble

    def _flush(self, client: confluent_kafka.Producer) -> None:
        """Wait for all acknowledgements: what the records take is no sign of a request that was repeated."""
        deadline = time.monotonic() + self._lasts
        while (left := client.flush(STEP)) and self._undelivered is None:
            if time.monotonic() > deadline:
                told = f"{left} records were not acknowledged within {self._lasts:g} s"
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, told))

    def _send(
        self, client: confluent_kafka.Producer, places: list[TopicPartition], membership: bytes, wait: float
    ) -> None:
        """Send offsets; librdkafka may wait for ever for a coordinator that went away (2.16, issue 5456)."""
        try:
            bounded(lambda: client.send_offsets_to_transaction(places, membership, wait), self._slow)
        except TimeoutError:
            unanswered = KafkaError(KafkaError._TIMED_OUT, f"offsets were not taken within {self._slow:g} s")
            raise KafkaException(unanswered) from None

    def _step(self, call: Callable[[float], object]) -> None:
        """Make a call until it has an answer that is no mere delay; whether it took too long is kept as a doubt."""
        begun = time.monotonic()
        try:
            while True:
                try:
                    call(REQUEST)
                    return
                except KafkaException as error:
                    told = error_of(error)
                    if told.code() in _TIMEOUTS:
                        self._doubt = told.str()
                    if not told.retriable() or time.monotonic() - begun > self._lasts:
                        raise
        finally:
            if (took := time.monotonic() - begun) > self._slow:
                self._doubt = f"a request took {took:.1f} s"

    def _undone(self, client: confluent_kafka.Producer, error: KafkaError) -> Exception:
        """Abort, or give the client up with whatever it has begun; what to raise."""
        if error.code() == KafkaError._FATAL:
            error = self._fatal(client) or error
        told, topic = self._undelivered or (error, None)
        if _is_abortable(error) and self._aborted(client):
            logger.warning("a transaction was aborted: %s", told.str())
            self._leave_no_doubt(client, interrupted=True)
        elif self._client is not None:
            self._discard(error.str())
        self._count(error)
        kind = classify(told)
        if kind is FailureClass.DATA:
            return not_taken(told, topic)
        if kind is FailureClass.CONFIGURATION:
            self._refused += 1
            if self._refused >= REFUSED_OFTEN:
                return failure(told, f"a transaction that writes to {topic}" if topic else "a transaction")
        return Interrupted(told.str())

    def _aborted(self, client: confluent_kafka.Producer) -> bool:
        try:
            self._step(client.abort_transaction)
        except (KafkaException, SystemError) as error:
            self._discard(error_of(error).str())
            return False
        self.aborts += 1
        return True

    def _leave_no_doubt(self, client: confluent_kafka.Producer, *, interrupted: bool = False) -> None:
        """Give up a client that may have sent what still is on its way."""
        if (doubt := self._doubts(client)) is not None:
            self._discard(doubt)
            if not interrupted:
                raise Interrupted(doubt)

    def _fatal(self, client: confluent_kafka.Producer) -> KafkaError | None:
        """What lies behind a fatal error that is only told as such."""
        try:
            client.abort_transaction(STEP)
        except (KafkaException, SystemError) as error:
            return error_of(error)
        return None

    def _discard(self, why: str, *, level: int = logging.WARNING) -> None:
        logger.log(level, "the transactional producer %s is made anew: %s", self._id, why)
        self._ready = False
        if self._client is not None:
            client, self._client = self._client, None
            client.purge()

    def _count(self, error: KafkaError) -> None:
        """Stop rather than take an id from each other for ever."""
        if error.code() not in _FENCED:
            return
        now = time.monotonic()
        self._fenced_at.append(now)
        if len(self._fenced_at) == FENCED_OFTEN and now - self._fenced_at[0] < FENCED_WITHIN:
            raise Misconfigured(
                f"transactional.id {self._id} was taken from this process {FENCED_OFTEN} times within "
                f"{FENCED_WITHIN:.0f} s: another process runs with the same; give each its own, or none"
            )

    def _on_report(self, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is not None and self._undelivered is None:
            self._undelivered = (error, message.topic())

    def _on_error(self, error: KafkaError) -> None:
        """Called inside the client's calls: trouble on the way puts the transaction in doubt."""
        if classify(error) is FailureClass.AWAY:
            self._doubt = error.str()


def _is_abortable(error: KafkaError) -> bool:
    """Whether to abort and go on with the same client: librdkafka says so, or it refused a record on the spot."""
    return not error.fatal() and (error.txn_requires_abort() or classify(error) is FailureClass.DATA)
