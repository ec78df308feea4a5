"""Outages of Kafka as one client sees them: each is logged when it begins and when it ends."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import confluent_kafka
from confluent_kafka import KafkaException

from tradepipe.kafka.failures import unwrap
from tradepipe.outage import Outage
from tradepipe.redaction import format_count

logger = logging.getLogger(__name__)

PROBE_TIMEOUT: Final = 1.0
"""Seconds a broker has to answer a probe."""

PROBE_INTERVAL: Final = 1.0
"""Seconds between two probes of an outage."""


class _Probe:
    """A metadata request in a separate thread, since librdkafka's call blocks until its timeout."""

    def __init__(self, client: confluent_kafka.Producer, topic: str) -> None:
        self.problem: str | None = None
        """Why writing to the topic fails; None if it succeeds."""
        # Daemon: the request may outlast the producer's close, and the interpreter must not wait for it.
        self._thread = threading.Thread(target=self._run, args=(client, topic), name="tradepipe-probe", daemon=True)
        self._thread.start()

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self, client: confluent_kafka.Producer, topic: str) -> None:
        try:
            description = client.list_topics(topic, timeout=PROBE_TIMEOUT).topics[topic]
        except KafkaException as error:
            self.problem = unwrap(error).str()
            return
        if description.error is not None:
            self.problem = f"topic {topic}: {description.error.str()}"
        elif leaderless := sorted(each.id for each in description.partitions.values() if each.leader < 0):
            self.problem = f"topic {topic}: no leader for partition {', '.join(map(str, leaderless))}"


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
        self._probe: _Probe | None = None
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
                self._probe = _Probe(client, self._topic)
            return False
        if self._probe.is_running():
            return False
        problem, self._probe = self._probe.problem, None
        self._next_probe_at = time.monotonic() + PROBE_INTERVAL
        if problem is not None:
            # The error that the connection reported tells more than a probe's "timed out".
            self.begin(self._suspicion or self._reason or problem)
            return False
        self._outage.end(self._format_waiting())
        return True

    def _format_waiting(self) -> str:
        return f"{format_count(self._count_waiting(), 'record')} queued"
