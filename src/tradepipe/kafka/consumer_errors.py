"""Errors that librdkafka reports to a consumer."""

import logging
import time
from typing import Final

from confluent_kafka import KafkaError

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.assignment import Assignment
from tradepipe.kafka.failures import Confirmation, FailureClass, classify, code_of, translate
from tradepipe.kafka.librdkafka import without_state

logger = logging.getLogger("tradepipe.kafka.consumer")

REJOIN_SECONDS: Final = 10.0
"""Seconds between two clients that join after errors."""

BLOCKED_SECONDS: Final = 5.0
"""Seconds for which seeks of a partition may fail unnoticed: librdkafka starts to fetch it meanwhile."""

BLOCKED_REJOIN_SECONDS: Final = 30.0
"""Seconds after which a new client joins, because the seeks of a partition still fail."""

_NO_FETCHER: Final = frozenset({KafkaError._UNKNOWN_PARTITION, KafkaError._STATE})
"""Why a seek fails while librdkafka's fetcher does not have the assignment yet, or no longer, or has ended."""

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

    def record_seek(self, assignment: Assignment, offset: int, error: KafkaError | None) -> None:
        """
        Note that a seek succeeded, or why not; if a partition refuses seeks for long, a new client joins.

        Raises:
            ConfigurationError: no further try would succeed.
        """
        place = f"{self._topic}[{assignment.partition}] from offset {offset}"
        if error is None:
            if assignment.is_blocked:
                logger.warning("reading %s again", place)
            assignment.refuses_seeks_since, assignment.is_blocked = None, False
            return
        failure = translate(error, f"cannot read {place}")
        if error.code() not in _NO_FETCHER and isinstance(failure, ConfigurationError):
            raise failure
        now = time.monotonic()
        assignment.refuses_seeks_since = assignment.refuses_seeks_since or now
        seconds = now - assignment.refuses_seeks_since
        if seconds >= BLOCKED_SECONDS and not assignment.is_blocked:
            assignment.is_blocked = True
            logger.warning("%s; retrying, and joining the group again after %.0f s", failure, BLOCKED_REJOIN_SECONDS)
        if seconds >= BLOCKED_REJOIN_SECONDS:
            self.request_rejoin(str(failure))

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
