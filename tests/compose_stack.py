"""The services of docker-compose.yml without Docker: the same environment for the same programs."""

import http.client
import re
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from tests.services import downloads
from tests.services.java import JavaServer
from tests.services.kafka import saved_classes
from tradepipe.embedded.process import ChildProcess, free_port

FILE: Final = Path(__file__).parents[1] / "docker-compose.yml"


@cache
def compose_services() -> dict[str, Any]:
    """The file's services, with anchors, merges and the defaults of variables resolved."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", FILE.read_text())
    return YAML(typ="safe").load(text)["services"]


def environment(service: str) -> dict[str, str]:
    """A service's own environment."""
    return {name: str(value) for name, value in compose_services()[service].get("environment", {}).items()}


class StandIns:
    """Replaces the file's addresses and folders by those of this machine, in the order given."""

    def __init__(self, shown: Mapping[str, object]) -> None:
        self._shown = shown

    def __call__(self, text: str) -> str:
        for shown, real in self._shown.items():
            text = text.replace(shown, str(real))
        return text.replace("$$", "$")


class ComposedKafka(JavaServer):
    """The service `kafka`: its environment is made a configuration by the very program the image does it with."""

    name = "kafka"

    def __init__(self) -> None:
        super().__init__()
        self.for_containers, self.for_machine, self._controller = (free_port() for _ in range(3))

    @property
    def stand_ins(self) -> dict[str, object]:
        return {
            "kafka:19092": f"127.0.0.1:{self.for_containers}",
            ":19092": f"127.0.0.1:{self.for_containers}",
            "localhost:9092": f"127.0.0.1:{self.for_machine}",
            ":9092": f"127.0.0.1:{self.for_machine}",
            ":9093": f":{self._controller}",
        }

    def prepare(self) -> None:
        for folder in ("default", "mounted", "final"):
            (self.folder / folder).mkdir()
        folders = [f"--{folder}-configs-dir={self.folder / folder}" for folder in ("default", "mounted", "final")]
        here = StandIns({**self.stand_ins, "/var/lib/kafka/data": self.folder / "data"})
        given = {name: here(value) for name, value in environment("kafka").items()}
        made = self._java("kafka.docker.KafkaDockerWrapper", "setup", *folders, environment=given | _CLUSTER)
        made.wait()
        if made.exit_code:
            raise RuntimeError(f"Kafka's configuration was not made: {made.output}")

    def launch(self) -> ChildProcess:
        return self._java(*saved_classes(), "kafka.Kafka", str(self.folder / "final" / "server.properties"))

    def is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.for_machine)) == 0

    def _java(self, *arguments: str, environment: dict[str, str] | None = None) -> ChildProcess:
        return self.run("-Xmx512m", "-cp", f"{downloads.kafka()}/*", *arguments, environment=environment)


_CLUSTER: Final = {"CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw"}
"""The image has a default for a missing one."""


class ComposedRegistry(JavaServer):
    """The service `registry`, with its schemas in a Kafka."""

    name = "registry"

    def __init__(self, kafka: ComposedKafka) -> None:
        super().__init__()
        self.port = free_port()
        self._kafka = kafka

    @property
    def stand_ins(self) -> dict[str, object]:
        return {"registry:8080": f"127.0.0.1:{self.port}", "127.0.0.1/8080": f"127.0.0.1/{self.port}"}

    def prepare(self) -> None:
        """Nothing: it keeps nothing itself."""

    def launch(self) -> ChildProcess:
        here = StandIns(self._kafka.stand_ins)
        given = {name: here(value) for name, value in environment("registry").items()}
        given |= {"QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(self.port)}
        given |= {"QUARKUS_MANAGEMENT_PORT": str(free_port())}
        program = downloads.registry() / "quarkus-run.jar"
        return self.run("-Xmx512m", "-jar", str(program), environment=given)

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/apis/ccompat/v7/subjects")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
