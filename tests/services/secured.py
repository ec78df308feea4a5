"""Kafka and PostgreSQL that ask who is there."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from psycopg2 import sql

from tests.services.certificates import Authority
from tests.services.kafka import Kafka
from tests.services.postgres import Postgres
from tradepipe.embedded.process import free_port


class LockedKafka(Kafka):
    """
    A broker with three listeners: SASL over TLS, TLS with the client's certificate, and plain text.

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
        self._further += "\n" + self._listeners()

    @property
    def sasl(self) -> str:
        """The listener for `security.protocol=SASL_SSL` and `sasl.mechanism=SCRAM-SHA-512`."""
        return f"127.0.0.1:{self._sasl}"

    @property
    def tls(self) -> str:
        """The listener for `security.protocol=SSL` with the client's certificate."""
        return f"127.0.0.1:{self._tls}"

    def allow(self, user: str, operation: str, kind: str, name: str) -> None:
        """Allow a user an operation on a resource, such as "READ" on the "GROUP" named so, or on all by "*"."""
        rule = AclBinding(*_rule(user, operation, kind, name))
        admin = self._admin()
        admin.create_acls([rule])[rule].result(timeout=120)

    def forbid(self, user: str, operation: str, kind: str, name: str) -> None:
        """Take back what was allowed in these words."""
        rule = AclBindingFilter(*_rule(user, operation, kind, name))
        admin = self._admin()
        assert admin.delete_acls([rule])[rule].result(timeout=120), "nothing was allowed so"

    def _listeners(self) -> str:
        ports = {"PLAINTEXT": self.port, "SASL_SSL": self._sasl, "SSL": self._tls}
        listeners = ",".join(f"{listener}://127.0.0.1:{port}" for listener, port in ports.items())
        return f"listeners={listeners},CONTROLLER://127.0.0.1:{self.controller_port}\nadvertised.listeners={listeners}"

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


def _rule(user: str, operation: str, kind: str, name: str) -> tuple[Any, ...]:
    resource = (ResourceType[kind], name, ResourcePatternType.LITERAL)
    return *resource, f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW


_AUTHENTICATION: Final = """
host all postgres 127.0.0.1/32 trust
hostssl all certified 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 scram-sha-256
"""


class LockedPostgres(Postgres):
    """
    A server that takes TLS and passwords only, from all but `postgres` itself.

    Args:
        authority: who signs its certificate, and that of the user `certified`.

        users: the users and their passwords.
    """

    def __init__(self, authority: Authority, *, users: Mapping[str, str]) -> None:
        files = {"ssl_cert_file": "server.pem", "ssl_key_file": "key.pem", "ssl_ca_file": "ca.pem"}
        super().__init__(settings={"ssl": "on", **files})
        self._authority = authority
        self._users = {"certified": None, **users}

    def create_database(self, name: str, *, user: str | None = None, password: str | None = None) -> str:
        """The URL by which a user reaches a new, empty database of his own; TLS is the caller's to ask for."""
        url = urlsplit(super().create_database(name))
        if user is None:
            return url.geturl()
        self._administer(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(user)))
        who = user if password is None else f"{user}:{quote(password, safe='')}"
        return url._replace(netloc=f"{who}@{url.netloc.rpartition('@')[2]}").geturl()

    def start(self) -> Self:
        if self._folder is None:
            super().start()
            for user, password in self._users.items():
                role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), sql.Literal(password))
                self._administer(role)
        return super().start()

    def _prepare(self) -> Path:
        is_new = self._folder is None
        folder = super()._prepare()
        if is_new:
            self._lock(folder / "data")
        return folder

    def _lock(self, data: Path) -> None:
        server = self._authority.server()
        (data / "pg_hba.conf").write_text(_AUTHENTICATION)
        for source, name in (
            (server.certificate, "server.pem"),
            (server.key, "key.pem"),
            (self._authority.file, "ca.pem"),
        ):
            shutil.copyfile(source, data / name)
            (data / name).chmod(0o600)
            if self._user is not None:
                os.chown(data / name, *self._user)
