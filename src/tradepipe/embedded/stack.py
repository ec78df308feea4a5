"""Embedded broker, registry and database of a pipeline."""

import argparse
import signal
import threading
from contextlib import ExitStack
from typing import Self

from tradepipe.embedded.broker import DEFAULT_PARTITIONS, Broker
from tradepipe.embedded.postgres import Postgres
from tradepipe.embedded.registry_server import RegistryServer


class LocalStack:
    """
    A broker, a registry and a PostgreSQL, for demos and tests.

    Each service starts when its address is first read. Entering the block
    starts all of them; leaving it stops them and deletes their data.
    """

    def __init__(self) -> None:
        self.broker = Broker()
        self.registry = RegistryServer()
        self.postgres = Postgres()

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
        """Addresses as the environment variables that the commands read."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.registry_url,
            "DATABASE_URL": self.database_url,
        }

    def create_topic(self, name: str, *, partitions: int = DEFAULT_PARTITIONS) -> None:
        """Create a topic on the broker."""
        self.broker.create_topic(name, partitions=partitions)

    def close(self) -> None:
        """Stop all services and delete their data."""
        with ExitStack() as services:
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


def main() -> None:
    """Start all services, print their addresses as lines for a shell, and wait for SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tradepipe.embedded", description=main.__doc__)
    parser.add_argument("--topic", action="append", default=[], metavar="NAME[:PARTITIONS]", help="create a topic")
    topics = [_topic(text, parser) for text in parser.parse_args().topic]
    with WaitForSignal() as stopped, LocalStack() as stack:
        for name, partitions in topics:
            stack.create_topic(name, partitions=partitions)
        for variable, value in stack.environment.items():
            print(f"export {variable}={value}", flush=True)
        stopped.wait()


def _topic(text: str, parser: argparse.ArgumentParser) -> tuple[str, int]:
    name, _, partitions = text.partition(":")
    if not name or not (partitions or "4").isdigit():
        parser.error(f"--topic takes NAME or NAME:PARTITIONS, not {text!r}")
    return name, int(partitions or DEFAULT_PARTITIONS)


class WaitForSignal:
    """
    Within the block, SIGINT and SIGTERM interrupt nothing: `wait` returns after the first of them.

    So every service that was started can be stopped, and a second signal does not
    interrupt the shutdown.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()

    def wait(self) -> None:
        """Wait for SIGINT or SIGTERM."""
        self._asked.wait()

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._asked.set())
        return self

    def __exit__(self, *raised: object) -> None:
        """Keep the handlers installed: the program is about to end."""
