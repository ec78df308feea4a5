"""The wheel holds all it needs, and works where nothing but the wheel is."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tradepipe.postgres.revision import head

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


def test_the_wheel_holds_every_file_of_the_package(sources, wheel):
    """Packages and data files are listed in pyproject.toml by hand: one that is forgotten shows here."""
    expected = {
        f"{shipped}/{file.relative_to(sources / folder).as_posix()}"
        for folder, shipped in SHIPPED_AS.items()
        for file in (sources / folder).rglob("*")
        if file.is_file()
    }

    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tradepipe/")}

    assert expected == names


@pytest.mark.parametrize(
    "name",
    [
        "tradepipe/py.typed",
        "tradepipe/schemas/trade/v001.avsc",
        "tradepipe/migrations/env.py",
        "tradepipe/migrations/script.py.mako",
        f"tradepipe/migrations/versions/{head()}.py",
    ],
)
def test_the_wheel_holds_what_is_not_code(wheel, name):
    assert name in zipfile.ZipFile(wheel).namelist()


def test_the_package_is_imported_from_the_wheel(elsewhere):
    found = run(elsewhere, "-c", "import tradepipe; print(tradepipe.__file__)", cwd=elsewhere.parent)

    assert Path(found).is_relative_to(elsewhere.parent.parent)


def test_the_schemas_are_found_in_the_wheel(elsewhere):
    program = (
        "from importlib.resources import files\n"
        "print(files('tradepipe.schemas.trade').joinpath('v001.avsc').read_text()[:1])"
    )

    assert "{" == run(elsewhere, "-c", program, cwd=elsewhere.parent)


def test_a_database_is_migrated_from_the_wheel(elsewhere, database):
    program = "import sys; from tradepipe.postgres import migrate; print(migrate.upgrade(sys.argv[1]).after)"

    assert head() == run(elsewhere, "-c", program, database, cwd=elsewhere.parent)
