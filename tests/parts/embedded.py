"""The embedded parts, as the tests see them."""

import confluent_kafka

from tradepipe.embedded.binaries import Binaries
from tradepipe.embedded.stack import Stack


class EmbeddedParts(Stack):
    """The stack that ships in the package."""

    is_real = False
    # The mock holds a fetch for the whole wait, also when records arrive: 500 ms by default. By the classic group
    # protocol it forgets a member that left only when its session times out; by the new one at once.
    client_settings = {"fetch.wait.max.ms": 10, "group.protocol": "consumer"}  # noqa: RUF012 - nobody writes it

    @property
    def postgres_url(self) -> str:
        return self.database_url

    def versions(self) -> str:
        postgres = Binaries.find().version
        return f"librdkafka's mock broker {confluent_kafka.libversion()[0]}, own registry, PostgreSQL {postgres}"
