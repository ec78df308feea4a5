"""Arguments of a producer or a stage that are wrong: each is an error at construction, which names it."""

import math
import re

import pytest

from tradepipe import ConfigurationError, Producer, Sink, TradeDeserializer, TradeSerializer, Validator

VALID = {"kafka": {"bootstrap.servers": "127.0.0.1:1"}, "registry": "http://127.0.0.1:1"}
DATABASE = "postgresql://127.0.0.1:1/trades"


def create_sink(**arguments):
    return Sink(**{"database": DATABASE, **arguments})


@pytest.mark.parametrize(
    ("create", "properties", "message"),
    [
        (create_sink, {"partition.assignment.strategy": "sticky"}, "Unsupported partition.assignment.strategy: sticky"),
        (Validator, {"partition.assignment.strategy": "sticky"}, "Unsupported partition.assignment.strategy: sticky"),
        (create_sink, {"group.protocol": "consumer", "session.timeout.ms": 9_000}, "`session.timeout.ms` is not"),
        (create_sink, {"max.poll.interval.ms": 5_000}, "`max.poll.interval.ms`must be >= `session.timeout.ms`"),
        (Validator, {"transaction.timeout.ms": 1_000}, "`socket.timeout.ms` must be set <= `transaction.timeout.ms`"),
        (Producer, {"max.in.flight": 10}, "`max.in.flight` must be set <= 5 when `enable.idempotence` is true"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_properties_that_do_not_fit_together_are_named_although_no_broker_answers(create, properties, message):
    """librdkafka itself reports them when it creates a client, which a stage does once its services answer."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        create(kafka={**VALID["kafka"], **properties}, registry=VALID["registry"])


@pytest.mark.parametrize("create", [Producer, Validator, create_sink])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"registry": None}, "registry must be a URL or a SchemaRegistry, not NoneType"),
        ({"registry": ["http://a"]}, "registry must be a URL or a SchemaRegistry, not list"),
        ({"kafka": None}, "kafka must be a mapping of librdkafka's properties to their values, not NoneType"),
        ({"kafka": "127.0.0.1:1"}, "kafka must be a mapping of librdkafka's properties to their values, not str"),
        (
            {"kafka": {**VALID["kafka"], "linger": 5}},
            'invalid Kafka client configuration: linger: No such configuration property: "linger"',
        ),
    ],
    ids=["registry", "list of URLs", "kafka", "address", "property"],
)
def test_an_argument_that_is_missing_or_of_another_type_is_named(create, arguments, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        create(**{**VALID, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"database": None},
            "database must be a URL such as postgresql://user:password@host:5432/database, not NoneType",
        ),
        ({"connections": 0}, "connections is 0: it must be a whole number from 1 to 100"),
        ({"connections": 101}, "connections is 101: it must be a whole number from 1 to 100"),
        ({"connections": 1.5}, "connections is 1.5: it must be a whole number from 1 to 100"),
        ({"batch_rows": 0}, "batch_rows is 0: it must be a whole number, at least 1"),
        ({"batch_rows": math.inf}, "batch_rows is inf: it must be a whole number, at least 1"),
        ({"max_refused": "0.5"}, "max_refused is '0.5': it must be a share above 0 and below 1, or off"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_sinks_database_and_numbers_are_checked(arguments, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        create_sink(**VALID, **arguments)


@pytest.mark.parametrize("number", [0, math.nan, "5"])
def test_the_size_of_a_validators_batches_is_checked(number):
    with pytest.raises(ConfigurationError, match=f"batch_records is {number!r}: it must be a whole number, at least 1"):
        Validator(**VALID, batch_records=number)


@pytest.mark.parametrize("serde", [TradeSerializer, TradeDeserializer])
def test_a_serializer_takes_no_url(serde):
    """Nobody would close its connections."""
    with pytest.raises(ConfigurationError, match="registry must be a SchemaRegistry, not str"):
        serde(VALID["registry"])
