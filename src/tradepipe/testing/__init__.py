"""
A kit for the tests of services that publish or consume trades.

A pytest plugin. Name it in the topmost conftest.py

    pytest_plugins = ["tradepipe.testing"]

or pass `-p tradepipe.testing`. Installing tradepipe does not load it, because every
run of pytest in the environment would then import tradepipe. Each service is
loaded by the fixtures that use it.

Fixtures:
    make_trade             creates valid trades
    publish, produced      send trades to the test's topic, read them from it
    producer_settings      the arguments of a `Producer`
    sink_settings          the arguments of a `Sink`
    broker_unavailable     makes the broker unavailable within a block
    assert_every_version_decodes, frozen_record
                           records of every schema version, to test a reader
    tradepipe_topic, tradepipe_subject, tradepipe_database
                           a topic, a subject and a database for one test
    tradepipe_broker, tradepipe_registry, tradepipe_databases
                           the services, one of each for the whole run

The function `assert_compatible` checks the schemas of another service.

PYTEST_DONT_REWRITE: there is no assert statement here, and pytest would warn if a
conftest.py both imports from here and names the plugin.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from tradepipe import Producer, SchemaRegistry, Trade
from tradepipe.evolution.history import versions
from tradepipe.testing.schema_assertions import DecodesEveryVersion, FrozenRecord, assert_compatible, frozen_records
from tradepipe.testing.trades import ProducedTrades, TradeFactory

__all__ = [
    "DecodesEveryVersion",
    "FrozenRecord",
    "ProducedTrades",
    "TradeFactory",
    "assert_compatible",
    "assert_every_version_decodes",
    "broker_unavailable",
    "frozen_record",
    "make_trade",
    "produced",
    "producer_settings",
    "publish",
    "sink_settings",
    "tradepipe_broker",
    "tradepipe_database",
    "tradepipe_databases",
    "tradepipe_registry",
    "tradepipe_subject",
    "tradepipe_topic",
]


try:
    import pytest
except ModuleNotFoundError:
    raise ModuleNotFoundError("tradepipe.testing needs pytest: pip install 'pytest>=8.4'", name="pytest") from None

if TYPE_CHECKING:
    from tradepipe.embedded.broker import Broker
    from tradepipe.embedded.postgres import Postgres
    from tradepipe.embedded.registry_server import RegistryServer

_TEMPLATE: Final = "tradepipe"


class Databases:
    """Copies of a migrated template database: a copy takes a tenth of the time of the migrations."""

    def __init__(self, postgres: "Postgres") -> None:
        self._postgres = postgres
        # In a separate process: the migrations load Alembic, which tests of a service do not need.
        command = [sys.executable, "-m", "tradepipe.migrate", "upgrade"]
        environment = {**os.environ, "DATABASE_URL": postgres.create_database(_TEMPLATE)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")

    def create(self) -> str:
        """Create a database with tradepipe's tables, all empty, and return its URL."""
        # No test sees rows of another one, and no test needs to remove its own.
        return self._postgres.create_database(f"test_{uuid4().hex}", template=_TEMPLATE)

    def drop(self, url: str) -> None:
        """Drop a database, even if clients are connected to it."""
        self._postgres.drop_database(url.rpartition("/")[2])


@pytest.fixture
def make_trade() -> TradeFactory:
    """Creates valid trades, each with another key, and the same ones in every run."""
    return TradeFactory()


@pytest.fixture(scope="session")
def tradepipe_broker() -> "Iterator[Broker]":
    """A Kafka broker in this process, with `bootstrap_servers` and `create_topic`."""
    from tradepipe.embedded.broker import Broker  # noqa: PLC0415 - loaded where it is used

    with Broker() as broker:
        yield broker


@pytest.fixture(scope="session")
def tradepipe_registry() -> "Iterator[RegistryServer]":
    """A schema registry in this process, with `url`."""
    from tradepipe.embedded.registry_server import RegistryServer  # noqa: PLC0415 - loaded where it is used

    with RegistryServer() as registry:
        yield registry


@pytest.fixture(scope="session")
def tradepipe_databases() -> Iterator[Databases]:
    """A PostgreSQL for this run, with `create` and `drop` for databases; needs `tradepipe[embedded]`."""
    from tradepipe.embedded.postgres import Postgres  # noqa: PLC0415 - loaded where it is used

    try:
        postgres = Postgres().start()
    except FileNotFoundError as error:
        pytest.fail(str(error), pytrace=False)
    with postgres:
        yield Databases(postgres)


