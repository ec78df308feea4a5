"""The producer: trades into the log, each once if it is acknowledged."""

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
    Publish trades, each into the log once if it is acknowledged.

    Every trade that is not acknowledged is reported by the next `produce` or
    `flush`, or by leaving the `with` block: as *refused* when it is not in the
    log, as *unknown* when it may be. Sending an unknown one again is safe.

    While Kafka is away trades are kept and sent when it is back, up to
    librdkafka's `queue.buffering.max.messages` and `…kbytes`; then `produce`
    waits for room. A process that dies takes the trades it kept with it.

    Args:
        kafka: librdkafka's properties, `bootstrap.servers` at least.

        registry: the schema registry, or its URL.

        topic: where to; it must exist.

        subject: under which the schema is registered.

        close_timeout: seconds to wait for acknowledgements on leaving.

    Raises:
        ConfigurationError: an argument cannot be.
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
        self._own_registry = isinstance(registry, str)
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
            # What went wrong in the block is what its caller has to hear first.
            error.add_note(f"and on leaving the producer: {failed}")

    def __len__(self) -> int:
        """How many trades are sent and not yet acknowledged."""
        return len(self._producer)

    def produce(self, trade: Trade, *, timeout: float | None = None) -> None:
        """
        Send a trade; returns before it is acknowledged.

        Args:
            trade: one version of a trade, which must keep all rules.

            timeout: seconds to wait for room in a full queue; None waits as
                long as it takes.

        Raises:
            InvalidTrade: the trade breaks rules; it is not sent.

            DeliveryFailed: trades sent earlier failed; this one is not sent
                either, unless it is among them.

            BrokerUnavailable: the queue stayed full; the trade is not sent.

            SchemaNotRegistered, RegistryUnavailable, TopicUnusable, ConfigurationError: on
                the first trade.
        """
        if found := violations(trade):
            raise InvalidTrade(trade, found)
        value = self._serialize(trade)
        if not self._opened:
            self._producer.open()
            self._opened = True
        self._raise_failures()
        refused = self._producer.send(getattr(trade, KAFKA_KEY), value, timeout=timeout)
        if refused is not None:
            raise DeliveryFailed(refused=[(trade, refused.reason)], unknown=[])

    def flush(self, timeout: float | None = None) -> None:
        """
        Wait until every trade is acknowledged.

        Raises:
            DeliveryFailed: some are not, and never will be.

            BrokerUnavailable: some are not after `timeout` seconds; they are still tried.
        """
        left = self._producer.flush(timeout)
        self._raise_failures()
        if left:
            raise BrokerUnavailable(f"{left} trades are not acknowledged after {timeout} s; they are still tried")

    def close(self) -> None:
        """
        Wait for the acknowledgements up to `close_timeout` seconds, then give up; idempotent.

        Raises:
            DeliveryFailed: trades that were not acknowledged, those given up
                now among the unknown ones.
        """
        try:
            if left := self._producer.flush(self._close_timeout):
                logger.warning("%d trades are given up: not acknowledged within %.0f s", left, self._close_timeout)
            self._producer.abandon(f"given up by close: not acknowledged within {self._close_timeout:g} s")
            self._raise_failures()
        finally:
            if self._own_registry:
                self._registry.close()

    def _raise_failures(self) -> None:
        if failed := self._producer.take_undelivered():
            raise DeliveryFailed(
                refused=_trades([each for each in failed if each.refused]),
                unknown=_trades([each for each in failed if not each.refused]),
            )


def _trades(failed: Sequence[Undelivered]) -> list[tuple[Trade, str]]:
    decode = Decoder(current().text, 0).decode
    return [(decode((each.value or b"")[HEADER_SIZE:]), each.reason) for each in failed]
