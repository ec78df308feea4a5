"""Which errors a consumer waits out, after which it joins again with a new client, and which end it."""

import time

from confluent_kafka import KafkaError

from tradepipe.kafka import failures
from tradepipe.kafka.consumer_errors import REJOIN_SECONDS, ConsumerErrors

REFUSED = KafkaError(KafkaError._TRANSPORT, "127.0.0.1:9092: Connect failed: Connection refused")
ALL_DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
DAMAGED = KafkaError(KafkaError._BAD_MSG, "Parse error")
DENIED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "Broker: Topic authorization failed")
INSTANCE_TAKEN = KafkaError(KafkaError.FENCED_INSTANCE_ID, "Static consumer fenced by other consumer")
FATAL = KafkaError(KafkaError._FATAL, "Unsupported assignor", True)


def reported(*errors: KafkaError, has_read: bool = True) -> ConsumerErrors:
    """Report errors to a consumer that has read records before, or has not."""
    reports = ConsumerErrors("trades")
    if has_read:
        reports.confirmation.record_success()
    for error in errors:
        reports.handle(error)
    return reports


def test_outages_are_counted_and_waited_out():
    reports = reported(REFUSED, DAMAGED, REFUSED)

    assert (3, REFUSED.str()) == (reports.outages, reports.last_outage)
    assert (None, None, False) == (reports.failure, reports.rejoin_at, reports.confirmation.is_failing)


def test_all_brokers_down_does_not_replace_a_reason():
    """It contains none."""
    assert REFUSED.str() == reported(REFUSED, ALL_DOWN).last_outage
    assert ALL_DOWN.str() == reported(ALL_DOWN).last_outage


def test_a_consumer_that_has_read_nothing_yet_fails_at_the_first_denial():
    reports = reported(DENIED, has_read=False)

    assert "cannot consume topic trades: Broker: Topic authorization failed" in str(reports.failure)
    assert "group.instance.id" not in str(reports.failure)


def test_a_consumer_that_has_read_joins_again_before_it_believes_a_denial(caplog):
    before = time.monotonic()
    reports = reported(DENIED)

    assert reports.failure is None
    assert reports.confirmation.is_failing
    assert before <= reports.rejoin_at <= time.monotonic()
    assert "joining the group again: cannot consume topic trades" in caplog.text


def test_a_denial_that_lasts_fails(monkeypatch):
    monkeypatch.setattr(failures, "CONFIRM_SECONDS", 0.0)

    assert reported(DENIED).failure


def test_an_outage_ends_the_confirmation_of_a_denial():
    reports = reported(DENIED, REFUSED)

    assert not reports.confirmation.is_failing


def test_a_consumer_joins_again_once_in_a_while():
    reports = reported(DENIED)
    before = time.monotonic()
    reports.record_rejoin()
    after = time.monotonic()
    assert reports.rejoin_at is None

    reports.handle(DENIED)
    first = reports.rejoin_at
    reports.handle(DENIED)

    assert first == reports.rejoin_at
    assert before + REJOIN_SECONDS <= first <= after + REJOIN_SECONDS


def test_an_instance_id_that_another_member_uses_fails_at_once():
    """Otherwise the two would take it from each other for ever."""
    reports = reported(INSTANCE_TAKEN)

    assert "another member runs with the same group.instance.id" in str(reports.failure)


def test_a_fatal_error_names_what_may_cause_it():
    assert "check group.protocol, and that no two members" in str(reported(FATAL, has_read=False).failure)
