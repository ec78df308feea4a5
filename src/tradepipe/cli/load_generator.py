"""Sending a mixture of trades and bad records, and what became of it."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tradepipe.errors import BrokerUnavailable, DeliveryFailed, Unavailable
from tradepipe.kafka.config import Config
from tradepipe.kafka.producer import IdempotentProducer
from tradepipe.pipeline.producer import Producer
from tradepipe.registry.client import SchemaRegistry
from tradepipe.trade.model import Trade
from tradepipe.trade.samples import BadRecord, ChangedTrade, NewTrade, ResentTrade, SampleRecord

logger = logging.getLogger(__name__)

RATE_STEP_SECONDS: Final = 0.5
"""Seconds to wait for room in the queue before a stop is looked for."""

CATCH_UP: Final = 1.0
"""Seconds of an outage that are caught up with at full speed, where a rate was asked for."""

MAX_TRADES_AHEAD: Final = 200
"""Trades that may be on their way while a bad record goes its own."""

MAX_BAD_AHEAD: Final = 10
"""Bad records that may be on their way."""

LOGGED_FAILURES: Final = 5
"""Failed trades that are told one by one."""


@dataclass(slots=True)
class SendCounts:
    """What was sent, and what became of it; `refused` and `unknown` are as `DeliveryFailed` has them."""

    new: int = 0
    resent: int = 0
    bad: int = 0
    refused: int = 0
    unknown: int = 0
    waiting: int = 0
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        """All records."""
        return self.new + self.resent + self.bad

    @property
    def acknowledged(self) -> int:
        """The records that are in the log."""
        return self.sent - self.refused - self.unknown - self.waiting

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.sent / self.seconds if self.seconds else 0.0


class LoadGenerator:
    """
    One run: trades go through a `Producer`, bad records beside it, since it refuses to send them.

    Args:
        stopped: set by whoever wants the run to end.

        patience: seconds to wait for the last acknowledgements.
    """

    def __init__(
        self,
        kafka: Config,
        *,
        registry: SchemaRegistry,
        topic: str,
        subject: str,
        stopped: threading.Event,
        patience: float,
    ) -> None:
        self._producer = Producer(kafka, registry=registry, topic=topic, subject=subject, close_timeout=patience)
        self._outbox = IdempotentProducer({**kafka, "linger.ms": 0}, topic=topic)
        self._stopped = stopped
        self._patience = patience
        self._began = time.monotonic()
        self._told = 0
        self.tally = SendCounts()

    def run(self, items: Iterable[SampleRecord], *, rate: float | None = None) -> Iterator[SampleRecord]:
        """Send items, no more than `rate` a second; each is yielded when it is on its way."""
        self._began = due = time.monotonic()
        for item in items:
            if rate is not None:
                self._stopped.wait(due - time.monotonic())
                due = max(due, time.monotonic() - CATCH_UP) + 1 / rate
            if not self._send(item):
                break
            self.tally.waiting = len(self._producer) + len(self._outbox)
            yield item

    def finish(self) -> bool:
        """Wait for the acknowledgements; False if some had not come when the patience was over."""
        until = time.monotonic() + self._patience
        try:
            self._producer.close()
        except DeliveryFailed as failed:
            self._count(failed)
        left = self._outbox.flush(max(0.0, until - time.monotonic()))
        self._outbox.abandon("not acknowledged in time")
        for failure in self._outbox.take_undelivered():
            self._log_failures(f"a bad record with key {failure.key!r}", failure.reason, refused=failure.refused)
        self.tally.waiting = 0
        self.tally.seconds = time.monotonic() - self._began
        return not left and not (self.tally.unknown and time.monotonic() >= until)

    def _send(self, item: SampleRecord) -> bool:
        """Send one item as soon as there is room; False if the run was stopped before."""
        match item:
            case NewTrade(trade):
                self.tally.new += (sent := self._retry(lambda: self._send_trade(trade)))
            case ResentTrade(trade):
                self.tally.resent += (sent := self._retry(lambda: self._send_trade(trade)))
            case ChangedTrade(trade):
                self.tally.bad += (sent := self._retry(lambda: self._send_trade(trade)))
            case BadRecord():
                self.tally.bad += (sent := self._retry(lambda: self._send_bad(item)))
        return sent

    def _retry(self, send: Callable[[], bool]) -> bool:
        while not self._stopped.is_set():
            try:
                if send():
                    return True
            except Unavailable as error:  # the queue is full: what is in it waits for Kafka, and so do we
                logger.debug("waiting: %s", error)
        return False

    def _send_trade(self, trade: Trade) -> bool:
        try:
            self._producer.produce(trade, timeout=RATE_STEP_SECONDS)
        except DeliveryFailed as failed:
            self._count(failed)
            # Earlier trades failed and this one was not sent, unless it is what was refused.
            return any(refused is trade for refused, _ in failed.refused)
        return True

    def _send_bad(self, record: BadRecord) -> bool:
        self._balance_queues()
        refused = self._outbox.send(record.key, record.value, timeout=RATE_STEP_SECONDS)
        if refused is not None:
            self._log_failures(f"a bad record with key {record.key!r}", refused.reason, refused=True)
        return True

    def _balance_queues(self) -> None:
        """
        Let neither queue get ahead of the other.

        Bad records that lie side by side in the log, and not among the trades they were mixed with, would look to
        a sink as if nothing else came.
        """
        try:
            if len(self._producer) > MAX_TRADES_AHEAD:
                self._producer.flush(RATE_STEP_SECONDS)
        except DeliveryFailed as failed:
            self._count(failed)
        if len(self._outbox) > MAX_BAD_AHEAD and self._outbox.flush(RATE_STEP_SECONDS):
            raise BrokerUnavailable(f"{len(self._outbox)} bad records are not acknowledged yet")

    def _count(self, failed: DeliveryFailed) -> None:
        for trades, refused in ((failed.refused, True), (failed.unknown, False)):
            for trade, reason in trades:
                self._log_failures(f"trade {trade.trade_id} version {trade.version}", reason, refused=refused)

    def _log_failures(self, what: str, reason: str, *, refused: bool) -> None:
        if refused:
            self.tally.refused += 1
        else:
            self.tally.unknown += 1
        self._told += 1
        if self._told <= LOGGED_FAILURES:
            logger.warning("%s %s: %s", what, "was refused" if refused else "may or may not be in the log", reason)
        elif self._told == LOGGED_FAILURES + 1:
            logger.warning("further ones are only counted")
