"""The code in docs/interop.md runs."""

from datetime import UTC, date, datetime

import pytest

from tests.interop.conftest import PAGE
from tests.interop.java_peer import SOURCES
from tests.services import downloads
from tradepipe import Trade


@pytest.mark.real
def test_records_of_the_pages_producer_are_stored(pipeline):
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


def test_the_pages_java_code_is_part_of_the_tested_program():
    (shown,) = PAGE.blocks("java")
    program = {line.strip() for line in (SOURCES / "Values.java").read_text().splitlines()}

    assert [] == [line for line in shown.splitlines() if line not in program]


@pytest.mark.parametrize(
    "named",
    [
        f"Apache Kafka {downloads.KAFKA_VERSION}",
        f"Apicurio Registry {downloads.REGISTRY_VERSION}",
        f"Apache Avro {downloads.AVRO_VERSION}",
        f"Avro serdes {downloads.SERDES_VERSION}",
    ],
)
def test_the_page_names_the_tested_versions(named):
    assert named in " ".join(PAGE.text.split())
