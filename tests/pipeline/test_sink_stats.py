"""Counters and metrics of a sink."""

import pytest

from tradepipe import metrics
from tradepipe.pipeline.stats import SinkStats


@pytest.fixture
def stats() -> SinkStats:
    return SinkStats("trades", None)


def test_every_counter_has_a_series_before_its_first_event(stats):
    """A series that appears with its first event has no increase to alert on."""
    others = {metrics.REBALANCES, metrics.VALIDATED, metrics.TRANSACTIONS, metrics.PRODUCERS}
    labelled = [metric for metric in metrics.CATALOGUE if metric.kind == "counter" and metric not in others]

    assert [] == [metric.name for metric in labelled if not stats.meter.values(metric)]


def test_lag_is_the_sum_over_the_assigned_partitions(stats):
    stats.set_partitions(2, {0: 5, 1: 7}, {0: 9, 1: 7}, paused=False)

    assert 4 == stats.lag
    assert {("trades", "0"): 4, ("trades", "1"): 0} == stats.meter.values(metrics.LAG)


@pytest.mark.parametrize(
    ("stored", "ends"), [({0: 5}, {0: 9}), ({0: 5, 1: 7}, {0: 9})], ids=["not claimed", "end not known"]
)
def test_lag_is_unknown_while_that_of_one_partition_is(stats, stored, ends):
    stats.set_partitions(2, stored, ends, paused=False)

    assert stats.lag is None


def test_a_revoked_partition_has_no_series(stats):
    stats.set_partitions(2, {0: 5, 1: 7}, {0: 9, 1: 7}, paused=False)
    stats.set_partitions(1, {1: 7}, {1: 7}, paused=False)

    assert {("trades", "1"): 7} == stats.meter.values(metrics.STORED_OFFSET)
    assert {("trades", "1"): 0} == stats.meter.values(metrics.LAG)


def test_a_closed_stage_reports_no_partition_and_waits_for_nothing(stats):
    stats.set_partitions(1, {0: 5}, {0: 5}, paused=True)
    stats.record_outage("gone")
    stats.close()

    assert (0, None) == (stats.lag, stats.waiting_for)
    assert {} == stats.meter.values(metrics.LAG)
    assert {(): 0} == stats.meter.values(metrics.PAUSED) == stats.meter.values(metrics.UNAVAILABLE)


def test_the_service_that_has_been_unavailable_for_longest_is_named(stats):
    stats.set_waiting("the registry", waiting=True)
    stats.record_outage("gone")
    stats.set_waiting("the registry", waiting=True)
    assert "the registry" == stats.waiting_for

    stats.set_waiting("the registry", waiting=False)
    assert "PostgreSQL" == stats.waiting_for
    stats.record_recovery(1.0)
    assert stats.waiting_for is None
    assert stats.is_healthy


def test_totals_of_the_kafka_client_are_counted_once(stats):
    for gaps in (3, 3, 5):
        stats.record_reader_counters({metrics.GAPS: gaps}, {"assign": 1}, None)

    assert {("trades",): 5} == stats.meter.values(metrics.GAPS)
    assert {("trades", "assign"): 1} == stats.meter.values(metrics.REBALANCES)
