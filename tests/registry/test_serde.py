"""Serializer and deserializer: framed values, schema ids, and ids that the registry does not know."""

import json

import httpx
import pytest
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.codec.test_admission import NOTE, more
from tests.codec.test_codec import TRADE
from tests.registry.registries import ABSENT, Script, Shelf, registry
from tradepipe.codec.codec import Encoder
from tradepipe.errors import (
    ConfigurationError,
    InvalidTrade,
    RegistryUnavailable,
    SchemaIdNotYetKnown,
    SchemaNotRegistered,
    UndecodableRecord,
    UnsupportedSchema,
)
from tradepipe.registry import schema_ids
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.registration import register
from tradepipe.registry.schema_ids import FAILED_LOOKUP_BURST
from tradepipe.registry.serde import TradeDeserializer, TradeSerializer, frame
from tradepipe.trade.record import Code

BODY = Encoder().encode(TRADE)


SUBJECT_VERSIONS = "/subjects/trades-value/versions"


@pytest.fixture(autouse=True)
def real_waits(monkeypatch, brief_registry_waits):
    """Undo the suite's short waits: here a clock of the test passes."""
    monkeypatch.setattr(schema_ids, "REPLICA_LAG_SECONDS", 5.0)
    monkeypatch.setattr(schema_ids, "STARTUP_SECONDS", 15.0)


class Clock:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def deserializer(shelf, clock):
    with registry(shelf, retries=0) as client:
        yield TradeDeserializer(client, clock=clock)


def outcome_of(deserializer, value):
    """Return the trade, the code of the refusal, or the seconds until the next lookup."""
    try:
        return deserializer(value)
    except UndecodableRecord as error:
        return error.violation.code
    except SchemaIdNotYetKnown as error:
        return error.retry_after


def test_a_trade_survives_a_round_trip_through_the_registry(services, subject):
    with SchemaRegistry(services.registry_url) as client:
        (*_, outcome) = register(client, subject).versions
        value = TradeSerializer(client, subject=subject)(TRADE)

        assert frame(outcome.schema_id, BODY) == value
        assert (outcome.schema_id, TRADE) == TradeDeserializer(client, subject=subject).decode(value)


def test_the_records_of_a_schema_share_one_lookup(deserializer, shelf):
    shelf.put(4)

    assert [(4, TRADE)] * 2 == [deserializer.decode(frame(4, BODY)) for _ in range(2)]
    assert ["/schemas/ids/4/versions", "/schemas/ids/4"] == shelf.asked


@pytest.mark.parametrize(
    ("value", "code"),
    [(None, Code.EMPTY), (b"\x00", Code.FRAMING), (b"\x01" + bytes(20), Code.FRAMING), (bytes(5), Code.UNDECODABLE)],
    ids=["None", "1 byte", "magic byte 1", "no body"],
)
def test_a_value_that_is_no_trade_is_refused_by_its_code(deserializer, shelf, value, code):
    shelf.put(0)
    with pytest.raises(UndecodableRecord) as refused:
        deserializer.decode(value)
    assert code == refused.value.violation.code


@pytest.mark.parametrize("value", [None, b"", b"\x01none"], ids=["None", "empty", "no frame"])
def test_a_value_without_a_schema_id_needs_no_lookup(deserializer, value):
    assert deserializer.is_known(value)


def test_a_schema_is_known_after_one_lookup(deserializer, shelf):
    shelf.put(4)

    assert not deserializer.is_known(frame(4, BODY))
    deserializer.decode(frame(4, BODY))
    assert deserializer.is_known(frame(4, BODY))
    assert not deserializer.is_known(frame(5, BODY))


def test_both_can_be_called_with_a_serialization_context(deserializer, shelf):
    shelf.put(4)
    context = SerializationContext("trades", MessageField.VALUE)
    with registry(Script((200, {"id": 4}))) as client:
        assert TRADE == deserializer(TradeSerializer(client)(TRADE, context), context)


