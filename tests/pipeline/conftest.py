"""A pipeline for each test: topic, subject and database, and their contents."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Producer as KafkaProducer
from sqlalchemy import select

from tests.pipeline.processes import StageProcess, processes
from tests.pipeline.topic_contents import Sorted, committed_records
from tests.registration import register_patiently
from tests.services import Services
from tradepipe import Producer, SchemaRegistry, Sink, Trade, TradeSerializer, Validator
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import SINK_OFFSETS, TRADE_REFUSALS, TRADES
from tradepipe.trade import samples


class Pipeline:
    """What a test puts in at one end, and what it finds at the other."""

    def __init__(self, kafka: dict[str, Any], registry_url: str, database: str, topic: str, subject: str) -> None:
        self.kafka = kafka
        self.registry_url = registry_url
        self.database = database
        self.topic = topic
        self.subject = subject
        # A registry that has just started answers its first requests slowly.
        self.registry = SchemaRegistry(registry_url, timeout=60.0)
        self.serialize = TradeSerializer(self.registry, subject=subject)
        self._engine = create_engine_for(database, application_name="tradepipe-tests")

    def producer(self, **options: Any) -> Producer:
        kafka = {"bootstrap.servers": self.kafka["bootstrap.servers"], **options.pop("kafka", {})}
        options = {"registry": self.registry_url, "topic": self.topic, "subject": self.subject, **options}
        return Producer(kafka, **options)

    def sink(self, **options: Any) -> Sink:
        kafka = {**self.kafka, **options.pop("kafka", {})}
        options = {"database": self.database, "topic": self.topic, "group": f"{self.topic}-sink", **options}
        return Sink(kafka, registry=options.pop("registry", self.registry_url), subject=self.subject, **options)

    @property
    def clean(self) -> str:
        """Where a validator of this topic puts valid trades."""
        return f"{self.topic}.clean"

    @property
    def dead_letters(self) -> str:
        """Where it puts all others."""
        return f"{self.topic}.dlq"

    def validator(self, **options: Any) -> Validator:
        """A validator of this topic; its targets are made by the fixture `targets`."""
        kafka = {**self.kafka, **options.pop("kafka", {})}
        given = {"topic": self.topic, "clean": self.clean, "dead_letters": self.dead_letters}
        options = {**given, "group": f"{self.topic}-validator", "subject": self.subject, **options}
        return Validator(kafka, registry=options.pop("registry", self.registry_url), **options)

    def validate(self, **options: Any) -> Any:
        """Run a validator until the end of the log; returns its counts."""
        with self.validator(**options) as validator:
            return validator.run(until_end=True)

    def sorted(self) -> Sorted:
        """What committed readers find of a validator's work, beside what it read."""
        return Sorted(*(committed_records(self.kafka, name) for name in (self.topic, self.clean, self.dead_letters)))

    def publish(self, trades: Iterable[Trade]) -> list[Trade]:
        """Send trades; returns them when all are acknowledged."""
        sent = list(trades)
        with self.producer() as producer:
            for trade in sent:
                producer.produce(trade)
        return sent

    def publish_bytes(self, records: Iterable[tuple[bytes, bytes | None]], *, partition: int = -1) -> None:
        """Send keys and values as they are."""
        client = KafkaProducer({"bootstrap.servers": self.kafka["bootstrap.servers"], "partitioner": "murmur2_random"})
        for key, value in records:
            client.produce(self.topic, value, key, partition=partition)
        assert 0 == client.flush(120)

    def publish_in_transaction(
        self, records: Iterable[tuple[bytes, bytes]], *, partition: int, commit: bool = True
    ) -> None:
        """Send keys and values in a transaction, which leaves a marker after them."""
        address = {"bootstrap.servers": self.kafka["bootstrap.servers"]}
        client = KafkaProducer({**address, "transactional.id": f"{self.topic}-{partition}"})
        client.init_transactions(120)
        client.begin_transaction()
        for key, value in records:
            client.produce(self.topic, value, key, partition=partition)
        client.flush(120)
        end = client.commit_transaction if commit else client.abort_transaction
        end(120)

    def store(self, **options: Any) -> Any:
        """Run a sink until the end of the log; returns its counts."""
        with self.sink(**options) as sink:
            return sink.run(until_end=True)

    def stored(self) -> list[Trade]:
        """Return the trades in the table."""
        columns = [TRADES.columns[field] for field in Trade._fields]
        return sorted(Trade(*row) for row in self.query(select(*columns)))

    def refused(self) -> list[Any]:
        """Return the refusals in the table, in the order of the log."""
        columns = TRADE_REFUSALS.columns
        return self.query(select(TRADE_REFUSALS).order_by(columns.partition, columns.offset))

    def next_offsets(self, group: str | None = None) -> dict[int, int]:
        """Return the group's stored offset of each partition."""
        columns = SINK_OFFSETS.columns
        group = group or f"{self.topic}-sink"
        return dict(self.query(select(columns.partition, columns.next_offset).where(columns.group_id == group)))

    def query(self, statement: Any, *values: Any) -> list[Any]:
        with self._engine.connect() as connection:
            run = connection.exec_driver_sql if isinstance(statement, str) else connection.execute
            return list(run(statement, *values).all())

    def execute(self, statement: str) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def close(self) -> None:
        self.registry.close()
        self._engine.dispose()


