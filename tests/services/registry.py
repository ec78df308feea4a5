"""Apicurio Registry, by its Confluent-compatible API."""

import http.client
from typing import Final

from tests.services import downloads
from tests.services.java import JavaServer
from tradepipe.embedded.process import ChildProcess, free_port

_API: Final = "/apis/ccompat/v7"


class Registry(JavaServer):
    """A registry on 127.0.0.1, on the same port as long as it is not closed."""

    name = "registry"

    def __init__(self, *, is_optimized: bool = False) -> None:
        super().__init__(is_optimized=is_optimized)
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of the API."""
        return f"http://127.0.0.1:{self.port}{_API}"

    def prepare(self) -> None:
        """Nothing: it makes its database itself."""

    def launch(self) -> ChildProcess:
        program = downloads.registry() / "quarkus-run.jar"
        return self.run("-Xmx512m", "-jar", str(program), environment=self._environment())

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"{_API}/subjects")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _environment(self) -> dict[str, str]:
        return {
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(self.port),
            # Else it listens on port 9000 of all addresses, and a second run on the same machine cannot start.
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": "0",
            "QUARKUS_LOG_LEVEL": "WARN",
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "h2",
            # Written at once: H2 otherwise keeps a commit in memory for half a second, and a kill would lose it.
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{self.folder}/registry;WRITE_DELAY=0",
        }
