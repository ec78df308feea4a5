"""Generator of load: sends trades and invalid records, and counts the results."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tradepipe.errors import BrokerUnavailable, DeliveryFailed, TradepipeError, Unavailable
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.kafka.config import Config
from tradepipe.kafka.producer import IdempotentProducer
from tradepipe.pipeline.producer import Producer
from tradepipe.registry.client import SchemaRegistry
from tradepipe.trade.samples import BadRecord, ChangedTrade, NewTrade, ResentTrade, SampleRecord

logger = logging.getLogger(__name__)

RATE_STEP_SECONDS: Final = 0.5
"""Seconds to wait for space in the queue before checking whether the run was stopped."""

MAX_CATCH_UP_SECONDS: Final = 1.0
"""With --rate: seconds of an outage whose records are sent at full speed afterwards."""

STOP_SECONDS: Final = 1.0
"""Seconds without an acknowledgement after which a stopped run gives up: brokers that work answer in a tenth of it."""

FIRST_SECONDS: Final = 5.0
"""Seconds for the first acknowledgement of a stopped run while brokers answer: the client must connect to a leader."""

POLL_SECONDS: Final = 0.01
"""Seconds between two looks at the queues."""

MAX_QUEUED_TRADES: Final = 200
"""Unacknowledged trades allowed when an invalid record is sent."""

MAX_QUEUED_INVALID: Final = 10
"""Unacknowledged invalid records allowed."""

MAX_LOGGED_FAILURES: Final = 5
"""Failed records that are logged one by one."""


@dataclass(slots=True)
class SendCounts:
    """Counts of sent records; `refused` and `unknown` as in `DeliveryFailed`."""

    new: int = 0
    resent: int = 0
    bad: int = 0
    refused: int = 0
    unknown: int = 0
    waiting: int = 0
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        """Number of sent records."""
        return self.new + self.resent + self.bad

    @property
    def acknowledged(self) -> int:
        """Number of acknowledged records."""
        return self.sent - self.refused - self.unknown - self.waiting

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def document(self) -> dict[str, object]:
        """Return the JSON document of `--format json`."""
        return {
            "sent": self.sent,
            "new": self.new,
            "resent": self.resent,
            "invalid": self.bad,
            "acknowledged": self.acknowledged,
            "refused": self.refused,
            "unknown": self.unknown,
            "seconds": round(self.seconds, 3),
        }


class LoadGenerator:
    """
    Send trades through a `Producer`, and invalid records, which it would refuse, through a second client.

    Args:
        stopped: ends the run when set.

        flush_timeout: seconds to wait for the last acknowledgements.
    """

    def __init__(
        self,
        kafka: Config,
        *,
        registry: SchemaRegistry,
        topic: str,
        subject: str,
        stopped: threading.Event,
        flush_timeout: float,
    ) -> None:
        self._admin = TopicAdmin(kafka, request_timeout=STOP_SECONDS)
        self._topic = topic
        self._producer = Producer(kafka, registry=registry, topic=topic, subject=subject, close_timeout=flush_timeout)
        self._invalid_producer = IdempotentProducer({**kafka, "linger.ms": 0}, topic=topic)
        self._stopped = stopped
        self._flush_timeout = flush_timeout
        self._started_at = time.monotonic()
        self._logged = 0
        self.counts = SendCounts()

    def run(self, items: Iterable[SampleRecord], *, rate: float | None = None) -> Iterator[SampleRecord]:
        """Send items, at most `rate` per second, and yield each one after it is queued."""
        self._started_at = due = time.monotonic()
        for item in items:
            if rate is not None:
                self._stopped.wait(due - time.monotonic())
                due = max(due, time.monotonic() - MAX_CATCH_UP_SECONDS) + 1 / rate
            if not self._send(item):
                break
            self._count_waiting()
            yield item

    def finish(self) -> bool:
        """Wait for the acknowledgements, after a stop only while they arrive; return whether all arrived in time."""
        until = time.monotonic() + self._flush_timeout
        while self._count_waiting() and time.monotonic() < until and not self._stopped.is_set():
            time.sleep(POLL_SECONDS)
        left = self._count_waiting()
        patience = STOP_SECONDS
        if self._stopped.is_set() and left and not self.counts.acknowledged:
            # The producer may still connect, or Kafka may be unavailable: then the answer takes STOP_SECONDS already.
            try:
                self._admin.describe(self._topic)
                patience = FIRST_SECONDS
            except TradepipeError:
                patience = 0.0
        until = min(until, time.monotonic() + patience)
        while left and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            if self._count_waiting() < left:
                left, until = self.counts.waiting, time.monotonic() + STOP_SECONDS
        unknown = self.counts.unknown
        try:
            # No more time: the acknowledgements were awaited above, after a stop only while they came.
            self._producer.close(timeout=0)
        except DeliveryFailed as failed:
            self._count(failed)
        self._invalid_producer.abandon("not acknowledged in time")
        for failure in self._invalid_producer.take_undelivered():
            self._log_failures(f"invalid record with key {failure.key!r}", failure.reason, refused=failure.refused)
        self.counts.waiting = 0
        self.counts.seconds = time.monotonic() - self._started_at
        # Not the records that were left before: closing the producer may have served their acknowledgements.
        return self.counts.unknown == unknown

    def _count_waiting(self) -> int:
        self.counts.waiting = len(self._producer) + len(self._invalid_producer)
        return self.counts.waiting

    def _send(self, item: SampleRecord) -> bool:
        """Send one item as soon as there is space in the queue; return False if the run was stopped."""
        while not self._stopped.is_set():
            try:
                if isinstance(item, BadRecord):
                    self._send_bad(item)
                else:
                    self._producer.produce(item.trade, timeout=RATE_STEP_SECONDS)
            except DeliveryFailed as failed:  # this trade is sent, or among the refused
                self._count(failed)
            except Unavailable as error:  # the queue is full while Kafka is unavailable
                logger.debug("queue full, retrying: %s", error)
                continue
            match item:
                case NewTrade():
                    self.counts.new += 1
                case ResentTrade():
                    self.counts.resent += 1
                case ChangedTrade() | BadRecord():
                    self.counts.bad += 1
            return True
        return False

    def _send_bad(self, record: BadRecord) -> None:
        # Keep both queues short, so that valid trades are between the invalid records in the log: an unbroken run of
        # them would reach a stage's refusal limit.
        try:
            if len(self._producer) > MAX_QUEUED_TRADES:
                self._producer.flush(RATE_STEP_SECONDS)
        except DeliveryFailed as failed:
            self._count(failed)
        if len(self._invalid_producer) > MAX_QUEUED_INVALID and self._invalid_producer.flush(RATE_STEP_SECONDS):
            raise BrokerUnavailable(f"{len(self._invalid_producer)} invalid records are not acknowledged yet")
        refused = self._invalid_producer.send(record.key, record.value, timeout=RATE_STEP_SECONDS)
        if refused is not None:
            self._log_failures(f"invalid record with key {record.key!r}", refused.reason, refused=True)

    def _count(self, failed: DeliveryFailed) -> None:
        for trades, refused in ((failed.refused, True), (failed.unknown, False)):
            for trade, reason in trades:
                self._log_failures(f"trade {trade.trade_id} version {trade.version}", reason, refused=refused)

    def _log_failures(self, what: str, reason: str, *, refused: bool) -> None:
        if refused:
            self.counts.refused += 1
        else:
            self.counts.unknown += 1
        self._logged += 1
        if self._logged <= MAX_LOGGED_FAILURES:
            logger.warning("%s %s: %s", what, "was refused" if refused else "may or may not be in the log", reason)
        elif self._logged == MAX_LOGGED_FAILURES + 1:
            logger.warning("further failures are counted but not logged")
