"""The real services stop, crash, stand still and come back with what they held."""

import json

import httpx
import psycopg2
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.embedded.programs import ask, program
from tests.eventually import eventually

pytestmark = pytest.mark.real

RUN = """
import runpy
runpy.run_module("tests.services", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def kafka_service(services):
    yield services.kafka
    services.kafka.start()


@pytest.fixture
def postgres_service(services):
    yield services.postgres
    services.postgres.start()


@pytest.fixture
def registry_service(services):
    yield services.registry
    services.registry.start()


@pytest.fixture
def held(database):
    """A database with a row, and a session that is in a transaction."""
    connection = psycopg2.connect(database)
    connection.cursor().execute("CREATE TABLE kept AS SELECT 7 AS id")
    connection.commit()
    connection.cursor().execute("SELECT * FROM kept")
    yield connection
    connection.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_kafka_keeps_acknowledged_records(kafka_service, kafka, topic, how):
    produce(kafka, topic)

    getattr(kafka_service, how)()
    kafka_service.start()

    assert (0, 1) == watermarks(kafka, topic)


def test_a_frozen_kafka_resumes_where_it_was(kafka_service, kafka, topic):
    kafka_service.freeze()
    producer = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "log_level": 0})
    producer.produce(topic, b"a trade", partition=0)
    assert 1 == producer.flush(1)

    kafka_service.thaw()

    assert 0 == producer.flush(120)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_registry_keeps_its_schemas(registry_service, subject, how):
    body = {"schema": json.dumps({"type": "record", "name": "T", "fields": []})}
    registered = httpx.post(f"{registry_service.url}/subjects/{subject}/versions", json=body, timeout=20).json()

    getattr(registry_service, how)()
    registry_service.start()

    versions = httpx.get(f"{registry_service.url}/schemas/ids/{registered['id']}/versions", timeout=20).json()
    assert {"subject": subject, "version": 1} in versions


@pytest.mark.parametrize(
    "end",
    [lambda server: server.stop(), lambda server: server.stop("immediate"), lambda server: server.kill()],
    ids=["stop", "immediate", "kill"],
)
def test_postgres_keeps_what_was_committed_while_clients_are_connected(postgres_service, database, held, end):
    end(postgres_service)
    postgres_service.start()

    assert [(7,)] == ask(database, "SELECT id FROM kept")
    with pytest.raises(psycopg2.OperationalError):
        held.cursor().execute("SELECT 1")


def test_a_frozen_postgres_answers_no_client_and_resumes(postgres_service, held):
    postgres_service.freeze()
    with pytest.raises(psycopg2.OperationalError, match="timeout expired"):
        psycopg2.connect(postgres_service.url, connect_timeout=2)

    postgres_service.thaw()

    held.cursor().execute("SELECT 1")


def test_postgres_forces_its_data_to_disk(services):
    assert [("on",)] == ask(services.postgres_url, "SHOW fsync")


def test_the_command_starts_the_parts_it_is_asked_for():
    with program(RUN, "postgres") as (command, said):
        url = said[0].removeprefix("export DATABASE_URL=")

        assert [(1,)] == ask(url, "SELECT 1")
        command.terminate()

        assert 0 == command.wait(200)


def produce(kafka, topic):
    producer = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "acks": "all"})
    producer.produce(topic, b"a trade", partition=0)
    assert 0 == producer.flush(120)


def watermarks(kafka, topic):
    consumer = Consumer({**kafka, "group.id": "watermarks", "log_level": 0})

    def answered():
        """None while the broker that has just come back does not lead the partition yet."""
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=60)
        except KafkaException:
            return None

    try:
        return eventually(answered)
    finally:
        consumer.close()
