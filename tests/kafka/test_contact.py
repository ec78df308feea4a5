"""The first contact with a broker: permanent refusals and outages."""

import pytest
from confluent_kafka import KafkaError

from tradepipe.errors import ConfigurationError
from tradepipe.kafka.librdkafka import FirstContact

ALL_DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "2/2 brokers are down")
UNTRUSTED = KafkaError(KafkaError._SSL, "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed")
UNKNOWN_TO_THEM = KafkaError(KafkaError._TRANSPORT, "Receive failed: SSL routines::tlsv13 alert certificate required")
CUT_OFF = KafkaError(KafkaError._SSL, "SSL handshake failed: SSL routines::unexpected eof while reading")
DOWN = KafkaError(KafkaError._TRANSPORT, "Connect to 127.0.0.1:9092 failed: Connection refused")
WRONG_PASSWORD = KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error")


def after(*errors, made=False):
    contact = FirstContact()
    contact.succeeded = made
    for error in errors:
        contact.record_error(error)
    return contact


def test_all_brokers_down_is_reported_once_a_second_later(monkeypatch):
    contact = after(DOWN, ALL_DOWN)
    assert not contact.should_report_unreachable()  # a name may have another address, which is tried first

    monkeypatch.setattr("tradepipe.kafka.librdkafka.ALL_DOWN_SECONDS", 0.0)
    assert [True, False] == [contact.should_report_unreachable() for _ in range(2)]
    assert not after(DOWN, ALL_DOWN, made=True).should_report_unreachable()


@pytest.mark.parametrize("suppressed", ["", ", 5 identical error(s) suppressed"], ids=["once", "repeated"])
def test_the_last_error_is_without_the_state_of_the_connection(suppressed):
    refused = "localhost:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused"
    error = KafkaError(KafkaError._TRANSPORT, f"{refused} (after 0ms in state CONNECT{suppressed})")

    assert refused == after(error).last_error


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ([WRONG_PASSWORD], "check sasl.mechanism, sasl.username and sasl.password"),
        ([UNTRUSTED, ALL_DOWN], "certificate verify failed.*ssl.ca.location"),
        ([UNKNOWN_TO_THEM, ALL_DOWN], "certificate required.*ssl.certificate.location"),
        ([DOWN, UNTRUSTED, ALL_DOWN], "certificate verify failed"),
    ],
    ids=["password", "their certificate", "our certificate", "after an outage"],
)
def test_a_permanent_refusal_is_reported_at_once(errors, message):
    refusal = after(*errors).permanent_error()

    with pytest.raises(ConfigurationError, match=message):
        raise refusal


@pytest.mark.parametrize(
    "errors",
    [[], [DOWN, ALL_DOWN], [CUT_OFF, ALL_DOWN], [UNTRUSTED], [UNTRUSTED, DOWN, ALL_DOWN]],
    ids=["nothing", "down", "cut off", "one of several", "another one is down"],
)
def test_a_temporary_error_is_not_permanent(errors):
    assert after(*errors).permanent_error() is None


def test_at_the_deadline_one_untrusted_broker_is_enough():
    """librdkafka reports only once that all brokers are down."""
    assert isinstance(after(UNTRUSTED).permanent_error(final=True), ConfigurationError)


@pytest.mark.parametrize("error", [WRONG_PASSWORD, UNTRUSTED], ids=["password", "certificate"])
def test_after_an_answer_every_refusal_is_an_outage(error):
    """Users and certificates may be renewed while a stage runs."""
    assert after(error, ALL_DOWN, made=True).permanent_error(final=True) is None
