"""The validator after an interrupted transaction."""

import random

import pytest
from confluent_kafka import KafkaError

from tests.eventually import eventually
from tests.pipeline.running_stages import done, mixture, running
from tradepipe import UnsupportedSchema
from tradepipe.evolution.history import current
from tradepipe.metrics import TRANSACTIONS
from tradepipe.registry.serde import HEADER_SIZE, frame

pytestmark = [pytest.mark.embedded, pytest.mark.usefixtures("targets")]

PRODUCE, OFFSET_COMMIT = 0, 8


def interrupted(pipeline, validator):
    return validator.meter.values(TRANSACTIONS).get((pipeline.topic, "interrupted"), 0)


def newer_schema() -> str:
    """Return the current schema with a field that this build does not know."""
    field = ', {"name": "venue", "type": ["null", "string"], "default": null}]'
    return current().text.rstrip().removesuffix("}").rstrip().removesuffix("]") + field + "}"


def test_a_batch_that_was_not_written_is_read_again(pipeline, services):
    """What the broker did not take is written by the next attempt: nothing is lost."""
    records = mixture(pipeline, 100)
    pipeline.publish_bytes(records)
    services.broker.fail_requests(PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)

    with running(pipeline.validator(delivery="at_least_once")) as validator:
        eventually(lambda: interrupted(pipeline, validator) and done(validator) == len(records))

    found = pipeline.sorted()
    assert {value for _, value in records} == {each.value for each in (*found.clean, *found.dead_letters)}


def test_each_interruption_in_a_row_waits_longer(pipeline, services, some_trades, monkeypatch):
    """A broker in trouble is not asked again as fast as the processor allows."""
    longest = []
    with running(pipeline.validator(delivery="at_least_once")) as validator:
        eventually(lambda: validator.is_ready and validator.lag == 0)
        monkeypatch.setattr(random, "uniform", lambda _least, most: longest.append(most) or 0.0)
        services.broker.fail_requests(OFFSET_COMMIT, *[KafkaError.REBALANCE_IN_PROGRESS] * 3)
        pipeline.publish(some_trades(10))
        eventually(lambda: done(validator) == 10)

        assert 3 == interrupted(pipeline, validator)
    assert sorted({*longest}) == longest == [0.2, 0.4, 0.8]


def test_an_interrupted_batch_is_written_before_an_unsupported_schema_stops_the_validator(
    subject, pipeline, services, some_trades
):
    """The records before the first one of the schema are written, after any number of tries."""
    newer = pipeline.registry.register(pipeline.subject, newer_schema())
    trades = [trade._replace(trade_id="T1", version=number) for number, trade in enumerate(some_trades(6), 1)]
    pipeline.publish(trades[:3])
    pipeline.publish_bytes(
        (b"T1", frame(newer, pipeline.serialize(each)[HEADER_SIZE:] + b"\x00")) for each in trades[3:]
    )
    services.broker.fail_requests(PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)

    with pytest.raises(UnsupportedSchema, match="venue"):
        pipeline.validate(delivery="at_least_once")

    assert [pipeline.serialize(trade) for trade in trades[:3]] == [record.value for record in pipeline.sorted().clean]
