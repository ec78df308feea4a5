"""A subject with every frozen version, and the Java program that knows other people's clients."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.java_peer import Peer
from tests.markdown import Document
from tests.pipeline.conftest import Pipeline
from tests.registration import register_patiently
from tests.services import Services
from tradepipe import SchemaRegistry, TradeDeserializer, TradeSerializer
from tradepipe.evolution.history import current

PAGE = Document(Path(__file__).parents[2] / "docs" / "interop.md")


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """One for all tests: it takes seconds to start."""
    with Peer(tmp_path_factory.mktemp("peer")) as peer:
        yield peer


@pytest.fixture
def pipeline(services: Services, kafka: dict[str, Any], migrated: str, subject: str) -> Iterator[Pipeline]:
    """A pipeline with a subject that is named after its topic, as other clients expect."""
    pipeline = Pipeline(kafka, services.registry_url, migrated, subject.removesuffix("-value"), subject)
    register_patiently(pipeline.registry, subject)
    yield pipeline
    pipeline.close()


@pytest.fixture
def registry(services: Services) -> Iterator[SchemaRegistry]:
    with SchemaRegistry(services.registry_url, timeout=60.0) as registry:
        yield registry


@pytest.fixture
def ids(registry: SchemaRegistry, subject: str) -> dict[int, int]:
    """The schema id of each frozen version, all registered under the test's subject."""
    return {outcome.version: outcome.schema_id for outcome in register_patiently(registry, subject).versions}


@pytest.fixture
def serialize(registry: SchemaRegistry, subject: str) -> TradeSerializer:
    return TradeSerializer(registry, subject=subject)


@pytest.fixture
def deserialize(registry: SchemaRegistry, subject: str) -> TradeDeserializer:
    return TradeDeserializer(registry, subject=subject)


@pytest.fixture
def settings(services: Services) -> dict[str, str]:
    """The settings of Java's clients: the page's properties, with the addresses of this run and the current version."""
    (properties,) = PAGE.blocks("properties")
    return dict(line.split("=", 1) for line in properties.splitlines()) | {
        "apicurio.registry.url": services.registry_url.replace("/ccompat/v7", "/registry/v2"),
        "apicurio.registry.artifact.version": str(current().number),
        "bootstrap.servers": services.bootstrap_servers,
    }
