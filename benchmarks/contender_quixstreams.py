"""quixstreams' PostgreSQL sink; runs in the virtual environment of `quixstreams_environment`."""

from typing import Any

from psycopg2.extensions import parse_dsn
from quixstreams import Application
from quixstreams.models.serializers.avro import AvroDeserializer
from quixstreams.models.serializers.schema_registry import SchemaRegistryClientConfig
from quixstreams.sinks.community.postgresql import PostgreSQLSink

from benchmarks.contender import Progress, Task


def store(task: Task, progress: Progress) -> None:
    """Store trades as its documentation shows it, with transactions of as many records as ours."""
    kafka = dict(task.kafka)
    application = Application(
        broker_address=kafka.pop("bootstrap.servers"),
        consumer_group=task.group,
        auto_offset_reset="earliest",
        consumer_extra_config=kafka,
        commit_every=task.batch,
        auto_create_topics=False,
        use_changelog_topics=False,
        loglevel="WARNING",
    )

    class NotingSink(PostgreSQLSink):
        """Notes each checkpoint, which writes the records of each partition in a transaction."""

        written = 0

        def write(self, batch: Any) -> None:
            super().write(batch)
            self.written += batch.size

        def flush(self) -> None:
            super().flush()
            if self.written:
                progress.commit(self.written)
                self.written = 0
            if progress.records >= task.count:
                application.stop()

    database = parse_dsn(task.database)
    sink = NotingSink(
        host=database["host"],
        port=int(database["port"]),
        dbname=database["dbname"],
        user=database["user"],
        password=database["password"],
        table_name="trades",
        schema_auto_update=False,
        on_conflict_do_nothing=True,
        include_metadata=False,
    )
    decode = AvroDeserializer(schema_registry_client_config=SchemaRegistryClientConfig(url=task.registry))
    topic = application.topic(task.topic, value_deserializer=decode)
    application.dataframe(topic).sink(sink)
    application.run()
