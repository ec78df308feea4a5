"""Embedded services for the tests."""

import confluent_kafka

from tests.services import CANARY
from tests.services.postgres import QuickLogin
from tradepipe.embedded.broker import QUICK_CONSUMER
from tradepipe.embedded.postgres import Binaries
from tradepipe.embedded.stack import LocalStack
from tradepipe.kafka.admin import TopicAdmin


class EmbeddedServices(LocalStack):
    """The stack that ships in the package."""

    is_real = False
    client_settings = QUICK_CONSUMER

    def __init__(self) -> None:
        super().__init__()
        self.postgres = QuickLogin(password=CANARY)

    @property
    def postgres_url(self) -> str:
        return self.database_url

    def delete_topic(self, name: str) -> None:
        self.broker.delete_topic(name)

    def delete_records(self, name: str) -> None:
        topics = TopicAdmin({"bootstrap.servers": self.bootstrap_servers})
        for partition, extent in topics.watermarks(name, topics.describe(name).partitions).items():
            self.broker.delete_records(name, partition, before=extent.high)

    def versions(self) -> str:
        postgres = Binaries.find().version
        return f"librdkafka's mock broker {confluent_kafka.libversion()[0]}, own registry, PostgreSQL {postgres}"
