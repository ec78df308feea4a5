"""Embedded broker, registry and database of a pipeline."""

import threading
from contextlib import ExitStack
from typing import Self

from tradepipe.embedded.broker import DEFAULT_PARTITIONS, QUICK_CONSUMER, Broker
from tradepipe.embedded.postgres import Postgres
from tradepipe.embedded.registry_server import RegistryServer


class LocalStack:
    """
    A broker, a registry and a PostgreSQL, for demos and tests.

    Each service starts when its address is first read. Entering the block
    starts all of them; leaving it stops them and deletes their data.

    Args:
        cancelled: cancels the start of all services when another thread sets it.
    """

    def __init__(self, *, cancelled: threading.Event | None = None) -> None:
        self.broker = Broker()
        self.registry = RegistryServer()
        self.postgres = Postgres(cancelled=cancelled)

    @property
    def bootstrap_servers(self) -> str:
        """Value of `bootstrap.servers` for Kafka clients."""
        return self.broker.bootstrap_servers

    @property
    def registry_url(self) -> str:
        """URL of the registry."""
        return self.registry.url

    @property
    def database_url(self) -> str:
        """URL of the database `postgres`."""
        return self.postgres.start().url

    @property
    def environment(self) -> dict[str, str]:
        """
        Environment variables with which all commands work on these services.

        They hold the addresses, the properties of a quick consumer, and the
        delivery of a validator, since the broker has no transactions.
        """
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.registry_url,
            "DATABASE_URL": self.database_url,
            "TRADEPIPE_KAFKA_PROPERTIES": " ".join(f"{key}={value}" for key, value in QUICK_CONSUMER.items()),
            "TRADEPIPE_DELIVERY": "at_least_once",
        }

    def create_topic(self, name: str, *, partitions: int = DEFAULT_PARTITIONS) -> None:
        """Create a topic on the broker."""
        self.broker.create_topic(name, partitions=partitions)

    def close(self) -> None:
        """Stop all services and delete their data."""
        with ExitStack() as services:
            # By an ExitStack, which closes the others even if one fails.
            for service in (self.broker, self.registry, self.postgres):
                services.callback(service.close)

    def __enter__(self) -> Self:
        try:
            self.postgres.start()
            self.broker.start()
            self.registry.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
