"""The wheel, built from what is checked out, and an environment that has nothing of ours but the wheel."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src", "schemas", "migrations")
SHIPPED_AS = {"src/tradepipe": "tradepipe", "schemas": "tradepipe/schemas", "migrations": "tradepipe/migrations"}
LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.fixture(scope="session")
def sources(pytestconfig, tmp_path_factory) -> Path:
    """A copy of what is built: setuptools leaves its traces beside the sources, and takes files from them."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        original = pytestconfig.rootpath / name
        if original.is_dir():
            shutil.copytree(original, copy / name, ignore=LEFTOVERS)
        else:
            shutil.copy(original, copy / name)
    return copy


@pytest.fixture(scope="session")
def wheel(sources, tmp_path_factory) -> Path:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, sources, cwd=sources)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def elsewhere(wheel, tmp_path_factory) -> Path:
    """
    The Python of an environment that has the wheel and, of this one, only the dependencies.

    A `.pth` adds this environment's packages; the `.pth` files among them,
    and so the editable install, are not read from there.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(*command: object, cwd: Path) -> str:
    """What a command prints; fails with all it said."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} said: {done.stdout}{done.stderr}"
    return done.stdout.strip()
