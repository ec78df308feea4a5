"""Trades to framed values and back, by the ids of a registry."""

import json

import httpx
import pytest
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.codec.test_admission import NOTE, more
from tests.codec.test_codec import TRADE
from tests.registry.registries import ABSENT, Script, Shelf, registry
from tradepipe.codec.codec import Decoder, Encoder
from tradepipe.errors import (
    ConfigurationError,
    InvalidTrade,
    RegistryUnavailable,
    SchemaIdNotYetKnown,
    SchemaNotRegistered,
    UndecodableRecord,
    UnsupportedSchema,
)
from tradepipe.evolution.history import current
from tradepipe.registry.client import SchemaRegistry
from tradepipe.registry.registration import register
from tradepipe.registry.serde import MAX_UNKNOWN_IDS, TradeDeserializer, TradeSerializer, UnknownIds, frame
from tradepipe.trade.record import Code

BODY = Encoder().encode(TRADE)


class Clock:
    """Seconds that pass when a test says so."""

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


def verdict(deserializer, value):
    """A trade, or the class and code of what is raised instead."""
    try:
        return deserializer(value)
    except UndecodableRecord as error:
        return error.violation.code
    except SchemaIdNotYetKnown as error:
        return error.retry_after


def test_a_trade_goes_through_the_registry_of_the_services(services, subject):
    with SchemaRegistry(services.registry_url) as client:
        (*_, outcome) = register(client, subject).versions
        value = TradeSerializer(client, subject=subject)(TRADE)

        assert frame(outcome.schema_id, BODY) == value
        assert (outcome.schema_id, TRADE) == TradeDeserializer(client, subject=subject).decode(value)


def test_a_row_comes_with_the_id_and_by_the_same_decoder(deserializer, shelf):
    shelf.put(4)
    row = Decoder(current().text, 4).copy_row(BODY)

    assert [(4, row)] * 2 == [deserializer.copy_row(frame(4, BODY)) for _ in range(2)]
    assert (4, TRADE) == deserializer.decode(frame(4, BODY))
    assert ["/schemas/ids/4/versions", "/schemas/ids/4"] == shelf.asked


@pytest.mark.parametrize(
    ("value", "code"),
    [(None, Code.EMPTY), (b"\x00", Code.FRAMING), (b"\x01" + bytes(20), Code.FRAMING), (bytes(5), Code.UNDECODABLE)],
    ids=["None", "1 byte", "magic byte 1", "no body"],
)
def test_a_row_of_no_trade_is_refused_as_the_trade_is(deserializer, shelf, value, code):
    shelf.put(0)
    for read in (deserializer.copy_row, deserializer.decode):
        with pytest.raises(UndecodableRecord) as refused:
            read(value)
        assert code == refused.value.violation.code


@pytest.mark.parametrize("value", [None, b"", b"\x01none"], ids=["None", "empty", "no frame"])
def test_nobody_is_asked_about_a_value_that_names_no_schema(deserializer, value):
    assert deserializer.is_known(value)


def test_a_schema_is_asked_for_once(deserializer, shelf):
    shelf.put(4)

    assert not deserializer.is_known(frame(4, BODY))
    deserializer.quick_check(frame(4, BODY))
    assert deserializer.is_known(frame(4, BODY))
    assert not deserializer.is_known(frame(5, BODY))


def test_both_are_called_as_confluents_serializers_are(deserializer, shelf):
    shelf.put(4)
    context = SerializationContext("trades", MessageField.VALUE)
    with registry(Script((200, {"id": 4}))) as client:
        assert TRADE == deserializer(TradeSerializer(client)(TRADE, context), context)


def test_the_serializer_asks_once():
    script = Script((200, {"id": 4}))
    with registry(script) as client:
        serializer = TradeSerializer(client)
        assert [] == script.asked
        assert serializer(TRADE) == serializer(TRADE)
    assert ["/subjects/trades-value"] == [request.url.path for request in script.asked]


def test_a_schema_that_is_not_registered_is_told_with_the_command_that_registers_it():
    with registry(Script((404, ABSENT), (200, {"id": 4}))) as client:
        serializer = TradeSerializer(client)
        with pytest.raises(
            SchemaNotRegistered, match=r"trades-value at http://registry:8081.*tradepipe schema register"
        ):
            serializer(TRADE)
        assert frame(4, BODY) == serializer(TRADE)


def test_a_trade_that_avro_cannot_hold_is_invalid():
    with registry(Script((200, {"id": 4}))) as client, pytest.raises(InvalidTrade, match="version is None"):
        TradeSerializer(client)(TRADE._replace(version=None))


