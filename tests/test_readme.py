"""What README says is, and the pages it begins with: output is the demo's, code runs, tests exist."""

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
LIBRARY = Document(Path("docs/library.md"))


def without_chance(text: str) -> tuple[list[str], dict[str, str]]:
    """
    A demo's output without its times, and its table of refusals by code.

    Which record of a code comes first, and stands as the example, is a matter of
    which partition was stored first.
    """
    before, table, after = re.split(r"\nRefused as.*\n|\n\n(?=[\d,]+ trades have)", text.strip())
    lines = [re.sub(r"\d+\.\d s", "… s", line).strip() for line in (before + after).splitlines()]
    return lines, dict(re.findall(r"^([A-Z_]+) +(\d+)  ", table, re.MULTILINE))


def test_the_demo_prints_what_the_readme_shows():
    run = subprocess.run(
        [sys.executable, "-m", "tradepipe.demo"], capture_output=True, text=True, timeout=120, check=True
    )

    shown, printed = without_chance(DOCUMENT.blocks("text", "Produced")[0]), without_chance(run.stdout)
    assert shown == printed
    assert 14 == len(printed[1])


@pytest.fixture
def here(services, database, topic):
    """The README's text with its addresses replaced by those of this run."""
    stand_ins = {
        "localhost:9092": services.bootstrap_servers,
        "http://localhost:8081": services.registry_url,
        "postgresql://localhost/trades": database,
        'topic="trades"': f'topic="{topic}"',
    }

    def replace(text: str) -> str:
        for shown, real in stand_ins.items():
            assert shown in README
            text = text.replace(shown, real)
        return text

    return replace


def test_the_python_examples_run(services, here, database, capsys):
    migrate.upgrade(database)
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, "trades-value")

    for example in LIBRARY.blocks("python") + DOCUMENT.blocks("python"):
        exec(compile(here(example), "an example", "exec"), {})

    assert "stored=2," in capsys.readouterr().out, "README's sink stores what each of the two has sent"


@pytest.fixture
def shell(tmp_path):
    """Runs a script as a reader would, in a folder of its own."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", script],
            env={**os.environ, **environment, "PATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.real
def test_the_commands_run(here, topic, subject, shell):
    """On the real services only: the embedded broker has no topics to administer."""
    (script,) = DOCUMENT.blocks("sh", "tradepipe.migrate")

    run = shell(re.sub(r"\btrades(?=[ .\n])", f"{topic}-new", here(script)), TRADEPIPE_SUBJECT=subject)

    assert 0 == run.returncode, run.stderr
    assert "970 stored, 10 replayed" in run.stderr + run.stdout
    assert re.search(r"^VERSION +\d", run.stdout, re.MULTILINE)


def test_a_file_with_other_headers_is_stored_and_its_bad_line_named(services, database, topic, subject, shell):
    (script,) = COMMAND_LINE.blocks("sh", "fills.csv")
    (said,) = COMMAND_LINE.blocks("text", "fills.csv:4")
    migrate.upgrade(database)
    with SchemaRegistry(services.registry_url) as registry:
        register(registry, subject)

    run = shell(
        f"set +e; {script}",  # produce ends with 1: it skipped a line
        KAFKA_BOOTSTRAP_SERVERS=services.bootstrap_servers,
        SCHEMA_REGISTRY_URL=services.registry_url,
        DATABASE_URL=database,
        TRADEPIPE_TOPIC=topic,
        TRADEPIPE_SUBJECT=subject,
    )

    assert [] == [line for line in said.splitlines() if line not in run.stdout + run.stderr]


def test_every_test_the_readme_names_exists():
    named = set(re.findall(r"`(test_\w+)`", README))
    sources = "\n".join(path.read_text() for path in Path("tests").rglob("test_*.py"))

    assert set() == {name for name in named if f"def {name}(" not in sources}
    assert len(named) > 10


def test_every_file_the_readme_names_exists():
    linked = re.findall(r"\]\(([^)#:]+)\)", README)

    assert [] == [link for link in linked if not Path(link).exists()]
