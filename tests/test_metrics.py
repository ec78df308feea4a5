"""Metrics: counting and rendering."""

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tradepipe import metrics
from tradepipe.metrics import Meter, page


def shown(meter: Meter) -> dict[tuple[str, tuple[str, ...]], float]:
    """The samples of a page, by name and values of labels."""
    text = page(meter, "").body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


@pytest.fixture
def meter() -> Meter:
    return Meter()


def test_names_follow_prometheus_conventions():
    for metric in metrics.CATALOGUE:
        assert metric.name.startswith("tradepipe_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert metric.meaning.endswith(".")


def test_the_catalogue_holds_every_metric_once():
    every = [each for each in vars(metrics).values() if isinstance(each, metrics.Metric)]

    assert sorted(every) == sorted(metrics.CATALOGUE)
    assert len(every) == len({each.name for each in every})


def test_a_counter_adds_up_by_its_labels(meter):
    meter.count(metrics.WRITTEN, "trades", "inserted", by=3)
    meter.count(metrics.WRITTEN, "trades", "inserted")
    meter.count(metrics.WRITTEN, "trades", "refused")

    found = shown(meter)
    assert 4 == found["tradepipe_records_written_total", ("inserted", "trades")]
    assert 1 == found["tradepipe_records_written_total", ("refused", "trades")]


def test_a_gauge_without_labels_is_shown(meter):
    meter.set(metrics.UNAVAILABLE, 1)

    assert 1 == shown(meter)["tradepipe_database_unavailable", ()]


def test_replaced_series_disappear(meter):
    meter.replace(metrics.LAG, {("trades", "0"): 5, ("trades", "1"): 6})
    meter.replace(metrics.LAG, {("trades", "1"): 7})

    assert [7] == [value for (name, _), value in shown(meter).items() if name == "tradepipe_lag_records"]


def test_buckets_are_cumulative(meter):
    for rows in (1, 5, 7, 20_000):
        meter.record({}, observations={metrics.Series(metrics.BATCH_ROWS, ("trades",)): rows})

    found = shown(meter)
    buckets = {labels[0]: value for (name, labels), value in found.items() if name == "tradepipe_batch_rows_bucket"}
    assert (1, 2, 3, 3, 4) == tuple(buckets[bound] for bound in ("1.0", "5.0", "10.0", "10000.0", "+Inf"))
    assert (4, 20_013) == (
        found["tradepipe_batch_rows_count", ("trades",)],
        found["tradepipe_batch_rows_sum", ("trades",)],
    )


def test_a_scraper_that_accepts_openmetrics_gets_openmetrics(meter):
    body, content_type = page(meter, "application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_counting_does_not_import_prometheus_client():
    program = """
import sys
from tradepipe.metrics import CONSUMED, Meter
Meter().count(CONSUMED, "trades")
sys.exit("prometheus_client" in sys.modules)
"""
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode
