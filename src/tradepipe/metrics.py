"""Catalogue of the metrics, and the meter that holds their values."""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


class Metric(NamedTuple):
    """
    A Prometheus metric, in base units.

    A label never holds a trade's id or a Kafka key: their number is not bounded.
    """

    name: str
    meaning: str
    labels: tuple[str, ...] = ("topic",)
    buckets: tuple[float, ...] = ()

    @property
    def kind(self) -> Literal["counter", "gauge", "histogram"]:
        """Its kind in Prometheus, whose counters end in `_total`."""
        if self.buckets:
            return "histogram"
        return "counter" if self.name.endswith("_total") else "gauge"


_ROWS: Final = (1, 5, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_AGES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 3_600, 21_600, 86_400)

CONSUMED: Final = Metric(
    "tradepipe_records_consumed_total", "Records read from the topic; a record that is read again counts again."
)
WRITTEN: Final = Metric(
    "tradepipe_records_written_total",
    "Records of committed batches by result: inserted, duplicate, collided or refused.",
    ("topic", "result"),
)
VALIDATED: Final = Metric(
    "tradepipe_records_validated_total",
    "Records that a validator has written, by result: passed or refused. After a commit of unknown outcome, the "
    "committed offsets decide; if all partitions of that batch moved meanwhile, its records may be counted twice "
    "or not at all.",
    ("topic", "result"),
)
REFUSED: Final = Metric("tradepipe_records_refused_total", "Refused records by their first code.", ("topic", "code"))
GAPS: Final = Metric(
    "tradepipe_offset_gaps_total", "Offsets without a record for the consumer, such as transaction markers."
)
BATCH_ROWS: Final = Metric("tradepipe_batch_rows", "Records of a committed batch.", buckets=_ROWS)
AGE: Final = Metric(
    "tradepipe_e2e_latency_seconds",
    "Seconds from the timestamp of the first record of a batch to its commit.",
    buckets=_AGES,
)
BATCH_SECONDS: Final = Metric(
    "tradepipe_batch_duration_seconds",
    "Seconds from passing a batch to the writer to its commit, outages included.",
    buckets=_SECONDS,
)
UNAVAILABLE: Final = Metric("tradepipe_database_unavailable", "1 while PostgreSQL is unavailable, else 0.", ())
OUTAGES: Final = Metric("tradepipe_database_outages_total", "Times PostgreSQL became unavailable.", ())
TRANSACTIONS: Final = Metric(
    "tradepipe_transactions_total",
    "A validator's batches by outcome: committed, or interrupted (rolled back, or looked up because it was unknown).",
    ("topic", "outcome"),
)
PRODUCERS: Final = Metric(
    "tradepipe_producers_created_total",
    "Producers that a validator has created: one at its start, one after each unknown outcome.",
)
FENCED: Final = Metric("tradepipe_fenced_total", "Partitions of this sink that another sink claimed.")
CLAIMS: Final = Metric("tradepipe_claims_total", "Partitions claimed.")
REBALANCES: Final = Metric(
    "tradepipe_rebalances_total", "Times the group assigned or revoked partitions.", ("topic", "kind")
)
KAFKA_ERRORS: Final = Metric(
    "tradepipe_kafka_errors_total",
    "Errors the Kafka client recovers from, such as a lost connection; failed connection attempts count too.",
)
ASSIGNED: Final = Metric("tradepipe_assigned_partitions", "Partitions the group assigns to this process.")
READING: Final = Metric(
    "tradepipe_active_partitions", "Partitions that are read: claimed by a sink, or located by a validator."
)
PAUSED: Final = Metric(
    "tradepipe_paused", "1 while fetching is paused because earlier records cannot be written yet, else 0.", ()
)
WITHHELD: Final = Metric(
    "tradepipe_open_transaction_seconds",
    "Seconds for which an open transaction has withheld all further records of a partition, from a minute on.",
    ("topic", "partition"),
)
STOPPED: Final = Metric(
    "tradepipe_partitions_stopped",
    "Assigned partitions of which nothing more is read, because they exceed the refusal limit.",
)
MISPLACED: Final = Metric(
    "tradepipe_records_misplaced_total",
    "Records on another partition than the default partitioner chooses for their keys, of the first ones of each poll.",
)
STORED_OFFSET: Final = Metric(
    "tradepipe_stored_offset",
    "The next offset to store (sink) or to validate (validator) of each assigned partition.",
    ("topic", "partition"),
)
LAG: Final = Metric(
    "tradepipe_lag_records",
    "Offsets from the stored offset to the end of the log of each assigned partition, open transactions included.",
    ("topic", "partition"),
)
LAST_POLL: Final = Metric("tradepipe_last_poll_timestamp_seconds", "When Kafka was last polled, Unix time.", ())
LAST_PROGRESS: Final = Metric(
    "tradepipe_last_progress_timestamp_seconds", "When a batch was last committed, Unix time.", ()
)
BUILD: Final = Metric(
    "tradepipe_build_info",
    "1; its labels are the package version, the schema version it writes and the revision it needs.",
    ("version", "schema", "revision"),
)

