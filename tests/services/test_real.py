"""The real services stop, crash, stand still and come back with what they held."""

import json

import httpx
import psycopg2
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.embedded.programs import ask, program
from tests.eventually import eventually
from tests.services.registry import Registry

pytestmark = pytest.mark.real

RUN = """
import runpy
runpy.run_module("tests.services", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def postgres_service(services):
    yield services.postgres
    services.postgres.start()


@pytest.fixture
def held(database):
    """A database with a row, and a session that is in a transaction."""
    connection = psycopg2.connect(database)
    connection.cursor().execute("CREATE TABLE kept AS SELECT 7 AS id")
    connection.commit()
    connection.cursor().execute("SELECT * FROM kept")
    yield connection
    connection.close()


def test_a_test_that_has_its_own_kafka_uses_no_other(own_kafka, services, kafka, topic):
    assert {own_kafka.bootstrap_servers} == {services.bootstrap_servers, kafka["bootstrap.servers"]}
    assert topic in AdminClient(kafka).list_topics(timeout=60).topics


def test_no_test_can_disturb_the_broker_that_others_use(services):
    assert [] == [name for name in ("stop", "kill", "freeze", "close") if hasattr(services.kafka, name)]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_kafka_keeps_acknowledged_records(own_kafka, kafka, topic, how):
    produce(kafka, topic)

    getattr(own_kafka, how)()
    own_kafka.start()

    assert (0, 1) == watermarks(kafka, topic)


def test_a_frozen_kafka_resumes_where_it_was(own_kafka, kafka, topic):
    own_kafka.freeze()
    producer = Producer({"bootstrap.servers": kafka["bootstrap.servers"], "log_level": 0})
    producer.produce(topic, b"a trade", partition=0)
    assert 1 == producer.flush(1)

    own_kafka.thaw()

    assert 0 == producer.flush(120)


def test_a_killed_registry_keeps_its_schemas():
    body = {"schema": json.dumps({"type": "record", "name": "T", "fields": []})}
    with Registry() as registry:
        registered = httpx.post(f"{registry.url}/subjects/kept/versions", json=body, timeout=60).json()

        registry.kill()
        registry.start()

        versions = httpx.get(f"{registry.url}/schemas/ids/{registered['id']}/versions", timeout=60).json()
    assert {"subject": "kept", "version": 1} in versions


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
