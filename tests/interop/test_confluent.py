"""Confluent's Python serdes with a real registry and a real Kafka, in both directions."""

from collections.abc import Iterator

import pytest
from confluent_kafka import DeserializingConsumer, SerializingProducer, TopicPartition
from confluent_kafka.error import ValueDeserializationError
from confluent_kafka.schema_registry import (
    SchemaRegistryClient,
    record_subject_name_strategy,
    topic_record_subject_name_strategy,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, StringDeserializer, StringSerializer

from tests.interop.trades import VERSIONS, at_the_edges, fields, held, some
from tradepipe import Trade, TradeDeserializer, UndecodableRecord
from tradepipe.evolution.history import current
from tradepipe.registry.registration import register
from tradepipe.registry.serde import HEADER_SIZE

pytestmark = pytest.mark.real

TRADES = some(300) + at_the_edges()

SETTINGS = {"subject.name.strategy": topic_subject_name_strategy}
WRITER = {**SETTINGS, "auto.register.schemas": False}

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.number}")


@pytest.fixture
def client(services) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": services.registry_url, "timeout": 10}) as client:
        yield client


@pytest.fixture
def context(topic, ids):
    """Of a value in the test's topic, whose subject has every version."""
    return SerializationContext(topic, MessageField.VALUE)


def as_fields(trade, ctx):
    return trade._asdict()


def trade_of(values, ctx):
    return Trade(**values)


@pytest.mark.parametrize(
    "settings",
    [
        lambda ids: {},
        lambda ids: {"auto.register.schemas": False},
        lambda ids: {"auto.register.schemas": False, "use.latest.version": True},
        lambda ids: {"auto.register.schemas": False, "use.schema.id": ids[current().number]},
    ],
    ids=["defaults", "by content", "latest", "by id"],
)
def test_confluents_serializer_writes_the_same_bytes(client, context, serialize, ids, settings):
    theirs = AvroSerializer(client, current().text, as_fields, SETTINGS | settings(ids))

    assert [serialize(trade, context) for trade in TRADES] == [theirs(trade, context) for trade in TRADES]


@pytest.mark.parametrize(
    ("strategy", "named"),
    [(record_subject_name_strategy, "tradepipe.Trade"), (topic_record_subject_name_strategy, "{}-tradepipe.Trade")],
    ids=["record name", "topic and record name"],
)
def test_confluents_other_subject_strategies_name_other_subjects(client, topic, registry, strategy, named):
    subject = named.format(topic)
    register(registry, subject)
    theirs = AvroSerializer(client, current().text, as_fields, WRITER | {"subject.name.strategy": strategy})

    value = theirs(TRADES[0], SerializationContext(topic, MessageField.VALUE))

    assert TRADES[0] == TradeDeserializer(registry, subject=subject)(value)


def test_confluents_deserializer_reads_our_records(client, context, serialize):
    theirs = AvroDeserializer(client, from_dict=trade_of, conf=SETTINGS)

    assert TRADES == [theirs(serialize(trade), context) for trade in TRADES]


@each_version
def test_records_that_confluents_serializer_wrote_with_any_version_are_read(client, context, deserialize, version):
    theirs = AvroSerializer(client, version.text, lambda trade, ctx: fields(version, trade), WRITER)

    assert [held(version, trade) for trade in TRADES] == [deserialize(theirs(trade, context)) for trade in TRADES]


@each_version
def test_confluents_deserializer_reads_our_records_of_any_version(client, context, serialize, version):
    theirs = AvroDeserializer(client, version.text, conf=SETTINGS)

    assert [fields(version, trade) for trade in TRADES] == [theirs(serialize(trade), context) for trade in TRADES]


@pytest.fixture
def produce(kafka, topic):
    """Send trades with a serializing producer and a given value serializer."""

    def produce(trades, serializer, **settings):
        client = SerializingProducer(
            {
                "bootstrap.servers": kafka["bootstrap.servers"],
                "partitioner": "murmur2_random",
                "key.serializer": StringSerializer(),
                "value.serializer": serializer,
                **settings,
            }
        )
        for trade in trades:
            client.produce(topic, trade.trade_id, trade)
        assert 0 == client.flush(120)

    return produce


@pytest.fixture
def consume(kafka, topic):
    """Read a number of values from the start with a deserializing consumer and a given value deserializer."""
    consumers = []

    def consume(count, deserializer):
        keyed = {"key.deserializer": StringDeserializer(), "value.deserializer": deserializer}
        consumers.append(DeserializingConsumer({**kafka, **keyed, "group.id": topic}))
        consumers[0].assign([TopicPartition(topic, partition, 0) for partition in range(4)])
        return sorted(consumers[0].poll(120).value() for _ in range(count))

    yield consume
    for consumer in consumers:
        consumer.close()


def test_our_serdes_work_in_confluents_clients(produce, consume, serialize, deserialize, ids):
    trades = some(200)

    produce(trades, serialize)

    assert sorted(trades) == consume(200, deserialize)


def test_an_undecodable_record_keeps_its_reason_in_confluents_consumer(produce, consume, serialize, deserialize, ids):
    produce(some(1), lambda trade, ctx: serialize(trade, ctx)[:-1])

    with pytest.raises(ValueDeserializationError, match="it ends before") as raised:
        consume(1, deserialize)

    assert isinstance(raised.value.exception, UndecodableRecord)


def test_the_sink_stores_records_of_confluents_serializer(client, produce, pipeline):
    trades = some(300)

    produce(trades, AvroSerializer(client, current().text, as_fields, WRITER))

    assert 300 == pipeline.store().stored
    assert sorted(trades) == pipeline.stored()


def test_the_sink_stores_records_of_confluents_serializer_with_the_first_version(client, produce, pipeline):
    first, trades = VERSIONS[0], some(100)

    produce(trades, AvroSerializer(client, first.text, lambda trade, ctx: fields(first, trade), WRITER))

    assert 100 == pipeline.store().stored
    assert sorted(held(first, trade) for trade in trades) == pipeline.stored()


def test_confluents_consumer_reads_records_of_our_producer(client, consume, pipeline):
    trades = pipeline.publish(some(300))

    assert sorted(trades) == consume(300, AvroDeserializer(client, from_dict=trade_of, conf=SETTINGS))


def test_every_value_is_one_frame_and_one_body(serialize, context, ids):
    """Any client can decode the body after skipping five bytes, four of which are the schema id."""
    heads = {serialize(trade, context)[:HEADER_SIZE] for trade in TRADES}

    assert {b"\x00" + ids[current().number].to_bytes(4, "big")} == heads
