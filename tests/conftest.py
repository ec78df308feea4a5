"""Fixtures for the services, databases and topics of the tests."""

import gc
import os
import threading
import time
import uuid
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.registration import register_patiently
from tests.services import CANARY, Services
from tests.services.databases import EMPTY, MIGRATED, Databases
from tradepipe.postgres import migrate
from tradepipe.registry import schema_ids
from tradepipe.registry.client import SchemaRegistry

pytest_plugins = ["tests.temporary_files", "tests.selection", "tests.wheel", "tests.properties"]

ENDING_THREADS = ("tradepipe-producer", "tradepipe-writer", "tradepipe-progress")
"""Threads that end when what started them is closed."""

WORKER_BYTES = 2 << 30
"""Memory of a worker, of the real services that it starts, and of the programs of a test."""

LEFT_THREADS_SECONDS = 60
"""Seconds such a thread has to end after its test."""

# For the programs that tests start: one that crashes in a library says where.
os.environ.setdefault("PYTHONFAULTHANDLER", "1")
# Who tries the commands may have exported their options, for other services than those of the tests.
for _name in list(os.environ):
    if _name.startswith(("DATABASE_URL", "KAFKA_", "PG", "SCHEMA_REGISTRY_", "TRADEPIPE_")) and not _name.startswith(
        ("TRADEPIPE_NATIVE", "TRADEPIPE_TRACE")
    ):
        del os.environ[_name]

_THREADS_BEFORE = pytest.StashKey[set[threading.Thread]]()
_SERVICES = pytest.StashKey[Any]()
_ADDRESSES = "shared services"


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect thousands of tests, which stay until the end, without looking for garbage among them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose output or log contains the canary."""
    report = yield
    if any(CANARY in text for _, text in report.sections):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid}: the password of a database was printed or logged: search its output for {CANARY}"
        )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Note which threads run before the test."""
    item.stash[_THREADS_BEFORE] = set(threading.enumerate())
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Fail a test that leaves a thread of a stage or a producer: what it logs would be output of a later test."""
    yield
    deadline = time.monotonic() + LEFT_THREADS_SECONDS
    while left := [
        each.name
        for each in set(threading.enumerate()) - item.stash[_THREADS_BEFORE]
        if each.name.startswith(ENDING_THREADS)
    ]:
        if time.monotonic() > deadline:
            pytest.fail(f"{item.nodeid} has not closed what runs these threads: {', '.join(left)}")
        time.sleep(0.01)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return three workers per core, as tests mostly wait for a server, but no more than memory has room for."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(3 * len(os.sched_getaffinity(0)), memory // WORKER_BYTES))


def pytest_report_header(config: pytest.Config) -> str:
    return f"services: {config.getoption('services')}: {_services(config).versions()}"


def pytest_configure_node(node: Any) -> None:
    """Start the broker and the registry that all workers share, while these collect their tests."""
    if node.config.getoption("services") == "real":
        shared = _services(node.config).shared
        shared.start()
        node.workerinput[_ADDRESSES] = shared.addresses


def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Wait for the services; no test begins before, and if one has not started, the run ends."""
    if node.config.getoption("services") == "real":
        _services(node.config).shared.wait()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the services that this process has started; the controller does so when its workers have ended."""
    if services := config.stash.get(_SERVICES, None):
        services.close()


def _services(config: pytest.Config) -> Any:
    """Return the services of this process; each starts when its address is first read."""
    if _SERVICES not in config.stash:
        config.stash[_SERVICES] = _make_services(config)
    return config.stash[_SERVICES]


def _make_services(config: pytest.Config) -> Services:
    if config.getoption("services") == "real":
        from tests.services.workers import Addressed, Started, WorkerServices  # noqa: PLC0415 - for real services only

        addresses = getattr(config, "workerinput", {}).get(_ADDRESSES)
        return WorkerServices(Started() if addresses is None else Addressed.at(addresses))
    from tests.services.embedded import EmbeddedServices  # noqa: PLC0415 - for embedded services only

    return EmbeddedServices()


@pytest.fixture(scope="session")
def session_services(pytestconfig: pytest.Config) -> Any:
    """Services of this run, for fixtures that several tests share."""
    return _services(pytestconfig)


@pytest.fixture(scope="module")
def own_kafka(session_services: Any) -> Iterator[Any]:
    """A Kafka for the tests of a module that stop, kill or freeze it; None on embedded services."""
    if not session_services.is_real:
        yield None
        return
    from tests.services.kafka import Kafka  # noqa: PLC0415 - for real services only

    with Kafka() as kafka:
        yield kafka


@pytest.fixture
def services(request: pytest.FixtureRequest, session_services: Any) -> Services:
    """The services of one test; if it uses `own_kafka`, that is their broker."""
    kafka = request.getfixturevalue("own_kafka") if "own_kafka" in request.fixturenames else None
    return session_services if kafka is None else session_services.with_kafka(kafka.start())


@pytest.fixture(scope="session")
def databases(session_services: Services) -> Iterator[Databases]:
    """The databases of all tests, which are used again."""
    databases = Databases(session_services.postgres)
    yield databases
    databases.close()


@pytest.fixture
def database(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """
    URL of a database that only this test uses, with the canary as its password.

    It is empty, unless the test uses `migrated` too.
    """
    url = databases.create(MIGRATED if "migrated" in request.fixturenames else EMPTY)
    yield url
    databases.take_back(url)


@pytest.fixture
def migrated(database: str, databases: Databases) -> str:
    """URL of the test's database, migrated to the head of this build."""
    if not databases.is_migrated(database):  # a test asked for this one while it ran
        migrate.upgrade(database)
    return database


@pytest.fixture(autouse=True)
def brief_registry_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits for a registry's replicas and for a registry that is starting."""
    monkeypatch.setattr(schema_ids, "REPLICA_LAG_SECONDS", 0.25)
    monkeypatch.setattr(schema_ids, "STARTUP_SECONDS", 0.25)


@pytest.fixture
def topic(services: Services) -> str:
    """Name of a new, empty topic with 4 partitions."""
    name = f"trades-{uuid.uuid4().hex}"
    services.create_topic(name)
    return name


@pytest.fixture
def subject(topic: str) -> str:
    """Registry subject that only this test uses."""
    return f"{topic}-value"


@pytest.fixture(scope="session")
def registered_subject(session_services: Services) -> str:
    """Registry subject with all schema versions, for tests that do not change it."""
    subject = f"trades-{uuid.uuid4().hex}-value"
    # Registration in a real registry takes 140 ms of CPU time.
    with SchemaRegistry(session_services.registry_url, timeout=60.0) as registry:
        register_patiently(registry, subject)
    return subject


@pytest.fixture
def kafka(services: Services) -> dict[str, Any]:
    """Properties for Kafka clients; a test may add to them."""
    return {"bootstrap.servers": services.bootstrap_servers, **services.client_settings}
