"""The wheel, built from what is checked out, and an environment that has nothing of ours but the wheel."""

import fcntl
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCES = ("pyproject.toml", "setup.cfg", "README.md", "LICENSE", "src", "schemas", "migrations", "native")
SOURCES_OF_SDIST = (*SOURCES, "MANIFEST.in", ".cargo")
SHIPPED_AS = {"src/tradepipe": "tradepipe", "schemas": "tradepipe/schemas", "migrations": "tradepipe/migrations"}
LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so", "target")


@pytest.fixture(scope="session")
def sources(pytestconfig, tmp_path_factory) -> Path:
    """A copy of what is built: setuptools leaves its traces beside the sources, and takes files from them."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES_OF_SDIST:
        original = pytestconfig.rootpath / name
        if original.is_dir():
            shutil.copytree(original, copy / name, ignore=LEFTOVERS)
        else:
            shutil.copy(original, copy / name)
    return copy


@pytest.fixture(scope="session")
def wheel(sources, tmp_path_factory) -> Path:
    """The wheel, built without a network; with the compiled core if this environment has it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, sources, cwd=sources)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def sdist(sources, tmp_path_factory) -> Path:
    """The source distribution, from which `python -m build` builds the wheel."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, sources, cwd=sources)
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="session")
def elsewhere(request, tmp_path_factory, worker_id) -> Path:
    """
    The Python of an environment that has the wheel and, of this one, only the dependencies.

    A `.pth` adds this environment's packages; the `.pth` files among them,
    and so the editable install, are not read from there. All processes of a run
    share it: the first one that needs it makes it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "elsewhere"
    python = folder / "bin" / "python"
    with exclusively(python):
        if not (folder / "complete").exists():
            _install(request.getfixturevalue("wheel"), folder, python)
    return python


@contextmanager
def exclusively(python: Path) -> Iterator[None]:
    """Let one process of the run at a time change the environment of a Python."""
    with python.parents[1].with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(wheel: Path, folder: Path, python: Path) -> None:
    venv.create(folder, with_pip=False)
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "complete").touch()


def run(*command: object, cwd: Path) -> str:
    """Return what a command prints; fail with all its output."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} said: {done.stdout}{done.stderr}"
    return done.stdout.strip()
