"""Outages of Kafka as one client sees them: each is logged when it begins and when it ends."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaException

from tradepipe.background import run_in_thread
from tradepipe.kafka.failures import unwrap
from tradepipe.outage import Outage
from tradepipe.plural import format_count

logger = logging.getLogger(__name__)

PROBE_TIMEOUT: Final = 1.0
"""Seconds a broker has to answer a probe."""

PROBE_INTERVAL: Final = 1.0
"""Seconds between two probes of an outage."""


class OutageLog:
    """
    Log when Kafka becomes unavailable to a producer, and when it is available again.

    A reported error is not yet an outage: brokers close idle connections, and one of
    several brokers may be down. So it only starts a probe, whose result decides.

    Args:
        count_waiting: returns the number of records that wait for delivery.
    """

    def __init__(self, topic: str, *, count_waiting: Callable[[], int]) -> None:
        self._topic = topic
        self._count_waiting = count_waiting
        self._suspicion: str | None = None
        self._reason = ""
        self._outage = Outage("Kafka", logger)
        self._probe: Future[str | None] | None = None
        self._next_probe_at = float("-inf")

    def suspect(self, reason: str) -> None:
        """Have `check` find out whether Kafka is available, because of an error with this reason."""
        # Only noted: librdkafka reports errors inside `poll`, where a request would delay the delivery reports.
        self._suspicion = reason

    def begin(self, reason: str) -> None:
        """Log that Kafka is unavailable, unless that is logged already."""
        self._reason = reason
        self._outage.begin(reason, self._format_waiting())

    def check(self, client: confluent_kafka.Producer) -> bool:
        """Probe if there is a reason to, without blocking; return whether a probe has just succeeded."""
        if self._probe is None:
            is_due = self._suspicion is not None or self._outage.is_active
            if is_due and time.monotonic() >= self._next_probe_at:
                # Taken before the probe: an error that is reported while it runs is a reason for another one.
                self._reason, self._suspicion = self._suspicion or self._reason, None
                # In a thread, since librdkafka's call blocks until its timeout; the producer's close does not wait.
                self._probe = run_in_thread(partial(_find_problem, client, self._topic), "tradepipe-probe")
            return False
        if not self._probe.done():
            return False
        problem, self._probe = self._probe.result(), None
        self._next_probe_at = time.monotonic() + PROBE_INTERVAL
        if problem is not None:
            # The error that the connection reported tells more than a probe's "timed out".
            self.begin(self._suspicion or self._reason or problem)
            return False
        self._outage.end(self._format_waiting())
        return True

    def _format_waiting(self) -> str:
        return f"{format_count(self._count_waiting(), 'record')} queued"


def _find_problem(client: confluent_kafka.Producer, topic: str) -> str | None:
    """Return why writing to a topic fails, by its metadata; None if it succeeds."""
    try:
        description = client.list_topics(topic, timeout=PROBE_TIMEOUT).topics[topic]
    except KafkaException as error:
        return unwrap(error).str()
    if description.error is not None:
        return f"topic {topic}: {description.error.str()}"
    if leaderless := sorted(each.id for each in description.partitions.values() if each.leader < 0):
        return f"topic {topic}: no leader for partition {', '.join(map(str, leaderless))}"
    return None
