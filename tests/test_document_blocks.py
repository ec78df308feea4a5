"""The blocks that users copy from README and pages run, in order and twice, with the wheel in a clean environment."""

import json
import os
import re
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.markdown import Document

README = Document(Path("README.md"))
LIBRARY = Document(Path("docs/library.md"))
COMMAND_LINE = Document(Path("docs/command-line.md"))

KAFKA = '{"bootstrap.servers": "localhost:9092"}'
REGISTRY = "http://localhost:8081"
DATABASE = "postgresql://localhost/trades"
"""The addresses that the pages show."""


class Installed(NamedTuple):
    """
    The installed wheel, and services to use it on.

    `topic` takes the place of `trades` in the blocks: real services are shared with other tests.
    """

    python: Path
    folder: Path
    env: dict[str, str]
    topic: str = "trades"

    def run_shell(self, block: str, *, strict: bool) -> str:
        """Run a block without its exports; return its output. A strict one may contain no command that fails."""
        block = re.sub(r"^export .*\n", "", block, flags=re.MULTILINE)
        block = re.sub(r"\btrades(?=[ .\n])(?!\.csv)", self.topic, block)
        return self._run("bash", "-euc" if strict else "-uc", block)

    def run_python(self, block: str) -> str:
        """Run a block of Python; return its output."""
        names = (name_value.split("=", 1) for name_value in self.env["TRADEPIPE_KAFKA_PROPERTIES"].split())
        kafka = {"bootstrap.servers": self.env["KAFKA_BOOTSTRAP_SERVERS"], **dict(names)}
        for shown, real in {
            KAFKA: json.dumps(kafka),
            REGISTRY: self.env["SCHEMA_REGISTRY_URL"],
            DATABASE: self.env["DATABASE_URL"],
            'topic="trades"': f'topic="{self.topic}"',
        }.items():
            block = block.replace(shown, real)
        assert "localhost" not in block
        return self._run(self.python, "-W", "error", "-c", block)

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.env, "PATH": f"{self.python.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=350,
            check=False,
        )
        said = done.stdout + done.stderr
        assert 0 == done.returncode, f"{command[-1]}\n{said}"
        assert "Error:" not in said, f"{command[-1]}\n{said}"
        return said


@pytest.fixture
def installed(request, services, elsewhere, tmp_path) -> Iterator[Installed]:
    """
    The wheel on services of the run's kind.

    The embedded services are those that `tradepipe embedded` starts, and are used as it says.
    """
    if not services.is_real:
        with started(elsewhere) as env:
            yield Installed(elsewhere, tmp_path, env)
        return
    topic = f"trades-{uuid.uuid4().hex}"
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": services.bootstrap_servers,
        "SCHEMA_REGISTRY_URL": services.registry_url,
        "DATABASE_URL": request.getfixturevalue("database"),
        "TRADEPIPE_KAFKA_PROPERTIES": "",
        "TRADEPIPE_TOPIC": topic,
        "TRADEPIPE_SINK_TOPIC": topic,
    }
    yield Installed(elsewhere, tmp_path, env, topic)


@contextmanager
def started(python: Path) -> Iterator[dict[str, str]]:
    """Run `tradepipe embedded`; yield the variables that it prints."""
    command = [python.parent / "tradepipe", "embedded"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            exports = [shlex.split(process.stdout.readline()) for _ in range(5)]
            yield dict(export[1].split("=", 1) for export in exports)
        finally:
            process.terminate()
            process.wait(200)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_block_runs_in_order_and_twice(installed):
    (commands,) = README.blocks("sh", "tradepipe migrate")
    # The second validator also passes the trades of the first turn's examples, which are duplicates.
    for stored in (r"^970 stored, 10 duplicates", r"^970 stored, 1\d duplicates"):
        said = installed.run_shell(commands, strict=True)
        assert re.search(stored, said, re.MULTILINE)
        assert re.search(r"^VERSION +\d", said, re.MULTILINE)
        for example in README.blocks("python") + LIBRARY.blocks("python"):
            installed.run_python(example)
        for example in COMMAND_LINE.blocks("sh"):
            installed.run_shell(example, strict=False)  # produce exits with 1: it skips a line


def test_the_shown_addresses_are_in_the_documents():
    shown = README.text + LIBRARY.text

    assert [] == [address for address in (KAFKA, REGISTRY, DATABASE) if address not in shown]
