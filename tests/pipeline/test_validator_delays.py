"""The validator with high latency, or with one late request in a transaction."""

from collections.abc import Callable, Iterator

import pytest

from tests.eventually import eventually
from tests.kafka.proxy import ADD_PARTITIONS_TO_TXN, END_TXN, PRODUCE, TXN_OFFSET_COMMIT, KafkaProxy
from tests.pipeline.running_stages import done, mixture, running
from tests.proxy import port_of
from tradepipe import Validator
from tradepipe.metrics import PRODUCERS, REBALANCES, TRANSACTIONS

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("targets")]

PATIENCE = 1.5
"""Seconds until librdkafka gives a request up, breaks the connection and asks again."""


@pytest.fixture
def proxy(pipeline) -> Iterator[KafkaProxy]:
    """Run a proxy between the validator and the broker; the test itself connects directly."""
    with KafkaProxy(port_of(pipeline.kafka["bootstrap.servers"])) as proxy:
        yield proxy


@pytest.fixture
def create_impatient_validator(pipeline, proxy) -> Callable[..., Validator]:
    """Return a validator with short timeouts that connects through the proxy."""

    def create_impatient_validator(**kafka: int) -> Validator:
        patience = {"socket.timeout.ms": int(PATIENCE * 1000), "transaction.timeout.ms": 10_000}
        return pipeline.validator(kafka={"bootstrap.servers": f"127.0.0.1:{proxy.port}", **patience, **kafka})

    return create_impatient_validator


PUT_IN_DOUBT = [
    pytest.param((TXN_OFFSET_COMMIT, ADD_PARTITIONS_TO_TXN), {}, id="the connection is broken off"),
    pytest.param((END_TXN,), {"socket.max.fails": 0}, id="the connection stays, so the answer arrives"),
]


@pytest.mark.parametrize(("requests", "settings"), PUT_IN_DOUBT)
def test_a_late_response_loses_and_duplicates_nothing(pipeline, proxy, create_impatient_validator, requests, settings):
    validator, sent = create_impatient_validator(**settings), 0
    with running(validator):
        for seed, request in enumerate(requests):
            late = proxy.hold_answer(request, seconds=2 * PATIENCE)
            records = mixture(pipeline, 100, seed)
            pipeline.publish_bytes(records)
            sent += len(records)
            assert late.over.wait(200)
            eventually(lambda sent=sent: done(validator) == sent)
        eventually(lambda: validator.meter.values(PRODUCERS)[pipeline.topic,] > len(requests))

    pipeline.sorted().check()


def test_a_late_end_request_does_not_end_a_later_transaction(
    pipeline, proxy, create_impatient_validator, some_trades, written
):
    """
    The first transaction has ended, as it was asked for again; then comes what was asked first.

    By then some of the second one's records are in the log, others are not.
    """
    end = proxy.hold_request(END_TXN)
    with running(create_impatient_validator()) as validator:
        pipeline.publish(some_trades(100))
        eventually(lambda: done(validator) == 100)
        rest, before = proxy.hold_request(PRODUCE, behind=1), written()
        pipeline.publish(some_trades(200)[100:])
        assert rest.begun.wait(200)
        eventually(lambda: written() > before)
        end.release()
        rest.release()
        eventually(lambda: done(validator) == 200)

    pipeline.sorted().check()


def test_a_validator_with_high_latency_keeps_working(pipeline, proxy):
    """Three answers, one after the other, are what a transaction's offsets wait for."""
    records = mixture(pipeline, 100)
    validator = pipeline.validator(kafka={"bootstrap.servers": f"127.0.0.1:{proxy.port}"})
    with running(validator):
        eventually(lambda: validator.is_ready and validator.lag == 0)
        proxy.answers_after = 1.0
        pipeline.publish_bytes(records)
        eventually(lambda: done(validator) == len(records))
        proxy.answers_after = 0.0

    pipeline.sorted().check()
    assert (1, 0) == tuple(validator.meter.values(REBALANCES)[pipeline.topic, kind] for kind in ("assign", "revoke"))
    assert 0 == validator.meter.values(TRANSACTIONS)[pipeline.topic, "interrupted"]
