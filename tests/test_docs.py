"""What the documents name exists, and what they must name they name."""

import re
from pathlib import Path

import pytest

import tradepipe
from tradepipe.contract.history import current
from tradepipe.postgres.revision import head

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
UNRELEASED = CHANGELOG.split("\n## ")[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

VERBS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_changelog_names_the_schema_version_and_the_revision():
    assert f"Schema version **{current().number}**; Alembic head **`{head()}`**" in UNRELEASED


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
