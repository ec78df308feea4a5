"""
Records put back where they came from, each with the marker that closes its letter, in one Kafka transaction.

All replays of one dead-letter topic have one `transactional.id`: whoever opens
it settles what a predecessor left open, and fences one that still runs.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from tradepipe.contract.record import Headers
from tradepipe.errors import BrokerAway, Misconfigured, TradepipeError
from tradepipe.kafka.client import Config, transactions_config
from tradepipe.kafka.failures import FailureClass, classify, error_of, failure

REQUEST: Final = 5.0
"""Seconds one call waits before it is made again."""

STEP: Final = 0.1

LARGEST: Final = 1_000_000_000
"""Bytes of a record: librdkafka's highest limit, since the topic's own is the one that counts."""

_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class Superseded(TradepipeError):
    """Another replay of the same dead-letter topic has begun, and ended this one; it may be run again behind it."""


class Outgoing(NamedTuple):
    """A record to write; partition -1 leaves it to the key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Replaying:
    """
    Transactions of the one replay of a dead-letter topic.

    After any failure `open` comes first again, and the topic tells what was
    committed. librdkafka repeats requests without telling, and brokers may take
    a late one for that of the next transaction (KIP-890): so a transaction that
    took long, or met trouble on the way, counts as failed too.
    """

    def __init__(self, config: Config, *, dead_letters: str) -> None:
        self._id = f"tradepipe-replay-{dead_letters}"
        # A record a batch: a batch is never split, and one that a topic finds too large would hold records it takes.
        sizes = {"message.max.bytes": LARGEST, "batch.num.messages": 1}
        self._config = {**transactions_config(config, transactional_id=self._id), **sizes}
        self._lasts = float(self._config["transaction.timeout.ms"]) / 1000
        self._slow = float(self._config["socket.timeout.ms"]) / 1000
        self._client: confluent_kafka.Producer | None = None
        self._doubt: str | None = None
        self._undelivered: tuple[KafkaError, str | None] | None = None

    def open(self) -> None:
        """
        Become the only replay; what another one had begun is settled when this returns.

        Raises:
            BrokerAway: the same call may succeed later.

            Misconfigured: the brokers refuse us.
        """
        self.close()
        callbacks: dict[str, Callable[..., None]] = {"on_delivery": self._on_report, "error_cb": self._on_error}
        try:
            client = confluent_kafka.Producer({**self._config, **callbacks})
            client.init_transactions(REQUEST)
        except (KafkaException, SystemError) as error:
            raise self._failure(_told(error), f"transactions cannot be begun under {self._id}") from error
        self._client = client

    def write(self, records: Sequence[Outgoing]) -> None:
        """
        One transaction.

        Raises:
            Superseded: another replay has begun; nothing was written.

            BrokerAway: nothing was written, or nobody knows.

            Misconfigured: nothing was written, and waiting does not help.
        """
        assert self._client is not None, "open() comes before write()"
        client = self._client
        client.poll(0)
        self._doubt = self._undelivered = None
        begun = time.monotonic()
        try:
            client.begin_transaction()
            for record in records:
                self._put(client, record)
            client.flush(self._lasts)
            self._commit(client, begun)
        except (KafkaException, SystemError) as error:
            raise self._undone(client, _told(error)) from error
        client.poll(0)
        if self._doubt is not None:
            self.close()
            raise BrokerAway(f"a transaction may have been committed, or not: {self._doubt}")

    def close(self) -> None:
        """Let go of the client; an open transaction is left to the next `open`."""
        client, self._client = self._client, None
        if client is not None:
            client.purge()

    def _put(self, client: confluent_kafka.Producer, record: Outgoing) -> None:
        topic, partition, key, value, headers = record
        while True:
            try:
                client.produce(topic, value, key, partition, headers=list(headers))
                return
            except BufferError:
                client.poll(STEP)

    def _commit(self, client: confluent_kafka.Producer, begun: float) -> None:
        while True:
            asked = time.monotonic()
            try:
                client.commit_transaction(REQUEST)
            except KafkaException as error:
                self._doubt = error_of(error).str()
                if not error_of(error).retriable() or time.monotonic() - begun > self._lasts:
                    raise
            else:
                if (took := time.monotonic() - asked) > self._slow:
                    self._doubt = f"the commit took {took:.1f} s"
                return

    def _undone(self, client: confluent_kafka.Producer, error: KafkaError) -> Exception:
        """Abort if that can be, and give the client up; what to raise."""
        told, topic = self._undelivered or (error, None)
        if error.txn_requires_abort() or classify(error) is FailureClass.DATA:
            try:
                client.abort_transaction(REQUEST)
            except (KafkaException, SystemError) as again:
                error = _told(again)
        elif error.code() == KafkaError._FATAL:
            error = _behind(client) or error
        self.close()
        if error.code() in _FENCED:
            told = error
        return self._failure(told, f"records cannot be put back into topic {topic}" if topic else "a transaction")

    def _failure(self, error: KafkaError, doing: str) -> TradepipeError:
        if error.code() in _FENCED:
            return Superseded(
                "another replay of these dead letters has begun, and goes on with all of them; "
                "run this one again when that one has ended, if anything is left"
            )
        if classify(error) is FailureClass.DATA:
            return Misconfigured(
                f"{doing}: {error.str()} ({error.name()}); raise max.message.bytes of the topic a little, "
                "as a replayed record has one more header"
            )
        return failure(error, doing)

    def _on_report(self, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is not None and self._undelivered is None:
            self._undelivered = (error, message.topic())

    def _on_error(self, error: KafkaError) -> None:
        if classify(error) is FailureClass.AWAY:
            self._doubt = error.str()


def _behind(client: confluent_kafka.Producer) -> KafkaError | None:
    """What lies behind a fatal error that is only told as such."""
    try:
        client.abort_transaction(STEP)
    except (KafkaException, SystemError) as error:
        return _told(error)
    return None


def _told(error: KafkaException | SystemError) -> KafkaError:
    """The error inside; fenced while it flushes, the client says only that it has failed."""
    if isinstance(error, SystemError) and error.__cause__ is None:
        return KafkaError(KafkaError._FATAL)
    return error_of(error)
