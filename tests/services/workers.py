"""Real services for tests: a broker and a registry that all workers share, and a PostgreSQL for each worker."""

from collections.abc import Mapping
from copy import copy
from typing import Final, NamedTuple, Self

from tests.services.broker import Broker
from tests.services.group import ServiceGroup
from tests.services.kafka import Kafka
from tests.services.postgres import Postgres, QuickPostgres
from tests.services.real import Real
from tests.services.registry import Registry

# The broker is never killed: nobody reads its checkpoints after a restart. If a busy machine fenced it, no worker could
# create a topic.
_NEVER_KILLED: Final = {
    "broker.session.timeout.ms": "60000",
    # It writes the places in all partitions each 5 s by default, and reads them when it creates one.
    "replica.high.watermark.checkpoint.interval.ms": "3600000",
}


class Started:
    """
    A broker and a registry of this process, which is xdist's controller, or runs the tests itself.

    Tests get neither a Kafka nor a Registry, but what has no method to stop, kill or freeze them.
    """

    def __init__(self) -> None:
        self._kafka, self._registry = Kafka(properties=_NEVER_KILLED), Registry()
        self._group = ServiceGroup(self._kafka, self._registry)

    @property
    def addresses(self) -> dict[str, str]:
        """Where they are, for `Addressed`; they may not have started yet."""
        return {"bootstrap_servers": self._kafka.bootstrap_servers, "registry_url": self._registry.url}

    @property
    def broker(self) -> Broker:
        """The broker, once it has started."""
        return Broker(self._group.started(self._kafka).bootstrap_servers)

    @property
    def registry_url(self) -> str:
        """The URL of the registry, once it has started."""
        return self._group.started(self._registry).url

    def start(self) -> None:
        """Begin to start them."""
        self._group.start()

    def wait(self) -> None:
        """Wait until they have started."""
        self._group.wait()

    def close(self) -> None:
        """Stop them."""
        self._group.close()


class Addressed(NamedTuple):
    """A broker and a registry that xdist's controller has started."""

    broker: Broker
    registry_url: str

    @classmethod
    def at(cls, addresses: Mapping[str, str]) -> Self:
        return cls(Broker(addresses["bootstrap_servers"]), addresses["registry_url"])

    def close(self) -> None:
        """Nothing: the controller ends later."""


class WorkerServices(Real):
    """
    The services of the tests of one process.

    A test that stops, kills or freezes the broker asks for the fixture `own_kafka`, and gets services with that one.
    """

    def __init__(self, shared: Started | Addressed) -> None:
        self.shared = shared
        self._postgres = QuickPostgres()
        self._own = ServiceGroup(self._postgres)
        self._own_kafka: Kafka | None = None

    def with_kafka(self, kafka: Kafka) -> Self:
        """Return these services with another broker."""
        services = copy(self)
        services._own_kafka = kafka
        return services

    @property
    def kafka(self) -> Broker:
        return self._own_kafka or self.shared.broker

    @property
    def postgres(self) -> Postgres:
        return self._own.started(self._postgres)

    @property
    def registry_url(self) -> str:
        return self.shared.registry_url

    def close(self) -> None:
        self._own.close()
        self.shared.close()
