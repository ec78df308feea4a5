"""The services tests and benchmarks run on: the embedded ones, or real ones."""

from typing import Any, Protocol


class Services(Protocol):
    """A broker, a registry and a PostgreSQL; each starts at the latest when its address is asked for."""

    @property
    def is_real(self) -> bool:
        """Whether these are Apache Kafka, a real registry and a PostgreSQL that forces its data to disk."""

    @property
    def bootstrap_servers(self) -> str:
        """Where Kafka is."""

    @property
    def registry_url(self) -> str:
        """Where the registry is."""

    @property
    def postgres_url(self) -> str:
        """The database `postgres`."""

    @property
    def postgres(self) -> Any:
        """The PostgreSQL itself, with `create_database` and `drop_database`."""

    @property
    def client_settings(self) -> dict[str, Any]:
        """What a consumer on these services should be given beside their address, for tests that are quick."""

    def create_topic(self, name: str, *, partitions: int = 4) -> None:
        """Create a topic; it can be used at once."""

    def delete_topic(self, name: str) -> None:
        """Delete a topic; one of the same name can be created at once."""

    def delete_records(self, name: str) -> None:
        """Drop all records of a topic, as retention would; its log begins where it ended."""

    def versions(self) -> str:
        """What runs, for the head of a report."""

    def close(self) -> None:
        """Stop all."""
