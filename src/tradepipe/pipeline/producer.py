"""The producer: trades from a program to a topic."""

import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from itertools import chain, islice
from operator import itemgetter
from typing import Final, Self

from tradepipe.background import run_in_thread
from tradepipe.codec.codec import Decoder
from tradepipe.errors import (
    BrokerUnavailable,
    DeliveryFailed,
    InvalidTrade,
    RegistryUnavailable,
    TradepipeError,
    Unavailable,
)
from tradepipe.evolution.history import current
from tradepipe.kafka.config import Config
from tradepipe.kafka.producer import IdempotentProducer, Undelivered
from tradepipe.registry.client import SchemaRegistry, open_registry
from tradepipe.registry.serde import HEADER_SIZE, TradeSerializer
from tradepipe.trade.model import KAFKA_KEY, Trade
from tradepipe.trade.rules import violations

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT: Final = 30.0

CHUNK_TRADES: Final = 1_000
"""Trades that `produce_many` sends together."""


_key_of: Final[Callable[[Trade], str]] = itemgetter(Trade._fields.index(KAFKA_KEY))


class Producer:
    """
    Publish trades; an acknowledged trade is in the log exactly once.

    The next `produce` or `flush`, or leaving the `with` block, reports every
    other trade: as *refused* if it is not in the log, as *unknown* if it may be.
    Sending an unknown trade again is safe. A background thread receives Kafka's
    answers, so the very next call reports a failure, however long after it.

    While Kafka is unavailable, trades are queued, up to librdkafka's
    `queue.buffering.max.messages` and `…kbytes`, and sent once it is available
    again; then `produce` waits for free space. The beginning and the end of an
    outage are logged. If the process dies, its queued trades are lost.

    Threads may share a producer: each failure is reported to one of them. One
    that produces while another one closes the producer gets `RuntimeError` for
    the trades that are not sent. `produce`, `flush` and `close` block; in asyncio
    call them by `asyncio.to_thread`. After a fork, the new process may use a producer
    that was not connected yet; for any other one it gets `RuntimeError`.

    Args:
        kafka: librdkafka's properties, `bootstrap.servers` at least.

        registry: the schema registry, or its URL.

        topic: the topic to publish to; it must exist.

        subject: the subject under which the schema is registered.

        close_timeout: seconds that `close` waits for acknowledgements.

    Raises:
        ConfigurationError: an argument is invalid.
    """

    def __init__(
        self,
        kafka: Config,
        *,
        registry: SchemaRegistry | str,
        topic: str = "trades",
        subject: str = "trades-value",
        close_timeout: float = CLOSE_TIMEOUT,
    ) -> None:
        self._close_timeout = close_timeout
        self._owns_registry = isinstance(registry, str)
        self._registry = open_registry(registry)
        self._serialize = TradeSerializer(self._registry, subject=subject)
        self._producer = IdempotentProducer(kafka, topic=topic)
        self._kafka, self._topic = dict(kafka), topic
        self._is_inherited = False
        self._connecting = threading.Lock()
        self._connection: Future[None] | None = None
        self._awaited: tuple[type[Unavailable], str] = (RegistryUnavailable, "the schema registry")
        self._is_connected = False
        self._encode_valid = self._serialize.encode_valid
        self._finalizer = weakref.finalize(
            self, _stop_unclosed, self._producer, self._registry if self._owns_registry else None, topic
        )
        _producers.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self.close()
        except DeliveryFailed as failed:
            if error is None:
                raise
            # The block's own exception comes first; the failed trades must not replace it.
            error.add_note(f"and closing the producer failed: {failed}")

    def __len__(self) -> int:
        """Return the number of trades that are sent and not yet acknowledged."""
        return len(self._producer)

    def produce(self, trade: Trade, *, timeout: float | None = None) -> None:
        """
        Send a trade, and return before it is acknowledged.

        Args:
            trade: one version of a trade, which must satisfy all rules.

            timeout: seconds to wait, for the services on the first trade, later
                for free space in a full queue; None waits without a limit.

        Raises:
            DeliveryFailed: trades failed since the last call. This trade is sent nevertheless, unless
                it is among the refused: only the trades that the exception names need another call.

            InvalidTrade: the trade breaks rules; it is not sent. The next call reports earlier failures.

            BrokerUnavailable: Kafka is unavailable, and the queue stayed full or the first
                trade's `timeout` passed; the trade is not sent. The next call reports earlier failures.

            SchemaNotRegistered, RegistryUnavailable, TopicUnusable, ConfigurationError: on
                the first trade; it is not sent.

            RuntimeError: the producer is closed; the trade is not sent.
        """
        # A trade takes few microseconds: neither this function nor `send` calls another one in Python, unless it must,
        # and keyword arguments would take longer.
        value = self._encode_valid(trade)
        if value is None:
            if found := violations(trade):
                raise InvalidTrade(trade, found)
            if not self._is_connected:
                began = time.monotonic()
                self._connect(timeout)
                timeout = timeout and max(0.0, timeout - (time.monotonic() - began))
            value = self._serialize(trade)
        refused = self._producer.send(_key_of(trade), value, timeout)
        # After sending: a caller that logs the exception and continues must not lose this trade.
        if refused is not None or self._producer.undelivered:
            self._raise_failures([] if refused is None else [refused])

    def produce_many(self, trades: Iterable[Trade], *, timeout: float | None = None) -> None:
        """
        Send trades, each as `produce` does, but faster.

        At most 1,000 trades are taken from the iterable before they are sent. An
        exception's `unsent` has the trades that are neither sent nor named by it,
        those of the iterable included: `produce_many(error.unsent)` continues.

        Args:
            trades: versions of trades, which must satisfy all rules.

            timeout: seconds to wait, for the services on the first trade, later each time
                for free space in a full queue; None waits without a limit.

        Raises:
            DeliveryFailed: trades failed since the last call, or librdkafka rejected some of these.

            InvalidTrade: a trade breaks rules; those before it are sent.

            BrokerUnavailable: the queue stayed full; the first of `unsent` is the trade that is not sent.

            SchemaNotRegistered, RegistryUnavailable, TopicUnusable, ConfigurationError: on
                the first trade; none is sent.

            RuntimeError: the producer is closed; of the last 1,000 trades some may be sent.
        """
        remaining = iter(trades)
        while chunk := list(islice(remaining, CHUNK_TRADES)):
            sent = 0
            try:
                if not self._is_connected:
                    self._connect(timeout)
                values, invalid = self._serialize_valid(chunk)
                refused: list[Undelivered] = []
                sent = self._producer.send_many(values, refused, timeout=timeout)
                self._raise_failures(refused)
                if sent < len(values):
                    raise self._producer.queue_full()
                if invalid is not None:
                    sent += 1
                    raise invalid
            except TradepipeError as error:
                error.unsent = chain(chunk[sent:], remaining)
                raise

    def flush(self, timeout: float | None = None) -> None:
        """
        Wait until every trade is acknowledged.

        Raises:
            DeliveryFailed: some trades failed.

            BrokerUnavailable: some are not acknowledged after `timeout` seconds; delivery is still attempted.
        """
        left = self._producer.flush(timeout)
        self._raise_failures()
        if left:
            raise BrokerUnavailable(
                f"{left} trades are not acknowledged after {timeout} s; delivery is still attempted"
            )

    def close(self, timeout: float | None = None) -> None:
        """
        Accept no more trades, wait for the acknowledgements, and close; idempotent.

        Args:
            timeout: seconds to wait; None for `close_timeout`.

        Raises:
            DeliveryFailed: trades that were not acknowledged; those still in
                flight after the timeout are among the unknown ones.
        """
        try:
            # First: while other threads produce, the flush would not end before the timeout.
            self._producer.stop_accepting()
            self._producer.flush(self._close_timeout if timeout is None else timeout)
            self._producer.abandon("abandoned on close: not acknowledged in time")
            self._finalizer.detach()
            self._raise_failures()
        finally:
            if self._owns_registry:
                self._registry.close()

    def _serialize_valid(self, trades: list[Trade]) -> tuple[list[tuple[str, bytes]], InvalidTrade | None]:
        """Return keys and values of the trades before the first invalid one, and its error."""
        values: list[bytes] = []
        invalid = None
        while len(values) < len(trades):
            values += self._serialize.serialize_valid(trades, len(values))
            if len(values) == len(trades):
                break
            trade = trades[len(values)]
            try:
                if found := violations(trade):
                    raise InvalidTrade(trade, found)
                values.append(self._serialize(trade))
            except InvalidTrade as error:
                invalid = error
                break
        return list(zip(map(_key_of, trades), values, strict=False)), invalid

    def _connect(self, timeout: float | None) -> None:
        """Look up the schema and the topic: at the first trade, since construction must not touch the network."""
        if self._is_inherited:
            raise RuntimeError(
                "this Producer was used before the process was forked, and Kafka's client does not work in the new "
                "process: create a Producer in each process"
            )
        with self._connecting:
            # In a thread: an HTTP request or a name lookup may take longer than the caller's timeout. The thread
            # continues after the timeout, and the next call waits for the same attempt.
            if self._connection is None:
                self._connection = run_in_thread(self._open, "tradepipe-connect")
            connection = self._connection
        try:
            # Threads wait for less than three centuries at a time; infinity is more.
            connection.result(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        except TimeoutError:
            if connection.done():  # a timeout of the attempt
                raise
            kind, service = self._awaited
            raise kind(f"{service} did not answer within {timeout:g} s; the trade is not sent") from None

    def _open(self) -> None:
        try:
            self._awaited = RegistryUnavailable, f"the schema registry at {self._registry.url}"
            self._serialize.connect()
            self._awaited = BrokerUnavailable, "Kafka"
            self._producer.open()
        except BaseException:
            with self._connecting:
                self._connection = None  # the next call tries again
            raise
        self._encode_valid = self._serialize.encode_valid
        self._is_connected = True

    def _disown(self) -> None:
        """Refuse trades in a forked process, unless this one was not connected: then it connects itself."""
        # The lock may be that of a thread which does not exist here, and which was about to start an attempt.
        if self._connection is None and not self._connecting.locked():
            return
        self._is_inherited, self._is_connected = True, False
        self._encode_valid = lambda _trade: None
        # Threads that do not exist here may hold its locks, and its trades belong to the other process.
        _inherited.append(self._producer)
        self._producer = IdempotentProducer(self._kafka, topic=self._topic)
        self._finalizer.detach()

    def _raise_failures(self, also: Sequence[Undelivered] = ()) -> None:
        if failed := [*self._producer.take_undelivered(), *also]:
            # Decoded from the sent bytes: holding every trade in flight as an object would cost memory.
            raise DeliveryFailed(
                refused=_trades([each for each in failed if each.refused]),
                unknown=_trades([each for each in failed if not each.refused]),
            )


_producers: Final = weakref.WeakSet[Producer]()

_inherited: Final[list[IdempotentProducer]] = []
"""The producers of the process that this one was forked from: freeing one would wait for threads that do not exist."""


def _disown_producers() -> None:
    for producer in _producers:
        producer._disown()


os.register_at_fork(after_in_child=_disown_producers)


def _stop_unclosed(producer: IdempotentProducer, registry: SchemaRegistry | None, topic: str) -> None:
    """Release the resources of a producer that nobody closed, when it is collected or when the process ends."""
    if registry is not None:
        registry.close()
    if lost := producer.stop():
        message = f"a Producer for topic {topic} was not closed: {lost} trades are not acknowledged and may be lost"
        logger.warning("%s", message)
        warnings.warn(message, ResourceWarning, stacklevel=2)


def _trades(failed: Sequence[Undelivered]) -> list[tuple[Trade, str]]:
    decode = Decoder(current().text, 0).decode
    return [(decode((each.value or b"")[HEADER_SIZE:]), each.reason) for each in failed]
