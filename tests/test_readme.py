"""README and the pages it links to first: the demo's output, the code and the names of tests are real."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.markdown import Document
from tradepipe import SchemaRegistry
from tradepipe.postgres import migrate
from tradepipe.registry.registration import register

DOCUMENT = Document(Path("README.md"))
README = DOCUMENT.text
COMMAND_LINE = Document(Path("docs/command-line.md"))


def normalize(text: str) -> str:
    """
    Replace times and example refusals, which differ from run to run.

    Which record of a code is refused first depends on which partition is read first: its example may take two lines.
    """
    text = re.sub(r"^( *)\d+\.\d s", r"\1… s", text, flags=re.MULTILINE)
    return re.sub(r"^([A-Z_]+ +\d+)  .*(?:\n {20,}.*)*", r"\1", text, flags=re.MULTILINE)


def without_indents(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows():
    """A line … in the README omits some of the output."""
    run = subprocess.run(
        [sys.executable, "-m", "tradepipe.demo"], capture_output=True, text=True, timeout=250, check=True
    )
    (block,) = DOCUMENT.blocks("text", "Produced")

    printed = "\n".join(without_indents(normalize(run.stdout)))
    excerpts = ["\n".join(without_indents(normalize(excerpt))) for excerpt in block.strip().split("\n…\n")]
    assert [] == [excerpt for excerpt in excerpts if excerpt not in printed]
    assert 14 == len(re.findall(r"^[A-Z_]+ +\d+$", printed, re.MULTILINE))


@pytest.fixture
def shell(tmp_path):
    """Runs a script in an empty directory, with the program `tradepipe` on the path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", script],
            env={**os.environ, **environment, "PATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )

    return run


@pytest.mark.slow
def test_a_file_with_other_headers_is_stored_and_its_bad_line_is_reported(services, database, topic, subject, shell):
    (script,) = COMMAND_LINE.blocks("sh", "fills.csv")
    (expected,) = COMMAND_LINE.blocks("text", "fills.csv:4")
    migrate.upgrade(database)
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, subject)

    run = shell(
        f"set +e; {script}",  # produce exits with 1: it skipped a line
        KAFKA_BOOTSTRAP_SERVERS=services.bootstrap_servers,
        SCHEMA_REGISTRY_URL=services.registry_url,
        DATABASE_URL=database,
        TRADEPIPE_TOPIC=topic,
        TRADEPIPE_SINK_TOPIC=topic,
        TRADEPIPE_SUBJECT=subject,
    )

    assert [] == [line for line in expected.splitlines() if line not in run.stdout + run.stderr]


def test_every_file_the_readme_names_exists():
    linked = re.findall(r"\]\(([^)#:]+)\)", README)

    assert [] == [link for link in linked if not Path(link).exists()]


def test_the_readme_has_a_line_for_every_document():
    documents = sorted(str(path) for path in Path("docs").glob("*.md"))

    assert [] == [path for path in documents if f"]({path}) |" not in README]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150
