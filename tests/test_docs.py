"""The documents: what they name exists, and what they must cover is covered."""

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
from tradepipe.metrics import CATALOGUE
from tradepipe.postgres.packaged_revisions import required_revision
from tradepipe.postgres.tables import METADATA
from tradepipe.trade.model import Trade

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
UNRELEASED = CHANGELOG.split("\n## ")[1]
TOP = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
DOCUMENTS = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]

TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_changelog_names_the_schema_version_and_the_revision():
    assert f"Schema version **{current().number}**; Alembic head **`{required_revision()}`**" in UNRELEASED


def test_the_changelog_names_every_public_name():
    named = set(re.findall(r"\w+", CHANGELOG))

    assert [] == [name for name in tradepipe.__all__ if name not in named]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_target_a_document_names_is_in_the_makefile(document):
    # In code only: "make sure" is not a target of the Makefile.
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)(?=`|$| [A-Z#])", document.read_text(), re.MULTILINE))

    assert set() == named - TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_a_document_links_to_exists(document):
    linked = re.findall(r"\]\((?!\w+://)([^)#]+)", document.read_text())

    assert [] == [target for target in linked if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_benchmark_a_document_names_exists(document):
    named = re.findall(r"python -m\s+benchmarks\.(\w+)", document.read_text())

    assert [] == [name for name in named if not (ROOT / "benchmarks" / f"{name}.py").exists()]


PAGES = [Document(path) for path in sorted((ROOT / "docs").glob("*.md"))]
TESTED_BLOCKS = {
    # By tests/test_document_blocks.py.
    "command-line.md": {"sh", "toml"},
    "library.md": {"python"},
    # By tests/interop.
    "interop.md": {"python", "properties", "java"},
    # By tests/test_operating.py.
    "operating.md": {"sh", "sql", "python"},
    # By tests/testing/test_example_service.py.
    "testing.md": {"python", "toml"},
    # By hand, before a release: they take an hour.
    "measurements.md": {"sh"},
}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_of_code_in_a_page_runs_or_is_marked_as_text(page):
    assert set() == {block.language for block in page.code} - TESTED_BLOCKS.get(str(page), set()) - {"text"}


def test_the_generated_pages_are_up_to_date(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    expected = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
    actual = {page: (ROOT / "docs" / page).read_text() for page in expected}

    assert expected == actual, "out of date; run: python docs/generate.py"


def test_every_column_of_every_table_has_a_meaning():
    columns = [column for table in METADATA.sorted_tables for column in table.columns]

    assert [] == [str(column) for column in columns if not column.doc and column.name not in Trade._fields]


def test_every_metric_that_a_page_names_exists():
    known = {metric.name for metric in CATALOGUE}
    named = {
        name for page in PAGES for name in re.findall(r"\btradepipe_\w+_(?:total|seconds|records|stopped)\b", page.text)
    }

    assert len(named) > 10
    assert set() == named - known


def test_the_advice_that_the_page_of_dead_letters_shows_is_printed():
    (page,) = [page for page in PAGES if str(page) == "dead-letters.md"]
    lines = [line for block in page.blocks("text", "$ tradepipe") for line in block.splitlines()]
    advice = [line.partition(" '")[0] for line in lines if re.match("(See|Replay|Note)", line)]
    sources = "".join(path.read_text() for path in (ROOT / "src/tradepipe/cli/dlq").glob("*.py"))

    assert 4 == len(advice)
    assert [] == [each for each in advice if each not in sources]


def test_every_test_that_a_guarantee_names_exists():
    guarantees = (ROOT / "docs" / "guarantees.md").read_text().split("\n## ")[1:]
    named = [set(re.findall(r"`(test_\w+)`", guarantee)) for guarantee in guarantees]
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    assert set() == {name for name in set().union(*named) if f"def {name}(" not in sources}
    assert 10 == len(named)
    assert all(named)


def test_every_file_that_the_contributing_page_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([a-z_]+/[\w/.]+\.py)`", text))

    assert set() == {name for name in named if not any((ROOT / at / name).exists() for at in ("", "src/tradepipe"))}
    assert len(named) > 20


TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()


def test_every_message_the_troubleshooting_shows_exists_in_the_source():
    known = list(messages())
    named = [text for text in ("the registry at …", "PostgreSQL") if text in known]
    known += [each.replace("… is unavailable", f"{name} is unavailable", 1) for each in known for name in named]
    shown = re.findall(r"^### `(.+)`$", TROUBLESHOOTING, re.MULTILINE)

    assert [] == [message for message in shown if not any(message in each for each in known)]
    assert len(shown) > 40


def test_the_troubleshooting_explains_every_error():
    classes = inspect.getmembers(errors, lambda found: inspect.isclass(found) and found.__module__ == errors.__name__)

    assert [] == [name for name, _ in classes if name != "TradepipeError" and f"`{name}`" not in TROUBLESHOOTING]


def test_the_drawing_names_topics_tables_and_directories_that_exist():
    words = set(re.findall(r'class="code\b[^>]*>([^<]+)<', (ROOT / "docs" / "architecture.svg").read_text()))

    assert {TOPIC, CLEAN, DEAD_LETTERS} <= words
    assert {"trades", "trade_refusals", "sink_offsets", "current_trades"} <= words
    assert all((ROOT / word).is_dir() for word in words if "/" in word)