def test_the_serializer_looks_its_schema_up_once():
    script = Script((200, {"id": 4}))
    with registry(script) as client:
        serializer = TradeSerializer(client)
        assert [] == script.asked
        assert serializer(TRADE) == serializer(TRADE)
    assert ["/subjects/trades-value"] == [request.url.path for request in script.asked]


def test_a_missing_schema_is_reported_with_the_command_that_registers_it():
    with registry(Script((404, ABSENT), (200, [1]), (404, ABSENT), (200, {"id": 4}))) as client:
        serializer = TradeSerializer(client)
        with pytest.raises(
            SchemaNotRegistered, match=r"trades-value at http://registry:8081.*tradepipe schema register"
        ):
            serializer(TRADE)
        assert frame(4, BODY) == serializer(TRADE)


def test_a_subject_without_versions_is_an_outage_at_first_for_the_serializer(monkeypatch):
    with registry(Script((404, ABSENT)), retries=0) as client:
        serializer = TradeSerializer(client)
        with pytest.raises(RegistryUnavailable, match="or does not show it to this user; is it starting"):
            serializer(TRADE)
        monkeypatch.setattr(schema_ids, "STARTUP_SECONDS", 0.0)
        with pytest.raises(SchemaNotRegistered, match="register the schema: tradepipe schema register"):
            serializer(TRADE)


def test_a_trade_that_does_not_fit_its_avro_type_is_invalid():
    with registry(Script((200, {"id": 4}))) as client, pytest.raises(InvalidTrade, match="version is None"):
        TradeSerializer(client)(TRADE._replace(version=None))


def test_a_known_id_is_never_looked_up_again(deserializer, shelf, clock):
    shelf.put(4)
    assert (4, TRADE) == deserializer.decode(frame(4, BODY))
    shelf.outage = (500, b"")
    clock.now += 1_000_000

    assert (4, TRADE) == deserializer.decode(frame(4, BODY))
    assert ["/schemas/ids/4/versions", "/schemas/ids/4"] == shelf.asked


@pytest.mark.parametrize(
    ("value", "code"),
    [(None, Code.EMPTY), (b"", Code.EMPTY), (b"\x00\x00\x00\x00", Code.FRAMING), (b"\x01" + bytes(20), Code.FRAMING)],
    ids=["None", "no bytes", "4 bytes", "magic byte 1"],
)
def test_a_value_without_a_frame_is_refused_without_a_lookup(deserializer, shelf, value, code):
    assert code == outcome_of(deserializer, value)
    assert [] == shelf.asked


def test_an_undecodable_body_is_refused_with_its_schema_id(deserializer, shelf):
    shelf.put(4)
    with pytest.raises(UndecodableRecord) as refused:
        deserializer(frame(4, BODY[:-1]))

    assert (Code.UNDECODABLE, 4) == (refused.value.violation.code, refused.value.schema_id)


def test_an_unknown_id_is_confirmed_by_a_second_lookup_after_five_seconds(deserializer, shelf, clock):
    value = frame(9, BODY)
    assert 5.0 == outcome_of(deserializer, value)
    clock.now += 3
    assert 2.0 == outcome_of(deserializer, value)
    assert ["/schemas/ids/9/versions", SUBJECT_VERSIONS] == shelf.asked
    clock.now += 2
    assert Code.UNKNOWN_SCHEMA == outcome_of(deserializer, value)
    assert 2 * ["/schemas/ids/9/versions", SUBJECT_VERSIONS] == shelf.asked


def test_an_id_that_becomes_known_meanwhile_is_decoded(deserializer, shelf, clock):
    assert 5.0 == outcome_of(deserializer, frame(9, BODY))
    shelf.put(9)
    clock.now += 5

    assert TRADE == outcome_of(deserializer, frame(9, BODY))


