"""docs/interop.md: its code is what these tests run."""

from datetime import UTC, date, datetime

import pytest

from tests.interop.conftest import PAGE
from tests.interop.java_peer import SOURCES
from tests.services import downloads
from tradepipe import Trade


@pytest.mark.real
def test_the_producer_of_the_page_reaches_the_sink(pipeline):
    (example,) = PAGE.blocks("python")
    stand_ins = {
        "http://localhost:8081": pipeline.registry_url,
        "localhost:9092": pipeline.kafka["bootstrap.servers"],
        "trades-value": pipeline.subject,
        '"trades"': f'"{pipeline.topic}"',
    }
    for shown, real in stand_ins.items():
        assert shown in example
        example = example.replace(shown, real)

    exec(compile(example, "interop.md", "exec"), {})

    pipeline.store()
    created_at = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
    assert [Trade("T1", 1, "CP-1", "B1", date(2030, 1, 1), created_at)] == pipeline.stored()


def test_the_java_of_the_page_is_in_the_program_that_was_run():
    (shown,) = PAGE.blocks("java")
    program = {line.strip() for line in (SOURCES / "Values.java").read_text().splitlines()}

    assert [] == [line for line in shown.splitlines() if line not in program]


@pytest.mark.parametrize(
    "told",
    [
        f"Apache Kafka {downloads.KAFKA_VERSION}",
        f"Apicurio Registry {downloads.REGISTRY_VERSION}",
        f"Apache Avro {downloads.AVRO_VERSION}",
        f"Avro serdes {downloads.SERDES_VERSION}",
    ],
)
def test_the_versions_of_the_page_are_those_that_were_run(told):
    assert told in " ".join(PAGE.text.split())