@pytest.fixture
def tradepipe_topic(tradepipe_broker: "Broker") -> str:
    """The name of an empty topic that only this test uses."""
    name = f"trades-{uuid4().hex}"
    tradepipe_broker.create_topic(name)
    return name


@pytest.fixture
def tradepipe_subject(tradepipe_registry: "RegistryServer") -> str:
    """A subject that only this test uses, with every version of the trade schema, at FULL_TRANSITIVE."""
    name = f"trades-{uuid4().hex}-value"
    with SchemaRegistry(tradepipe_registry.url) as registry:
        for version in versions():
            # Oldest first, as in production: the level below would refuse another order.
            registry.register(name, version.text)
        registry.set_level(name, "FULL_TRANSITIVE")
    return name


@pytest.fixture
def tradepipe_database(tradepipe_databases: Databases) -> Iterator[str]:
    """The URL of a database that only this test uses, with tradepipe's tables; needs `tradepipe[embedded]`."""
    url = tradepipe_databases.create()
    yield url
    tradepipe_databases.drop(url)


@pytest.fixture
def producer_settings(
    tradepipe_broker: "Broker", tradepipe_registry: "RegistryServer", tradepipe_topic: str, tradepipe_subject: str
) -> dict[str, Any]:
    """The arguments of a `Producer` for the test's topic: `Producer(**producer_settings)`."""
    return _stage(tradepipe_broker, tradepipe_registry, tradepipe_topic, tradepipe_subject)


@pytest.fixture
def sink_settings(
    tradepipe_broker: "Broker",
    tradepipe_registry: "RegistryServer",
    tradepipe_topic: str,
    tradepipe_subject: str,
    tradepipe_database: str,
) -> dict[str, Any]:
    """The arguments of a `Sink` from the test's topic into its database; needs `tradepipe[embedded]`."""
    from tradepipe.embedded.broker import QUICK_CONSUMER  # noqa: PLC0415 - loaded where it is used

    settings = _stage(tradepipe_broker, tradepipe_registry, tradepipe_topic, tradepipe_subject)
    settings["kafka"] |= QUICK_CONSUMER
    return {**settings, "database": tradepipe_database, "group": f"{tradepipe_topic}-sink"}


def _stage(broker: "Broker", registry: "RegistryServer", topic: str, subject: str) -> dict[str, Any]:
    kafka = {"bootstrap.servers": broker.bootstrap_servers}
    return {"kafka": kafka, "registry": registry.url, "topic": topic, "subject": subject}


@pytest.fixture
def publish(
    tradepipe_broker: "Broker", tradepipe_registry: "RegistryServer", tradepipe_topic: str, tradepipe_subject: str
) -> Callable[..., None]:
    """Sends trades to the test's topic, for services that consume: `publish(trade, other)`."""
    settings = _stage(tradepipe_broker, tradepipe_registry, tradepipe_topic, tradepipe_subject)

    def publish(*trades: Trade) -> None:
        with Producer(**settings) as producer:
            for trade in trades:
                producer.produce(trade)

    return publish


@pytest.fixture
def produced(
    tradepipe_broker: "Broker", tradepipe_registry: "RegistryServer", tradepipe_topic: str, tradepipe_subject: str
) -> ProducedTrades:
    """Reads the trades that a service produced: `produced()`, `produced(at_least=2)`."""
    return ProducedTrades(
        tradepipe_broker.bootstrap_servers, tradepipe_registry.url, topic=tradepipe_topic, subject=tradepipe_subject
    )


@pytest.fixture
def assert_every_version_decodes(tradepipe_registry: "RegistryServer", tradepipe_subject: str) -> DecodesEveryVersion:
    """Asserts that a reader reads a record of every schema version: `assert_every_version_decodes(reader)`."""
    return DecodesEveryVersion(tradepipe_registry.url, tradepipe_subject)


@pytest.fixture(params=[version.number for version in versions()], ids=lambda number: f"v{number}")
def frozen_record(
    request: pytest.FixtureRequest, tradepipe_registry: "RegistryServer", tradepipe_subject: str
) -> FrozenRecord:
    """A record of a schema version; a test with this fixture runs once for each version."""
    records = frozen_records(tradepipe_registry.url, tradepipe_subject)
    return next(record for record in records if record.version == request.param)


@pytest.fixture
def broker_unavailable(tradepipe_broker: "Broker") -> Callable[[], AbstractContextManager[None]]:
    """Makes the broker unavailable within a block; records are kept: `with broker_unavailable(): ...`."""

    @contextmanager
    def unavailable() -> Iterator[None]:
        tradepipe_broker.down()
        try:
            yield
        finally:
            tradepipe_broker.up()

    return unavailable