def test_an_id_of_another_subject_is_refused_by_that_name(deserializer, shelf, clock):
    """Its schema is not even fetched."""
    reason = "not a version of subject trades-value, but of orders-value"
    shelf.put(9, subject="orders-value")
    with pytest.raises(SchemaIdNotYetKnown, match=f"{reason}; asking again in 5.0 s"):
        deserializer(frame(9, BODY))
    clock.now += 5
    with pytest.raises(UndecodableRecord, match=reason) as refused:
        deserializer(frame(9, BODY))

    assert (Code.UNKNOWN_SCHEMA, 9) == (refused.value.violation.code, refused.value.schema_id)
    assert {"/schemas/ids/9/versions", SUBJECT_VERSIONS} == set(shelf.asked)


def test_a_confirmed_id_is_looked_up_again_after_a_minute(deserializer, shelf, clock):
    value = frame(9, BODY)
    outcome_of(deserializer, value)
    clock.now += 5
    outcome_of(deserializer, value)
    clock.now += 59
    assert Code.UNKNOWN_SCHEMA == outcome_of(deserializer, value)
    assert 2 == shelf.asked.count("/schemas/ids/9/versions")
    clock.now += 1
    assert Code.UNKNOWN_SCHEMA == outcome_of(deserializer, value)
    assert 3 == shelf.asked.count("/schemas/ids/9/versions")


def test_a_confirmed_id_that_is_registered_later_is_decoded_a_minute_later(deserializer, shelf, clock):
    outcome_of(deserializer, frame(9, BODY))
    clock.now += 5
    outcome_of(deserializer, frame(9, BODY))
    shelf.put(9)
    clock.now += 60

    assert TRADE == outcome_of(deserializer, frame(9, BODY))


def test_more_than_five_new_unknown_ids_a_minute_are_confirmed_at_once(deserializer, clock):
    outcomes = [outcome_of(deserializer, frame(schema_id, BODY)) for schema_id in range(100, 110)]
    assert [*[5.0] * 5, *[Code.UNKNOWN_SCHEMA] * 5] == outcomes
    clock.now += 60
    assert 5.0 == outcome_of(deserializer, frame(999, BODY))


def test_ids_that_are_announced_together_share_their_lookups_and_their_wait(deserializer, shelf, clock):
    values = [frame(schema_id, BODY) for schema_id in range(100, 105)]
    deserializer.announced = values
    assert 5.0 == outcome_of(deserializer, values[0])
    requests = len(shelf.asked)
    clock.now += 2
    assert [3.0] * 5 == [outcome_of(deserializer, value) for value in values]
    assert requests == len(shelf.asked)
    clock.now += 3
    assert [Code.UNKNOWN_SCHEMA] * 5 == [outcome_of(deserializer, value) for value in values]
    assert 2 * requests == len(shelf.asked)


def test_a_flood_of_unknown_ids_is_answered_by_one_request_and_without_a_wait(deserializer, shelf):
    values = [frame(schema_id, BODY) for schema_id in range(100, 1_100)]
    deserializer.announced = values

    assert {Code.UNKNOWN_SCHEMA} == {outcome_of(deserializer, value) for value in values}
    assert [SUBJECT_VERSIONS, f"{SUBJECT_VERSIONS}/1"] == shelf.asked
    assert TRADE == outcome_of(deserializer, frame(1, BODY))


def test_many_known_ids_among_a_flood_are_decoded(deserializer, shelf):
    for schema_id in range(2, 10):
        shelf.put(schema_id)
    values = [frame(schema_id, BODY) for schema_id in range(1, 100)]
    deserializer.announced = values

    assert [*[TRADE] * 9, *[Code.UNKNOWN_SCHEMA] * 90] == [outcome_of(deserializer, value) for value in values]
    assert 1 == shelf.asked.count(SUBJECT_VERSIONS)


def test_an_id_that_waits_for_its_second_lookup_is_not_looked_up_with_others(deserializer, shelf, clock):
    assert 5.0 == outcome_of(deserializer, frame(100, BODY))
    clock.now += 1.0
    deserializer.announced = [frame(101, BODY), frame(100, BODY)]

    assert 5.0 == outcome_of(deserializer, frame(101, BODY))
    assert 1 == shelf.asked.count("/schemas/ids/100/versions")
    assert 4.0 == outcome_of(deserializer, frame(100, BODY))


