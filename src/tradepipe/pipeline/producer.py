"""The producer: publishes trades."""

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from tradepipe.codec.codec import Decoder
from tradepipe.errors import BrokerUnavailable, DeliveryFailed, InvalidTrade
from tradepipe.evolution.history import current
from tradepipe.kafka.config import Config
from tradepipe.kafka.producer import IdempotentProducer, Undelivered
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.serde import HEADER_SIZE, TradeSerializer
from tradepipe.trade.model import KAFKA_KEY, Trade
from tradepipe.trade.rules import violations

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT: Final = 30.0


class Producer:
    """
    Publish trades; an acknowledged trade is in the log exactly once.

    The next `produce` or `flush`, or leaving the `with` block, reports every
    other trade: as *refused* if it is not in the log, as *unknown* if it may be.
    Sending an unknown trade again is safe.

    While Kafka is unavailable, trades are queued, up to librdkafka's
    `queue.buffering.max.messages` and `…kbytes`, and sent once it is available
    again; then `produce` waits for free space. If the process dies, its queued
    trades are lost.

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
        self._registry = SchemaRegistry(registry) if isinstance(registry, str) else registry
        self._serialize = TradeSerializer(self._registry, subject=subject)
        self._producer = IdempotentProducer(kafka, topic=topic)
        self._opened = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

            timeout: seconds to wait for free space in a full queue; None waits
                without a limit.

        Raises:
            InvalidTrade: the trade breaks rules; it is not sent.

            DeliveryFailed: trades sent earlier failed. This one is not sent
                either, unless it is among them.

            BrokerUnavailable: the queue stayed full; the trade is not sent.

            SchemaNotRegistered, RegistryUnavailable, TopicUnusable, ConfigurationError: on
                the first trade.
        """
        if found := violations(trade):
            raise InvalidTrade(trade, found)
        value = self._serialize(trade)
        # Connect at the first trade: construction must not touch the network.
        if not self._opened:
            self._producer.open()
            self._opened = True
        # Before sending: after this exception the caller knows that this trade is not in the log.
        self._raise_failures()
        refused = self._producer.send(getattr(trade, KAFKA_KEY), value, timeout=timeout)
        if refused is not None:
            raise DeliveryFailed(refused=[(trade, refused.reason)], unknown=[])

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

    def close(self) -> None:
        """
        Wait up to `close_timeout` seconds for the acknowledgements, then close; idempotent.

        Raises:
            DeliveryFailed: trades that were not acknowledged; those still in
                flight after the timeout are among the unknown ones.
        """
        try:
            if left := self._producer.flush(self._close_timeout):
                logger.warning("abandoned %d trades: not acknowledged within %.0f s", left, self._close_timeout)
            self._producer.abandon(f"abandoned on close: not acknowledged within {self._close_timeout:g} s")
            self._raise_failures()
        finally:
            if self._owns_registry:
                self._registry.close()

    def _raise_failures(self) -> None:
        if failed := self._producer.take_undelivered():
            # Decoded from the sent bytes: holding every trade in flight as an object would cost memory.
            raise DeliveryFailed(
                refused=_trades([each for each in failed if each.refused]),
                unknown=_trades([each for each in failed if not each.refused]),
            )


def _trades(failed: Sequence[Undelivered]) -> list[tuple[Trade, str]]:
    decode = Decoder(current().text, 0).decode
    return [(decode((each.value or b"")[HEADER_SIZE:]), each.reason) for each in failed]
