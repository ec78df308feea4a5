"""What the documents name exists, and what they must name they name."""

import inspect
import re
import runpy
from pathlib import Path

import pytest

import tradepipe
from tests.markdown import Document
from tests.messages import messages
from tradepipe import errors
from tradepipe.cli.options import TOPIC
from tradepipe.cli.validate import CLEAN, DEAD_LETTERS
from tradepipe.evolution.history import current
from tradepipe.postgres.revision import required_revision

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
UNRELEASED = CHANGELOG.split("\n## ")[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

VERBS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_changelog_names_the_schema_version_and_the_revision():
    assert f"Schema version **{current().number}**; Alembic head **`{required_revision()}`**" in UNRELEASED


def test_the_changelog_names_every_public_name():
    named = set(re.findall(r"\w+", CHANGELOG))

    assert [] == [name for name in tradepipe.__all__ if name not in named]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_verb_a_document_names_is_in_the_makefile(document):
    # As code only: prose may make something too.
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)(?=`|$| [A-Z#])", document.read_text(), re.MULTILINE))

    assert set() == named - VERBS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_a_document_links_to_is_there(document):
    linked = re.findall(r"\]\((?!\w+://)([^)#]+)", document.read_text())

    assert [] == [target for target in linked if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_benchmark_a_document_names_is_there(document):
    named = re.findall(r"python -m\s+benchmarks\.(\w+)", document.read_text())

    assert [] == [name for name in named if not (ROOT / "benchmarks" / f"{name}.py").exists()]


PAGES = [Document(path) for path in sorted((ROOT / "docs").glob("*.md"))]
RUN = {
    # By tests/test_readme.py.
    "command-line.md": {"sh"},
    "library.md": {"python"},
    # By tests/interop.
    "interop.md": {"python", "properties", "java"},
    # By tests/test_operating.py.
    "operating.md": {"sh", "sql", "python"},
    # By tests/testing/test_example_service.py.
    "testing.md": {"python", "toml"},
    # Before a release, by hand: an hour's work.
    "measurements.md": {"sh"},
}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_of_code_in_a_page_runs_or_is_marked_as_text(page):
    assert set() == {block.language for block in page.code} - RUN.get(str(page), set()) - {"text"}


def test_the_pages_made_from_the_code_are_as_the_code_is():
    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    written = {page: (ROOT / "docs" / page).read_text() for page in made}

    assert made == written, "out of date; run: python docs/generate.py"


TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text()


def test_every_message_the_troubleshooting_shows_is_one_of_ours():
    ours = list(messages())
    shown = re.findall(r"^### `(.+)`$", TROUBLES, re.MULTILINE)

    assert [] == [message for message in shown if not any(message in told for told in ours)]
    assert len(shown) > 40


def test_the_troubleshooting_tells_of_every_error():
    classes = inspect.getmembers(errors, lambda found: inspect.isclass(found) and found.__module__ == errors.__name__)

    assert [] == [name for name, _ in classes if name != "TradepipeError" and f"`{name}`" not in TROUBLES]


def test_the_drawing_shows_what_there_is():
    """Its words, where they are names, are names of tables, commands and folders."""
    words = set(re.findall(r'class="code\b[^>]*>([^<]+)<', (ROOT / "docs" / "architecture.svg").read_text()))

    assert {TOPIC, CLEAN, DEAD_LETTERS} <= words
    assert {"trades", "trade_refusals", "sink_offsets", "current_trades"} <= words
    assert all((ROOT / word).is_dir() for word in words if "/" in word)
