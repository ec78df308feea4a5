"""A record judged."""

import pytest

from tests.postgres.batches import record, trade
from tradepipe import SchemaRegistry, TradeDeserializer, TradeSerializer
from tradepipe.contract.refusal import Code, Refusal, Violation
from tradepipe.embedded.ports import free_port
from tradepipe.errors import RegistryAway
from tradepipe.pipeline.judge import Judge
from tradepipe.postgres.staging import Accepted
from tradepipe.wire.registration import register


@pytest.fixture
def registry(parts, subject):
    with SchemaRegistry(parts.registry_url) as registry:
        register(registry, subject)
        yield registry


@pytest.fixture
def deserializer(registry, subject):
    return TradeDeserializer(registry, subject=subject)


@pytest.fixture
def judge(deserializer):
    return Judge(deserializer)


@pytest.fixture
def encoded(registry, subject):
    """A record with a trade in it."""
    serialize = TradeSerializer(registry, subject=subject)
    return lambda of: record(7)._replace(value=serialize(of))


def schema_id(encoded):
    return int.from_bytes(encoded.value[1:5], "big")


def test_a_valid_trade_is_accepted_with_its_schema_id(judge, encoded):
    given = encoded(trade())

    assert Accepted(given, trade(), schema_id(given)) == judge(given)


def test_a_trade_that_breaks_rules_is_refused_with_all_of_them(judge, encoded):
    given = encoded(trade("a b", version=0))

    found = judge(given)

    assert ((Code.TRADE_ID, Code.VERSION), given, schema_id(given)) == (found.codes, found.record, found.schema_id)


@pytest.mark.parametrize(
    ("value", "code"),
    [(None, Code.EMPTY), (b"", Code.EMPTY), (b"\x01\x00\x00\x00\x01", Code.FRAMING), (b"{}", Code.FRAMING)],
    ids=str,
)
def test_what_is_no_framed_value_is_refused(judge, value, code):
    assert (code,) == judge(record(7)._replace(value=value)).codes


def test_what_cannot_be_decoded_is_refused_with_its_schema_id(judge, encoded):
    given = encoded(trade())
    cut = given._replace(value=given.value[:-1])

    found = judge(cut)

    assert ((Code.UNDECODABLE,), cut, schema_id(given)) == (found.codes, found.record, found.schema_id)


def test_rules_of_the_users_own_are_asked(deserializer, encoded):
    late = Violation("TOO_LATE", "it is too late")
    given = encoded(trade())

    assert Refusal(given, (late,), schema_id(given)) == Judge(deserializer, rules=lambda trade: [late])(given)


def test_a_registry_that_is_away_says_nothing_of_the_record(encoded, subject):
    with SchemaRegistry(f"http://127.0.0.1:{free_port()}") as registry:
        judge = Judge(TradeDeserializer(registry, subject=subject))

        with pytest.raises(RegistryAway):
            judge(encoded(trade()))
