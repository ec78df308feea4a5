"""Environments and folders of the commands."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def addresses(services, database) -> dict[str, str]:
    """Where the services are; nothing is set up on them."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": services.bootstrap_servers,
        "SCHEMA_REGISTRY_URL": services.registry_url,
        "DATABASE_URL": database,
        "TRADEPIPE_KAFKA_PROPERTIES": " ".join(f"{key}={value}" for key, value in services.client_settings.items()),
    }


@pytest.fixture
def env(addresses, topic, subject) -> dict[str, str]:
    """A separate topic, subject and group; schema and tables are still missing."""
    return addresses | {
        "TRADEPIPE_TOPIC": topic,
        "TRADEPIPE_SINK_TOPIC": topic,
        "TRADEPIPE_SUBJECT": subject,
        "TRADEPIPE_SINK_GROUP": topic,
        "TRADEPIPE_VALIDATE_GROUP": topic,
    }


@pytest.fixture
def outputs(services, topic) -> dict[str, str]:
    """The topics of a validator; Kafka's takes dead letters, which have more headers than their records."""
    targets = {"TRADEPIPE_CLEAN": f"{topic}.clean", "TRADEPIPE_DEAD_LETTERS": f"{topic}.dlq"}
    services.create_topic(targets["TRADEPIPE_CLEAN"])
    if services.is_real:
        services.kafka.create_topic(targets["TRADEPIPE_DEAD_LETTERS"], config={"max.message.bytes": "2000000"})
    else:
        services.create_topic(targets["TRADEPIPE_DEAD_LETTERS"])
    return targets


@pytest.fixture
def ready(env, registered_subject, migrated) -> dict[str, str]:
    """The same, with tables, and with a subject that is registered and that other tests use too."""
    return env | {"TRADEPIPE_SUBJECT": registered_subject}


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach: the server does not run as root."""
    with TemporaryDirectory() as path:
        Path(path).chmod(0o777)
        yield Path(path)
