"""Three Kafka brokers that replicate each other, and elect leaders and coordinators."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

from tests.services.kafka import Kafka

BROKERS: Final = 3

_PROPERTIES: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "replica.lag.time.max.ms": "5000",
    # A busy machine must not elect all the time.
    "broker.session.timeout.ms": "5000",
    "controller.quorum.election.timeout.ms": "2000",
    "controller.quorum.fetch.timeout.ms": "4000",
}


class KafkaCluster:
    """A record is acknowledged by two of three brokers, so that one may be lost."""

    def __init__(self) -> None:
        self.brokers = [Kafka(properties=_PROPERTIES) for _ in range(BROKERS)]
        controllers = {number: broker.controller_port for number, broker in enumerate(self.brokers, 1)}
        for number, broker in enumerate(self.brokers, 1):
            broker.join(number, controllers, self.brokers[0].cluster_id)

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of all brokers."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def start(self) -> Self:
        """Start the brokers that do not run; one alone does not answer, because the controllers need a majority."""
        with ThreadPoolExecutor(BROKERS) as starter:
            list(starter.map(Kafka.start, self.brokers))
        return self

    def create_topic(self, name: str, *, replicas: int = BROKERS, config: Mapping[str, str] | None = None) -> None:
        """Create a topic, by default with a replica on each broker."""
        self.brokers[0].create_topic(name, replicas=replicas, config=config)

    def close(self) -> None:
        """Stop the brokers and remove their data."""
        for broker in self.brokers:
            broker.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        self.close()
