"""Services for tests and benchmarks, embedded or real."""

from typing import Any, Final, Protocol

CANARY: Final = "canary-27k"
"""The password in every database URL of these tests; a test that prints or logs it fails."""


class Services(Protocol):
    """A broker, a registry and a PostgreSQL; each starts at the latest when its address is read."""

    @property
    def is_real(self) -> bool:
        """Whether these are Apache Kafka, a real registry and a PostgreSQL that forces its data to disk."""

    @property
    def bootstrap_servers(self) -> str:
        """Addresses of the brokers."""

    @property
    def registry_url(self) -> str:
        """URL of the registry."""

    @property
    def postgres_url(self) -> str:
        """URL of the database `postgres`."""

    @property
    def postgres(self) -> Any:
        """The PostgreSQL itself, with `create_database` and `drop_database`."""

    @property
    def client_settings(self) -> dict[str, Any]:
        """Consumer properties that make tests on these services fast."""

    def create_topic(self, name: str, *, partitions: int = 4) -> None:
        """Create a topic; it can be used at once."""

    def delete_topic(self, name: str) -> None:
        """Delete a topic; one of the same name can be created at once."""

    def delete_records(self, name: str) -> None:
        """Drop all records of a topic, as retention would; its log begins where it ended."""

    def versions(self) -> str:
        """Names and versions of the services, for the header of a report."""

    def close(self) -> None:
        """Stop all services."""