def test_a_known_id_is_asked_for_once_and_for_ever(deserializer, shelf, clock):
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
def test_a_value_without_a_frame_is_refused_without_asking(deserializer, shelf, value, code):
    assert code == verdict(deserializer, value)
    assert [] == shelf.asked


def test_a_body_that_is_no_trade_is_refused_with_its_schema_id(deserializer, shelf):
    shelf.put(4)
    with pytest.raises(UndecodableRecord) as refused:
        deserializer(frame(4, BODY[:-1]))

    assert (Code.UNDECODABLE, 4) == (refused.value.violation.code, refused.value.schema_id)


def test_an_unknown_id_is_confirmed_after_two_answers_five_seconds_apart(deserializer, shelf, clock):
    value = frame(9, BODY)
    assert 5.0 == verdict(deserializer, value)
    clock.now += 3
    assert 2.0 == verdict(deserializer, value)
    assert 1 == len(shelf.asked)
    clock.now += 2
    assert Code.UNKNOWN_SCHEMA == verdict(deserializer, value)
    assert 2 == len(shelf.asked)


def test_an_id_that_becomes_known_meanwhile_is_decoded(deserializer, shelf, clock):
    assert 5.0 == verdict(deserializer, frame(9, BODY))
    shelf.put(9)
    clock.now += 5

    assert TRADE == verdict(deserializer, frame(9, BODY))


def test_an_id_of_another_subject_is_unknown(deserializer, shelf, clock):
    """Its schema is not even fetched."""
    shelf.put(9, subject="orders-value")
    verdict(deserializer, frame(9, BODY))
    clock.now += 5
    with pytest.raises(
        UndecodableRecord, match="not a version of subject trades-value, but of orders-value"
    ) as refused:
        deserializer(frame(9, BODY))

    assert (Code.UNKNOWN_SCHEMA, 9) == (refused.value.violation.code, refused.value.schema_id)
    assert {"/schemas/ids/9/versions"} == set(shelf.asked)


def test_a_confirmed_id_is_not_asked_for_for_a_minute_and_then_confirmed_at_once(deserializer, shelf, clock):
    value = frame(9, BODY)
    verdict(deserializer, value)
    clock.now += 5
    verdict(deserializer, value)
    clock.now += 59
    assert Code.UNKNOWN_SCHEMA == verdict(deserializer, value)
    assert 2 == len(shelf.asked)
    clock.now += 1
    assert Code.UNKNOWN_SCHEMA == verdict(deserializer, value)
    assert 3 == len(shelf.asked)


def test_a_confirmed_id_that_is_registered_later_is_decoded_a_minute_later(deserializer, shelf, clock):
    verdict(deserializer, frame(9, BODY))
    clock.now += 5
    verdict(deserializer, frame(9, BODY))
    shelf.put(9)
    clock.now += 60

    assert TRADE == verdict(deserializer, frame(9, BODY))


def test_more_than_five_new_unknown_ids_a_minute_are_confirmed_at_once(deserializer, clock):
    assert [5.0] * 5 == [verdict(deserializer, frame(schema_id, BODY)) for schema_id in range(100, 105)]
    assert [Code.UNKNOWN_SCHEMA] * 20 == [
        verdict(deserializer, frame(schema_id, BODY)) for schema_id in range(105, 125)
    ]
    clock.now += 60
    assert 5.0 == verdict(deserializer, frame(999, BODY))


def test_only_so_many_unknown_ids_are_remembered(clock):
    unknown = UnknownIds()
    for schema_id in range(10 * MAX_UNKNOWN_IDS):
        unknown.record_not_found(schema_id, "not known", clock())

    assert MAX_UNKNOWN_IDS + 5 == len(unknown._confirmed) + len(unknown._pending)


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
def test_an_outage_of_the_registry_never_makes_an_id_unknown(deserializer, shelf, clock, outage, raised):
    shelf.outage = outage
    for _ in range(10):
        with pytest.raises(raised) as away:
            deserializer(frame(4, BODY))
        assert not isinstance(away.value, SchemaIdNotYetKnown)
        clock.now += 10
    shelf.outage = None
    shelf.put(4)

    assert TRADE == verdict(deserializer, frame(4, BODY))


def test_a_schema_this_build_cannot_hold_stops_every_time(deserializer, shelf):
    shelf.put(4, json.dumps(more(NOTE)))
    for _ in range(2):
        with pytest.raises(UnsupportedSchema, match="schema id 4"):
            deserializer(frame(4, BODY))


def test_what_this_build_does_not_know_is_dropped_if_that_was_chosen(shelf):
    shelf.put(4, json.dumps(more(NOTE)))
    with registry(shelf) as client:
        deserializer = TradeDeserializer(client, unknown_fields="drop")

        assert TRADE == deserializer(frame(4, BODY + b"\x02\x02x"))
