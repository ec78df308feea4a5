"""The parts, and what a test takes of them."""

import os
import uuid
from collections.abc import Generator, Iterator
from functools import cache
from typing import Any

import pytest

from tests.services import Parts
from tradepipe.postgres import migrate

pytest_plugins = ["tests.wheel", "tests.properties"]

CANARY = "canary-27k"
"""The password in every database URL of these tests; a test in which anybody prints or logs it fails."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look through all that was printed and logged for the canary."""
    report = yield
    if any(CANARY in text for _, text in report.sections):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid}: the password of a database was printed or logged: see {CANARY} in what it said"
        )
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parts", choices=("embedded", "real"), default="embedded", help="what the tests run on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what needs the other parts, rather than skip it: a skip is a test that ought to have run."""
    other = "real" if config.getoption("parts") == "embedded" else "embedded"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other)])
    items[:] = [item for item in items if not item.get_closest_marker(other)]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for each core: half of the tests wait for a server; on real ones, each of which is a Java, one and a half."""
    cores = len(os.sched_getaffinity(0))
    return max(2, cores * 2 if config.getoption("parts") == "embedded" else cores * 3 // 2)


def pytest_report_header(config: pytest.Config) -> str:
    kind = config.getoption("parts")
    return f"parts: {kind}: {_parts(kind).versions()}"


@cache
def _parts(kind: str) -> Parts:
    if kind == "real":
        from tests.services.real import RealParts  # noqa: PLC0415 - brings in what only real parts need

        return RealParts()
    from tests.services.embedded import EmbeddedParts  # noqa: PLC0415 - the same

    return EmbeddedParts()


@pytest.fixture(scope="session")
def parts(request: pytest.FixtureRequest) -> Iterator[Parts]:
    """The parts of this run: each starts when its address is first asked for."""
    parts = _parts(request.config.getoption("parts"))
    yield parts
    parts.close()


@pytest.fixture(scope="session")
def migrated_template(parts: Parts) -> str:
    """The name of a database at the head of this build, to be copied: a fifth of what the migrations take."""
    name = "tradepipe_template"
    migrate.upgrade(parts.postgres.start().create_database(name))
    return name


@pytest.fixture
def database(request: pytest.FixtureRequest, parts: Parts) -> Iterator[str]:
    """
    The URL of a database of the test's own, with the canary for a password: the server asks for none.

    It is empty, unless the test uses `migrated` too.
    """
    is_migrated = "migrated" in request.fixturenames
    template = request.getfixturevalue("migrated_template") if is_migrated else "template1"
    name = f"test_{uuid.uuid4().hex}"
    url = parts.postgres.start().create_database(name, template=template)
    yield url.replace("postgres@", f"postgres:{CANARY}@")
    parts.postgres.start().drop_database(name)


@pytest.fixture
def migrated(database: str) -> str:
    """The URL of the test's database, at the head of this build."""
    if migrate.current(database) is None:  # a test asked for this one while it ran
        migrate.upgrade(database)
    return database


@pytest.fixture
def topic(parts: Parts) -> str:
    """The name of an empty topic of the test's own, with 4 partitions."""
    name = f"trades-{uuid.uuid4().hex}"
    parts.create_topic(name)
    return name


@pytest.fixture
def subject(topic: str) -> str:
    """A registry subject of the test's own."""
    return f"{topic}-value"


@pytest.fixture
def kafka(parts: Parts) -> dict[str, Any]:
    """Settings for Kafka clients; a test may add to them."""
    return {"bootstrap.servers": parts.bootstrap_servers, **parts.client_settings}
