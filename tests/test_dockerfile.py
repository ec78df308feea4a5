"""The Dockerfile: by the linter's rules and by ours; and what reaches the image's build is enough for it."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.wheel import SOURCES

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def instruction(name: str) -> str:
    """The last one of a name: the one that holds for the image."""
    return [text for found, text in INSTRUCTIONS if found == name][-1]


def test_the_linter_finds_nothing():
    linted = subprocess.run(
        [PROGRAMS / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (linted.returncode, linted.stdout)


def test_both_stages_are_from_one_image_of_one_minor_version():
    """Of one image, since a venv points at the Python it was made with."""
    images = {text.partition(" ")[0] for name, text in INSTRUCTIONS if name == "FROM"}

    assert 1 == len(images)
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", images.pop())


def test_it_runs_as_a_numbered_user_that_is_not_root():
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instruction("USER"))


def test_signals_reach_the_command():
    """A shell between them would keep SIGTERM to itself."""
    assert ["tradepipe"] == json.loads(instruction("ENTRYPOINT"))
    assert "SIGTERM" == instruction("STOPSIGNAL")


def test_the_version_of_python_is_one_the_package_supports(pytestconfig):
    wanted = re.search(r'^requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert int(re.search(r"python:3\.(\d+)", instruction("FROM"))[1]) >= int(wanted[1])


def test_what_reaches_the_build_is_what_the_wheel_is_built_from():
    """The wheel's own tests build it from these, and from nothing else."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert set(SOURCES) == {line[1:] for line in lines if line.startswith("!")}
