"""The services, and what a test takes of them."""

import os
import uuid
from collections.abc import Generator, Iterator
from functools import cache
from typing import Any

import pytest

from tests.services import Services
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
    parser.addoption("--services", choices=("embedded", "real"), default="embedded", help="what the tests run on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what needs the other services, rather than skip it: a skip is a test that ought to have run."""
    other = "real" if config.getoption("services") == "embedded" else "embedded"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other)])
    items[:] = [item for item in items if not item.get_closest_marker(other)]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for each core: half of the tests wait for a server; on real ones, each of which is a Java, one and a half."""
    cores = len(os.sched_getaffinity(0))
    return max(2, cores * 2 if config.getoption("services") == "embedded" else cores * 3 // 2)


def pytest_report_header(config: pytest.Config) -> str:
    kind = config.getoption("services")
    return f"services: {kind}: {_services(kind).versions()}"


@cache
def _services(kind: str) -> Services:
    if kind == "real":
        from tests.services.real import RealServices  # noqa: PLC0415 - brings in what only real services need

        return RealServices()
    from tests.services.embedded import EmbeddedServices  # noqa: PLC0415 - the same

    return EmbeddedServices()


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """The services of this run: each starts when its address is first asked for."""
    services = _services(request.config.getoption("services"))
    yield services
    services.close()


@pytest.fixture(scope="session")
def migrated_template(services: Services) -> str:
    """The name of a database at the head of this build, to be copied: a fifth of what the migrations take."""
    name = "tradepipe_template"
    migrate.upgrade(services.postgres.start().create_database(name))
    return name


@pytest.fixture
def database(request: pytest.FixtureRequest, services: Services) -> Iterator[str]:
    """
    The URL of a database of the test's own, with the canary for a password: the server asks for none.

    It is empty, unless the test uses `migrated` too.
    """
    is_migrated = "migrated" in request.fixturenames
    template = request.getfixturevalue("migrated_template") if is_migrated else "template1"
    name = f"test_{uuid.uuid4().hex}"
    url = services.postgres.start().create_database(name, template=template)
    yield url.replace("postgres@", f"postgres:{CANARY}@")
    services.postgres.start().drop_database(name)


@pytest.fixture
def migrated(database: str) -> str:
    """The URL of the test's database, at the head of this build."""
    if migrate.current(database) is None:  # a test asked for this one while it ran
        migrate.upgrade(database)
    return database


@pytest.fixture
def topic(services: Services) -> str:
    """The name of an empty topic of the test's own, with 4 partitions."""
    name = f"trades-{uuid.uuid4().hex}"
    services.create_topic(name)
    return name


@pytest.fixture
def subject(topic: str) -> str:
    """A registry subject of the test's own."""
    return f"{topic}-value"


@pytest.fixture
def kafka(services: Services) -> dict[str, Any]:
    """Settings for Kafka clients; a test may add to them."""
    return {"bootstrap.servers": services.bootstrap_servers, **services.client_settings}
