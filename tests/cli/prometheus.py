"""A Prometheus server that a test starts."""

import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cli.scrape import get
from tests.eventually import eventually
from tradepipe.embedded.process import free_port

_CONFIGURATION: Final = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: tradepipe
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


def program(name: str) -> str:
    """The path of one of Prometheus' programs."""
    found = shutil.which(name)
    assert found is not None, f"there is no {name}: install Debian's package prometheus"
    return found


class Prometheus:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, query: str) -> float | None:
        """The value of a query that has one sample, or None."""
        status, answer = get(self._port, f"/api/v1/query?query={urllib.parse.quote(query)}")
        assert 200 == status, answer
        result = json.loads(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else None


@contextmanager
def scraping(port: int, folder: Path) -> Iterator[Prometheus]:
    """A server that scrapes a port of this machine every second."""
    own = free_port()
    (folder / "prometheus.yml").write_text(_CONFIGURATION.format(port=port))
    command = [
        program("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{own}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            eventually(lambda: _is_ready(own))
            yield Prometheus(own)
        finally:
            process.kill()


def _is_ready(port: int) -> bool:
    try:
        return get(port, "/-/ready")[0] == 200
    except OSError:
        return False
