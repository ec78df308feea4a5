"""Kafka and PostgreSQL that ask who is there."""

from collections.abc import Mapping

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from tests.parts.certificates import Authority
from tests.parts.kafka import Kafka
from tradepipe.embedded.ports import free_port


class LockedKafka(Kafka):
    """
    A broker with three doors: SASL over TLS, TLS with the client's certificate, and an open one.

    Who comes by the open one may do everything; it is there for the test
    itself. Everybody else may do what `allow` says.

    Args:
        authority: who signs the broker's certificate and those of its clients;
            the name of a client is its certificate's common name.

        users: the passwords of those who come by SCRAM-SHA-512.
    """

    def __init__(self, authority: Authority, *, users: Mapping[str, str]) -> None:
        self._sasl, self._tls = free_port(), free_port()
        super().__init__(properties=self._locks(authority), users=users)
        self._further += "\n" + self._doors()

    @property
    def sasl(self) -> str:
        """The door for `security.protocol=SASL_SSL` and `sasl.mechanism=SCRAM-SHA-512`."""
        return f"127.0.0.1:{self._sasl}"

    @property
    def tls(self) -> str:
        """The door for `security.protocol=SSL` with the client's own certificate."""
        return f"127.0.0.1:{self._tls}"

    def allow(self, user: str, operation: str, kind: str, name: str) -> None:
        """Allow a user an operation on a resource, such as "READ" on the "GROUP" named so."""
        rule = AclBinding(
            ResourceType[kind],
            name,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        admin = self._admin()
        admin.create_acls([rule])[rule].result(timeout=30)

    def _doors(self) -> str:
        doors = {"PLAINTEXT": self.port, "SASL_SSL": self._sasl, "SSL": self._tls}
        listeners = ",".join(f"{door}://127.0.0.1:{port}" for door, port in doors.items())
        return f"listeners={listeners},CONTROLLER://127.0.0.1:{self._controller}\nadvertised.listeners={listeners}"

    @staticmethod
    def _locks(authority: Authority) -> dict[str, str]:
        return {
            # Named one by one as soon as any is not called as its protocol: CONTROLLER is not.
            "listener.security.protocol.map": ("CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL"),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(authority.server().both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority.file),
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
