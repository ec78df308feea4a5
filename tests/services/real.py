"""Apache Kafka, Apicurio Registry and PostgreSQL."""

from abc import ABC, abstractmethod

from tests.services import downloads
from tests.services.broker import Broker
from tests.services.group import ServiceGroup
from tests.services.kafka import Kafka
from tests.services.postgres import Postgres, QuickPostgres
from tests.services.registry import Registry
from tradepipe.embedded.postgres import Binaries


class Real(ABC):
    """Real services, whoever starts them."""

    is_real = True
    # The shortest that spares a busy machine a false alarm.
    client_settings = {"session.timeout.ms": 6000}  # noqa: RUF012 - it is never changed

    @property
    @abstractmethod
    def kafka(self) -> Broker: ...

    @property
    @abstractmethod
    def postgres(self) -> Postgres: ...

    @property
    @abstractmethod
    def registry_url(self) -> str: ...

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    @property
    def postgres_url(self) -> str:
        return self.postgres.url

    def create_topic(self, name: str, *, partitions: int = 4) -> None:
        self.kafka.create_topic(name, partitions=partitions)

    def delete_topic(self, name: str) -> None:
        self.kafka.delete_topic(name)

    def delete_records(self, name: str) -> None:
        self.kafka.delete_records(name)

    def versions(self) -> str:
        postgres = (Binaries.debian() or Binaries.find()).version
        return f"Kafka {downloads.KAFKA_VERSION}, Apicurio {downloads.REGISTRY_VERSION}, PostgreSQL {postgres}"


class RealServices(Real):
    """
    Services of one program, which may also stop them; the first use of one starts all, and waits only for that one.

    Args:
        is_optimized: let Java optimize, for benchmarks.
    """

    def __init__(self, *, is_optimized: bool = False) -> None:
        self._kafka = Kafka(is_optimized=is_optimized)
        self._registry = Registry(is_optimized=is_optimized)
        self._postgres = Postgres() if is_optimized else QuickPostgres()
        self._all = ServiceGroup(self._kafka, self._postgres, self._registry)

    @property
    def kafka(self) -> Kafka:
        return self._all.started(self._kafka)

    @property
    def registry(self) -> Registry:
        return self._all.started(self._registry)

    @property
    def postgres(self) -> Postgres:
        return self._all.started(self._postgres)

    @property
    def registry_url(self) -> str:
        return self.registry.url

    def close(self) -> None:
        self._all.close()
