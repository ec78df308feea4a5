"""Real services for the tests."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.services import downloads
from tests.services.kafka import Kafka
from tests.services.postgres import Postgres, QuickPostgres
from tests.services.registry import Registry
from tradepipe.embedded.postgres import Binaries


class RealServices:
    """
    Apache Kafka, Apicurio Registry and PostgreSQL; the first use of one starts all, and waits only for that one.

    Args:
        is_optimized: let Java optimize, for benchmarks.
    """

    is_real = True
    # The shortest that spares a busy machine a false alarm.
    client_settings = {"session.timeout.ms": 6000}  # noqa: RUF012 - it is never changed

    def __init__(self, *, is_optimized: bool = False) -> None:
        self._kafka = Kafka(is_optimized=is_optimized)
        self._registry = Registry(is_optimized=is_optimized)
        self._postgres = Postgres() if is_optimized else QuickPostgres()
        self._starts: dict[object, Future[Any]] = {}

    @property
    def kafka(self) -> Kafka:
        return self._started(self._kafka)

    @property
    def registry(self) -> Registry:
        return self._started(self._registry)

    @property
    def postgres(self) -> Postgres:
        return self._started(self._postgres)

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    @property
    def registry_url(self) -> str:
        return self.registry.url

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

    def close(self) -> None:
        for service, start in self._starts.items():
            start.exception()  # wait: a service that is still starting has nothing to close yet
            service.close()
        self._starts.clear()

    def _started(self, service: Any) -> Any:
        if not self._starts:
            starter = ThreadPoolExecutor(3)
            self._starts = {each: starter.submit(each.start) for each in (self._kafka, self._postgres, self._registry)}
            starter.shutdown(wait=False)
        self._starts[service].result()
        return service
