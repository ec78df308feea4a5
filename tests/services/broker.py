"""A running broker, as its clients see it."""

from collections.abc import Mapping

from confluent_kafka import OFFSET_END, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from tests.eventually import eventually


class Broker:
    """The topics of a broker that cannot be stopped, killed or frozen from here, because other tests use it too."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        """What clients take as `bootstrap.servers`."""

    def create_topic(
        self, name: str, *, partitions: int = 4, replicas: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic and wait until each partition's leader answers, which is later than that it has one."""
        admin = self._admin()
        topic = NewTopic(name, partitions, replicas, config=dict(config or {}))
        eventually(lambda: self._is_created(admin, topic))
        eventually(lambda: self._leaders(admin, name) == partitions)
        eventually(lambda: self._is_led(admin, name, partitions))

    @staticmethod
    def _is_created(admin: AdminClient, topic: NewTopic) -> bool:
        try:
            admin.create_topics([topic])[topic.topic].result(timeout=120)
        except KafkaException as error:
            # On a busy machine a heartbeat is late, and the controller fences the only broker for a moment.
            if error.args[0].code() != KafkaError.INVALID_REPLICATION_FACTOR:
                raise
            return False
        return True

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until it is gone."""
        admin = self._admin()
        admin.delete_topics([name])[name].result(timeout=120)
        eventually(lambda: name not in admin.list_topics(timeout=60).topics)

    def delete_records(self, name: str) -> None:
        """Drop all records of a topic, as retention would; its log begins where it ended."""
        admin = self._admin()
        partitions = admin.list_topics(name, timeout=60).topics[name].partitions
        places = [TopicPartition(name, partition, OFFSET_END) for partition in partitions]
        for answer in admin.delete_records(places).values():
            answer.result(timeout=120)

    def _admin(self, address: str | None = None) -> AdminClient:
        # 0: while it starts and stops, refused connections are no news.
        return AdminClient({"bootstrap.servers": address or self.bootstrap_servers, "log_level": 0})

    @staticmethod
    def _leaders(admin: AdminClient, name: str) -> int:
        topic = admin.list_topics(name, timeout=60).topics[name]
        return sum(partition.leader >= 0 for partition in topic.partitions.values())

    @staticmethod
    def _is_led(admin: AdminClient, name: str, partitions: int) -> bool:
        asked = admin.list_offsets({TopicPartition(name, number): OffsetSpec.latest() for number in range(partitions)})
        return not any(answer.exception(timeout=60) for answer in asked.values())