CATALOGUE: Final = tuple(each for each in [*globals().values()] if isinstance(each, Metric))
"""All metrics, in the order of the output."""


class Distribution:
    """Bucket counts and sum of a histogram."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        # Left: Prometheus' buckets include their upper bound.
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


Labels = tuple[str, ...]
"""The values of a metric's labels, in the order of their names."""


class Series(NamedTuple):
    """One series of a metric: the metric and the values of its labels."""

    metric: Metric
    labels: Labels = ()


_NOTHING: Final[Mapping[Series, float]] = {}


class Meter:
    """
    Values of the metrics of one stage, for any thread to read.

    Independent of prometheus_client, which is loaded only to serve them.
    """

    def __init__(self) -> None:
        # A scrape runs in the thread of the server, while two threads of a sink count.
        self._lock = threading.Lock()
        self._values: dict[Metric, dict[Labels, float]] = {}
        self._distributions: dict[Metric, dict[Labels, Distribution]] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Raise a counter."""
        self.record(counts={Series(metric, labels): by})

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._values.setdefault(metric, {})[labels] = value

    def replace(self, metric: Metric, values: dict[Labels, float]) -> None:
        """Set a gauge for exactly these labels, and drop its other series, as those of a revoked partition."""
        with self._lock:
            # Replaced as a whole: a scrape never sees a revoked partition next to the new ones.
            self._values[metric] = values

    def record(
        self,
        counts: Mapping[Series, float],
        gauges: Mapping[Series, float] = _NOTHING,
        observations: Mapping[Series, float] = _NOTHING,
    ) -> None:
        """Raise counters, set gauges and add values to histograms; a scrape sees all of it or nothing."""
        with self._lock:
            for (metric, labels), by in counts.items():
                values = self._values.setdefault(metric, {})
                values[labels] = values.get(labels, 0) + by
            for (metric, labels), value in gauges.items():
                self._values.setdefault(metric, {})[labels] = value
            for (metric, labels), value in observations.items():
                known = self._distributions.setdefault(metric, {})
                known.setdefault(labels, Distribution(metric.buckets)).add(value)

    def values(self, metric: Metric) -> dict[Labels, float]:
        """Return the values of a counter or a gauge by labels."""
        with self._lock:
            return dict(self._values.get(metric, {}))

    def distributions(self, metric: Metric) -> dict[Labels, tuple[list[int], float]]:
        """Return the bucket counts of a histogram, the last one without a bound, and its sum, by labels."""
        with self._lock:
            known = self._distributions.get(metric, {})
            # Copies, so that counts and sum of one scrape fit together.
            return {labels: (list(each.counts), each.total) for labels, each in known.items()}


class Page(NamedTuple):
    """Response to a scrape."""

    body: bytes
    content_type: str


def page(meter: Meter, accept: str) -> Page:
    """
    Render all metrics in the text format the scraper accepts: Prometheus or OpenMetrics.

    Includes those of the process: CPU, memory, open files.

    Args:
        accept: the HTTP header of this name; empty means the Prometheus format.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 - loaded only to serve metrics
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - loaded only to serve metrics
    from prometheus_client.metrics_core import (  # noqa: PLC0415 - loaded only to serve metrics
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.registry import Collector  # noqa: PLC0415 - loaded only to serve metrics

    class Catalogue(Collector):
        def collect(self) -> Iterator["Family"]:
            for metric in CATALOGUE:
                if metric.kind == "histogram":
                    histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
                    for labels, (counts, total) in meter.distributions(metric).items():
                        # Cumulative, as Prometheus defines buckets: each includes all smaller ones.
                        bounds = [*(str(float(bound)) for bound in metric.buckets), "+Inf"]
                        histogram.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
                    yield histogram
                else:
                    family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                    numbers = family(metric.name, metric.meaning, labels=metric.labels)
                    for labels, value in meter.values(metric).items():
                        numbers.add_metric(labels, value)
                    yield numbers

    # A registry per scrape: the global one would also show what other libraries of the process register.
    registry = CollectorRegistry()
    registry.register(Catalogue())
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return Page(encode(registry), content_type)
