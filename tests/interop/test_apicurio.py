"""Apicurio's Java serdes with Confluent's frame, and Kafka's Java clients with them."""

from collections import Counter

import pytest

from tests.evolution.schemas import enum, field, record, text
from tests.interop.trades import VERSIONS, at_the_edges, held, records, some
from tradepipe import SchemaIdNotYetKnown
from tradepipe.evolution.history import current
from tradepipe.registry.registration import register

pytestmark = pytest.mark.real

TRADES = some(300) + at_the_edges()

VERSION = "apicurio.registry.artifact.version"

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.number}")


@pytest.fixture
def written(peer, settings, topic, ids):
    """Return the trades as Apicurio's serializer writes them with a version."""

    def written(version):
        message = settings | {VERSION: str(version.number)}
        trades = {"writer": version.text, "records": records(version, TRADES)}
        return [bytes.fromhex(value) for value in peer.ask("apicurio-write", settings=message, topic=topic, **trades)]

    return written


def test_apicurios_serializer_writes_the_same_bytes(written, serialize):
    assert [serialize(trade) for trade in TRADES] == written(current())


@each_version
def test_records_that_apicurios_serializer_wrote_with_any_version_are_read(written, deserialize, ids, version):
    read = [deserialize.decode(value) for value in written(version)]

    assert [(ids[version.number], held(version, trade)) for trade in TRADES] == read


def test_apicurios_serializer_needs_the_version_of_a_schema_with_an_enum(peer, settings, registry, topic, subject):
    """By content, it looks the record and the enum up as two artifacts."""
    schema = text(record(field("side", enum("BUY"))))
    registry.register(subject, schema)
    sides = {"topic": topic, "writer": schema, "records": [{"side": "BUY"}]}

    assert 1 == len(peer.ask("apicurio-write", settings=settings | {VERSION: "1"}, **sides))
    del settings[VERSION]
    with pytest.raises(AssertionError, match="No artifact with ID"):
        peer.ask("apicurio-write", settings=settings, **sides)


def test_apicurios_deserializer_reads_our_records(peer, settings, serialize, topic, ids):
    values = [serialize(trade).hex() for trade in TRADES]

    assert records(current(), TRADES) == peer.ask("apicurio-read", settings=settings, topic=topic, values=values)


def test_the_sink_stores_records_of_a_java_producer(peer, settings, pipeline):
    trades = some(300)
    sent = {"writer": current().text, "key": "trade_id", "records": records(current(), trades)}

    partitions = peer.ask("kafka-produce", settings=settings, topic=pipeline.topic, **sent)

    assert 300 == len(partitions)
    assert 300 == pipeline.store().stored
    assert sorted(trades) == pipeline.stored()


def test_a_java_consumer_reads_records_of_our_producer(peer, settings, pipeline):
    trades = pipeline.publish(some(300))

    read = peer.ask("kafka-consume", settings=settings, topic=pipeline.topic)

    assert sorted(map(str, records(current(), trades))) == sorted(map(str, read))


@pytest.fixture
def another_subject(registry, topic):
    """With the same versions, registered before the test's own: now there are fewer contents than versions."""
    register(registry, f"{topic}-another")


@pytest.mark.parametrize(
    "left_out",
    ["apicurio.registry.as-confluent", "apicurio.registry.use-id"],
    ids=["eight bytes of id", "ids that are not the content's"],
)
def test_records_of_apicurios_serializer_with_its_defaults_are_refused(
    another_subject, written, settings, deserialize, left_out
):
    """They are never decoded with another schema."""
    del settings[left_out]

    for value in written(current())[:3]:
        with pytest.raises(SchemaIdNotYetKnown):
            deserialize.decode(value)


def test_a_record_with_its_schema_id_in_a_header_is_refused(peer, settings, pipeline):
    message = settings | {"apicurio.registry.headers.enabled": "true"}
    sent = {"writer": current().text, "key": "trade_id", "records": records(current(), some(5))}
    peer.ask("kafka-produce", settings=message, topic=pipeline.topic, **sent)

    pipeline.store()

    assert {"FRAMING": 5} == Counter(row.codes[0] for row in pipeline.refused())