def test_a_listed_version_without_a_schema_is_looked_up_again(deserializer, shelf, clock):
    for schema_id in range(2, 10):
        shelf.put(schema_id)
    deserializer.announced = [frame(schema_id, BODY) for schema_id in range(1, 10)]
    shelf.hidden.add(9)
    before = outcome_of(deserializer, frame(9, BODY))
    clock.now += before
    shelf.hidden.clear()

    assert (5.0, TRADE) == (before, outcome_of(deserializer, frame(9, BODY)))


def test_a_version_that_was_registered_anew_under_its_old_number_is_found_in_a_flood(deserializer, shelf, clock):
    """Registries count a subject's versions from 1 again after it was deleted for good."""
    for first, seconds in ((100, 0), (200, 60)):
        clock.now += seconds
        values = [frame(schema_id, BODY) for schema_id in range(first, first + 50)]
        deserializer.announced = values
        outcome_of(deserializer, values[0])
        shelf.schemas = {250: shelf.schemas.popitem()[1]}
    clock.now += 60
    deserializer.announced = [frame(schema_id, BODY) for schema_id in range(245, 300)]

    assert TRADE == outcome_of(deserializer, frame(250, BODY))


def test_failed_lookups_are_limited_to_two_a_second(deserializer, shelf, clock):
    outcomes = [outcome_of(deserializer, frame(schema_id, BODY)) for schema_id in range(100, 200)]
    assert FAILED_LOOKUP_BURST == shelf.asked.count(SUBJECT_VERSIONS)
    assert FAILED_LOOKUP_BURST // 2 == sum(path.startswith("/schemas/ids/") for path in shelf.asked)
    assert 0.5 == outcomes[-1]
    clock.now += 0.5
    assert Code.UNKNOWN_SCHEMA == outcome_of(deserializer, frame(199, BODY))
    with pytest.raises(SchemaIdNotYetKnown, match="schema id 198 was not looked up yet"):
        deserializer(frame(198, BODY))


def test_a_limited_number_of_unknown_ids_is_remembered(deserializer, monkeypatch):
    monkeypatch.setattr(schema_ids, "MAX_UNKNOWN_IDS", 50)
    for first in range(100, 300, 40):
        values = [frame(schema_id, BODY) for schema_id in range(first, first + 40)]
        deserializer.announced = values
        outcome_of(deserializer, values[0])

    assert 50 == len(deserializer._ids._confirmed)


def test_no_id_is_unknown_while_the_registry_knows_no_version_of_the_subject(deserializer, shelf, clock):
    """A registry may answer before it has read its data: then it knows neither the id nor the subject."""
    schemas, shelf.schemas = shelf.schemas, {}
    for schema_id in (1, *range(100, 200)):
        deserializer.announced = [frame(schema_id + offset, BODY) for offset in range(schema_id % 10)]
        with pytest.raises(RegistryUnavailable, match="knows neither schema id .* nor subject trades-value"):
            deserializer(frame(schema_id, BODY))
        clock.now += 10
    shelf.schemas = schemas

    assert TRADE == deserializer(frame(1, BODY))


@pytest.mark.parametrize(
    ("outage", "raised"),
    [
        ((500, b""), RegistryUnavailable),
        ((200, b"<html>"), RegistryUnavailable),
        ((404, b"<html>"), RegistryUnavailable),
        (httpx.ConnectError("refused"), RegistryUnavailable),
        ((401, b""), ConfigurationError),
    ],
    ids=["500", "200 with HTML", "404 with HTML", "refused", "401"],
)
def test_no_id_becomes_unknown_during_an_outage(deserializer, shelf, clock, outage, raised):
    shelf.outage = outage
    for _ in range(10):
        with pytest.raises(raised) as caught:
            deserializer(frame(4, BODY))
        assert not isinstance(caught.value, SchemaIdNotYetKnown)
        clock.now += 10
    shelf.outage = None
    shelf.put(4)

    assert TRADE == outcome_of(deserializer, frame(4, BODY))


