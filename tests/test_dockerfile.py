"""The Dockerfile and the lock files: rules of the linter, and rules of this project."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.wheel import SOURCES

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def instruction(name: str) -> str:
    """Return the last instruction of a name, which is the one of the final image."""
    return [text for found, text in INSTRUCTIONS if found == name][-1]


def test_the_linter_finds_nothing():
    linted = subprocess.run(
        [PROGRAMS / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (linted.returncode, linted.stdout)


def test_the_stages_with_python_are_from_one_image_of_one_minor_version():
    """Of one image, since a venv points at the Python it was made with."""
    core, *images = [text.partition(" ")[0] for name, text in INSTRUCTIONS if name == "FROM"]

    assert 1 == len(set(images))
    assert (found := re.fullmatch(r"python:3\.\d+-slim-(\w+)", images[0]))
    assert re.fullmatch(rf"rust:1-slim-{found[1]}", core), "its libc must not be newer than that of the final image"


def test_it_runs_as_a_numbered_user_that_is_not_root():
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instruction("USER"))


def test_signals_reach_the_command():
    """A shell between them would keep SIGTERM to itself."""
    assert ["tradepipe"] == json.loads(instruction("ENTRYPOINT"))
    assert "SIGTERM" == instruction("STOPSIGNAL")


def test_the_version_of_python_is_one_the_package_supports(pytestconfig):
    wanted = re.search(r'^requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert int(re.search(r"python:3\.(\d+)", instruction("FROM"))[1]) >= int(wanted[1])


def test_the_build_gets_the_sources_of_the_wheel_and_the_lock_files_only():
    """The tests of the wheel build it from these sources alone."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert {*SOURCES, "requirements"} == {line[1:] for line in lines if line.startswith("!")}


def test_dependencies_are_installed_before_the_sources_are_copied():
    """So that a change of the sources does not install them again."""
    text = (ROOT / "Dockerfile").read_text()

    assert text.index("--require-hashes --requirement requirements/image.txt") < text.index("COPY . .")


def test_the_final_image_has_no_pip_in_its_environment():
    assert "venv --without-pip" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ["image", "build"])
def test_every_pinned_package_has_hashes(name):
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements" / f"{name}.txt").read_text().strip())

    assert [] == [entry for entry in entries if not re.match(r"[\w.-]+==\S+( ;.*)? \\\n", entry)]
    assert [] == [entry for entry in entries if "--hash=sha256:" not in entry]


def test_the_pinned_packages_are_those_that_the_package_needs():
    """`make lock` writes them; a new dependency, or a higher bound, needs it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements" / "image.txt").read_text(), re.MULTILINE))
    pins |= dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements" / "build.txt").read_text(), re.MULTILINE))
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]

    for requirement in map(Requirement, needed):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
