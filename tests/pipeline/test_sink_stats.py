"""The books of a sink."""

import pytest

from tradepipe import metrics
from tradepipe.pipeline.stats import SinkStats


@pytest.fixture
def account() -> SinkStats:
    return SinkStats("trades", None)


def test_every_counter_is_told_before_its_first_event(account):
    """What appears with its first event has no increase that an alarm could see."""
    others = {metrics.REBALANCES, metrics.VALIDATED, metrics.TRANSACTIONS, metrics.PRODUCERS}
    labelled = [metric for metric in metrics.CATALOGUE if metric.kind == "counter" and metric not in others]

    assert [] == [metric.name for metric in labelled if not account.meter.values(metric)]


def test_lag_is_the_sum_over_the_partitions_that_are_ours(account):
    account.set_partitions(2, {0: 5, 1: 7}, {0: 9, 1: 7}, paused=False)

    assert 4 == account.lag
    assert {("trades", "0"): 4, ("trades", "1"): 0} == account.meter.values(metrics.LAG)


@pytest.mark.parametrize(
    ("stored", "ends"), [({0: 5}, {0: 9}), ({0: 5, 1: 7}, {0: 9})], ids=["not claimed", "end not known"]
)
def test_lag_is_not_known_as_long_as_that_of_one_partition_is_not(account, stored, ends):
    account.set_partitions(2, stored, ends, paused=False)

    assert account.lag is None


def test_a_partition_that_was_taken_away_is_no_longer_told(account):
    account.set_partitions(2, {0: 5, 1: 7}, {0: 9, 1: 7}, paused=False)
    account.set_partitions(1, {1: 7}, {1: 7}, paused=False)

    assert {("trades", "1"): 7} == account.meter.values(metrics.STORED_OFFSET)
    assert {("trades", "1"): 0} == account.meter.values(metrics.LAG)


def test_what_has_ended_tells_of_no_partition_and_waits_for_nothing(account):
    account.set_partitions(1, {0: 5}, {0: 5}, paused=True)
    account.record_outage("gone")
    account.close()

    assert (0, None) == (account.lag, account.waiting_for)
    assert {} == account.meter.values(metrics.LAG)
    assert {(): 0} == account.meter.values(metrics.PAUSED) == account.meter.values(metrics.UNAVAILABLE)


def test_the_part_that_has_been_away_for_longest_is_told_first(account):
    account.set_waiting("the registry", waiting=True)
    account.record_outage("gone")
    account.set_waiting("the registry", waiting=True)
    assert "the registry" == account.waiting_for

    account.set_waiting("the registry", waiting=False)
    assert "PostgreSQL" == account.waiting_for
    account.record_recovery(1.0)
    assert account.waiting_for is None
    assert account.is_healthy


def test_what_kafka_counts_from_its_start_is_added_once(account):
    for gaps in (3, 3, 5):
        account.record_client_counters(gaps=gaps, errors=0, rebalances={"assign": 1})

    assert {("trades",): 5} == account.meter.values(metrics.GAPS)
    assert {("trades", "assign"): 1} == account.meter.values(metrics.REBALANCES)