def test_an_unsupported_schema_is_reported_every_time(deserializer, shelf):
    shelf.put(4, json.dumps(more(NOTE)))
    for _ in range(2):
        with pytest.raises(UnsupportedSchema, match="schema id 4"):
            deserializer(frame(4, BODY))


def test_unknown_fields_are_dropped_on_request(shelf):
    shelf.put(4, json.dumps(more(NOTE)))
    with registry(shelf) as client:
        deserializer = TradeDeserializer(client, unknown_fields="drop")

        assert TRADE == deserializer(frame(4, BODY + b"\x02\x02x"))


def rule(**changes):
    return {"name": "hide", "kind": "TRANSFORM", "type": "ENCRYPT", "mode": "WRITEREAD", **changes}


@pytest.mark.parametrize(
    "rule_set",
    [
        {"domainRules": [rule()]},
        {"domainRules": [rule(mode="WRITE"), rule(type="CEL_FIELD", mode="READ")]},
        {"domainRules": [rule(type="ENCRYPT_PAYLOAD", mode="WRITE")]},
        {"encodingRules": [rule(type="CEL")]},
        {"encodingRules": [rule(type="CEL", mode="WRITE")]},
        {"domainRules": [rule(disabled=True), rule()]},
    ],
    ids=[
        "encryption",
        "a read rule",
        "an encrypted payload",
        "an encoding rule",
        "an encoding rule for writers",
        "a rule after a disabled one",
    ],
)
def test_a_version_whose_records_only_readers_with_rules_understand_is_unsupported(deserializer, shelf, rule_set):
    """Its records would decode to a valid trade with ciphertext as its values."""
    shelf.put(4, ruleSet=rule_set)
    with pytest.raises(UnsupportedSchema, match=r"schema id 4 has the rule 'hide'.* readers must apply"):
        deserializer(frame(4, BODY))


@pytest.mark.parametrize(
    "rule_set",
    [
        None,
        {},
        {"domainRules": [rule(type="CEL", kind="CONDITION", mode="WRITE"), rule(disabled=True)]},
        {"migrationRules": [rule(type="JSONATA", mode="UPGRADE")], "domainRules": None},
    ],
    ids=["null", "none", "write rules", "migration rules"],
)
def test_rules_that_leave_records_readable_are_ignored(deserializer, shelf, rule_set):
    shelf.put(4, ruleSet=rule_set)

    assert TRADE == deserializer(frame(4, BODY))


@pytest.mark.parametrize(
    "rule_set",
    [{"domainRules": 5}, {"encodingRules": {"a": "b"}}, {"domainRules": ["hide"]}, {"domainRules": [None]}, [rule()]],
    ids=["a number", "an object", "a text", "null", "a list"],
)
def test_malformed_rules_are_an_outage_of_the_registry(deserializer, shelf, rule_set):
    """They may be meant to encrypt."""
    shelf.put(4, ruleSet=rule_set)
    with pytest.raises(RegistryUnavailable, match=r"answered .* where (list|dict) was expected"):
        deserializer(frame(4, BODY))


@pytest.mark.parametrize("schema_id", [-1, 2**32, 10**400])
def test_an_id_that_does_not_fit_a_frame_is_an_outage_of_the_registry(schema_id):
    expected = pytest.raises(RegistryUnavailable, match="where a schema id of 32 bits was expected")
    with registry(Script((200, {"id": schema_id})), retries=0) as client, expected:
        TradeSerializer(client)(TRADE)


def test_the_name_of_another_subject_is_shortened(deserializer, shelf, clock):
    """It is stored with each record that it refuses, and anyone who may register a schema chooses it."""
    shelf.put(7, subject="s" * 100_000)
    with pytest.raises(SchemaIdNotYetKnown) as raised:
        deserializer(frame(7, BODY))

    assert len(str(raised.value)) < 500
