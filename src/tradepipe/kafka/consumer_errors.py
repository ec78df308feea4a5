"""Errors that librdkafka reports to a consumer."""

import logging
import time
from typing import Final

from confluent_kafka import KafkaError

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.failures import Confirmation, FailureClass, classify, code_of, translate
from tradepipe.kafka.librdkafka import without_state

logger = logging.getLogger("tradepipe.kafka.consumer")

REJOIN_SECONDS: Final = 10.0
"""Seconds between two clients that join after errors."""

_ADVICE_ON_FATAL: Final = "; check group.protocol, and that no two members have the same group.instance.id"


class ConsumerErrors:
    """
    Decides for each error whether the consumer waits, joins again with a new client, or fails.

    librdkafka recovers from an outage by itself. A configuration error it reports only
    once, whether it lasts or not; a new client reports it again if it lasts. So the
    consumer joins again, every `REJOIN_SECONDS`, and fails when the error is confirmed.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.confirmation = Confirmation()
        """Whether the brokers deny access, and for how long."""
        self.has_new = True
        """Whether there were errors since the last success, or no success yet."""
        self.outages = 0
        """Errors from which librdkafka recovers by itself."""
        self.last_outage: str | None = None
        """The last of them."""
        self.failure: ConfigurationError | None = None
        """A permanent error, confirmed."""
        self.rejoin_at: float | None = None
        """When a new client should join, by `time.monotonic()`."""
        self._rejoined_at = float("-inf")

    def handle(self, error: KafkaError) -> None:
        """Handle an error; never raises, because librdkafka calls this inside a poll that has records to return."""
        self.has_new = True
        # An error of data that names no partition is that of a damaged response, which is requested again.
        if classify(error) in {FailureClass.UNAVAILABLE, FailureClass.DATA}:
            self.confirmation.record_outage()
            # Not logged: librdkafka reports every connection attempt, also if the other brokers answer. The stage finds
            # out whether it is an outage.
            self.outages += 1
            if error.code() != KafkaError._ALL_BROKERS_DOWN or self.last_outage is None:  # it does not contain a reason
                self.last_outage = without_state(error)
            return
        advice = _ADVICE_ON_FATAL if classify(error) is FailureClass.FATAL else ""
        self.deny(error, ConfigurationError(f"{translate(error, f'cannot consume topic {self._topic}')}{advice}"))

    def deny(self, error: KafkaError, failure: ConfigurationError) -> None:
        """Handle an error that may be permanent; `failure` is raised if it is."""
        self.has_new = True
        # A member id that another process uses ends the stage at once: the two would take it from each other for ever.
        if self.confirmation.confirm() or code_of(error) == KafkaError.FENCED_INSTANCE_ID:
            self.failure = failure
        else:
            self.request_rejoin(f"{failure} (the stage ends if this lasts)")

    def record_success(self) -> None:
        """Note that the brokers have returned records, or the end of a partition."""
        self.has_new = False
        self.confirmation.record_success()

    def request_rejoin(self, reason: str) -> None:
        """Let a new client join: at once, but no sooner than `REJOIN_SECONDS` after the last one."""
        if self.rejoin_at is None:
            self.rejoin_at = max(time.monotonic(), self._rejoined_at + REJOIN_SECONDS)
            logger.warning("joining the group again: %s", reason)

    def record_rejoin(self) -> None:
        """Note that a new client joins."""
        self.rejoin_at, self._rejoined_at = None, time.monotonic()