@pytest.fixture
def pipeline(
    request: pytest.FixtureRequest, services: Services, kafka: dict[str, Any], migrated: str, topic: str
) -> Iterator[Pipeline]:
    """
    Create a topic and a migrated database for one test, with a registered subject.

    All tests share the subject, except those that use `subject` to change it.
    """
    changes_subject = "subject" in request.fixturenames
    subject = request.getfixturevalue("subject" if changes_subject else "registered_subject")
    pipeline = Pipeline(kafka, services.registry_url, migrated, topic, subject)
    if changes_subject:
        register_patiently(pipeline.registry, subject)
    yield pipeline
    pipeline.close()


@pytest.fixture
def targets(services: Services, pipeline: Pipeline) -> None:
    """The topics a validator writes to."""
    services.create_topic(pipeline.clean)
    if services.is_real:
        services.kafka.create_topic(pipeline.dead_letters, config={"max.message.bytes": "2000000"})
    else:
        services.create_topic(pipeline.dead_letters)


@pytest.fixture
def written(pipeline: Pipeline) -> Iterator[Callable[[], int]]:
    """The end of the log of valid trades, open transactions included; a quick request."""
    # Asked otherwise, where a log ends is where its first open transaction begins.
    settings = {"group.id": "tests", "isolation.level": "read_uncommitted"}
    client = Consumer({"bootstrap.servers": pipeline.kafka["bootstrap.servers"], **settings})
    places = [TopicPartition(pipeline.clean, partition) for partition in range(4)]
    yield lambda: sum(client.get_watermark_offsets(place, timeout=60)[1] for place in places)
    client.close()


@pytest.fixture
def start_sink(pipeline: Pipeline, tmp_path: Path) -> Iterator[Callable[..., StageProcess]]:
    """Starts sinks as processes; the test's end kills those that still run."""
    with processes("sink", pipeline, tmp_path) as start:
        yield start


@pytest.fixture
def start_validator(pipeline: Pipeline, targets: None, tmp_path: Path) -> Iterator[Callable[..., StageProcess]]:
    """Starts validators as processes; the test's end kills those that still run."""
    with processes("validate", pipeline, tmp_path) as start:
        yield start


@pytest.fixture
def journal(pipeline) -> Callable[[], None]:
    """
    Journals every step of every offset; the check says that the steps tile the log.

    A trade written twice would be hidden by the primary key. Two steps over one
    offset are not hidden.
    """
    pipeline.execute(
        """
        CREATE TABLE steps (partition int, before bigint, after bigint);
        CREATE FUNCTION journal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO steps VALUES (NEW.partition, OLD.next_offset, NEW.next_offset); RETURN NEW; END $$;
        CREATE TRIGGER journal AFTER UPDATE ON sink_offsets FOR EACH ROW
          WHEN (OLD.next_offset <> NEW.next_offset) EXECUTE FUNCTION journal();
        """
    )

    def check() -> None:
        reached: dict[int, int] = {}
        for partition, before, after in pipeline.query("SELECT * FROM steps ORDER BY partition, before, after"):
            assert reached.get(partition, 0) == before
            reached[partition] = after
        assert pipeline.next_offsets() == reached

    return check


_generator = samples.trades(7)
_generated: list[Trade] = []


@pytest.fixture
def some_trades() -> Callable[[int], list[Trade]]:
    """The first sample trades, generated once: in pipeline tests that took a sixth of the CPU time."""

    def first(count: int) -> list[Trade]:
        _generated.extend(islice(_generator, count - len(_generated)) if count > len(_generated) else ())
        return _generated[:count]

    return first
