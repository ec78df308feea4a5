"""An example service that uses only what the wheel of tradepipe contains."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import tests
import tradepipe
import tradepipe.testing
from tests.markdown import Document
from tests.wheel import LEFTOVERS, exclusively, run

pytestmark = [
    pytest.mark.embedded,  # the kit starts its own services in every run
    pytest.mark.timeout(900),  # a busy machine builds and installs the wheel in minutes
]

EXAMPLE = Path(__file__).parent / "example_service"


class Service(NamedTuple):
    """An environment that has the service and tradepipe, and a folder with the service's sources and tests."""

    python: Path
    folder: Path

    def pytest(self, *options: str) -> tuple[int, str]:
        """The exit code of the service's own tests, and what they said."""
        command = [self.python, "-m", "pytest", "-p", "no:cacheprovider", *options]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=600)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def service(elsewhere, tmp_path_factory):
    folder = copy(tmp_path_factory.mktemp("service"))
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    with exclusively(elsewhere):
        if not list(elsewhere.parents[1].glob("lib/python*/site-packages/booking")):
            run(sys.executable, "-m", "pip", "--python", elsewhere, "install", *options, folder, cwd=folder)
    return Service(elsewhere, folder)


def copy(target: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, target / "booking", ignore=LEFTOVERS))


@pytest.mark.slow
def test_service_and_library_are_installed_as_a_user_would(service):
    program = "import booking, tradepipe.testing; print(booking.__file__, tradepipe.testing.__file__)"

    places = run(service.python, "-c", program, cwd=service.folder).split()

    assert [] == [place for place in places if not Path(place).is_relative_to(service.python.parents[1])]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["first", "second"])
def test_the_tests_of_the_service_pass(service, run):
    code, said = service.pytest()

    assert 0 == code, said
    assert "8 passed" in said
    assert "skipped" not in said


def test_the_service_knows_public_names_only():
    allowed = {"tradepipe": tradepipe.__all__, "tradepipe.testing": tradepipe.testing.__all__}
    trees = [ast.parse(path.read_text()) for path in EXAMPLE.rglob("*.py")]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]

    ours = [node for node in imports if node.module.partition(".")[0] == "tradepipe"]

    assert len(ours) > 4
    assert [] == [alias.name for node in ours for alias in node.names if alias.name not in allowed[node.module]]


def test_what_the_documentation_shows_is_the_service():
    files = [path.read_text() for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml")]
    page = Document(Path(tests.__file__).parents[1] / "docs" / "testing.md")
    shown = page.blocks("python") + page.blocks("toml")

    assert 9 == len(shown)
    assert [] == [block for block in shown if not any(block in file for file in files)]


def test_the_documentation_names_every_fixture():
    page = Document(Path(tests.__file__).parents[1] / "docs" / "testing.md")

    assert [] == [name for name in tradepipe.testing.__all__ if name[0].islower() and f"`{name}`" not in page.text]


BROKEN = {
    "versions counted from zero": (
        ("fills.py", '.get("amendment", 0) + 1', '.get("amendment", 0)'),
        ["test_fills_and_their_amendments_are_sent", "VERSION: version is 0, which is less than 1"],
    ),
    "a field that no version has": (
        ("maturities.py", '"book_id", "type": "string"}', '"book_id", "type": "string"}, {"name": "d", "type": "int"}'),
        [
            "test_our_schema_reads_every_version",
            "not BACKWARD_TRANSITIVE compatible",
            "at Trade.d: no field -> int without a default",
        ],
    ),
    "the writer's schema ignored": (
        ("maturities.py", "parse_schema(json.loads(writer)), SCHEMA", "SCHEMA"),
        ["test_our_reader_reads_every_version", "frozen records are not read as they should", "version 1: "],
    ),
}


@pytest.mark.slow
def test_a_broken_service_gets_a_clear_error(service, tmp_path):
    folder = copy(tmp_path)
    for (name, right, wrong), _ in BROKEN.values():
        source = folder / "src" / "booking" / name
        assert right in source.read_text()
        source.write_text(source.read_text().replace(right, wrong))

    code, said = Service(service.python, folder).pytest("-o", "pythonpath=src", "--tb=short")

    assert 1 == code, said
    report = " ".join(said.split())
    assert {} == {what: text for what, (_, texts) in BROKEN.items() for text in texts if text not in report}, said
