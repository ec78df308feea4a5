"""The wheel holds all it needs, and works where nothing but the wheel is."""

import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.wheel import SHIPPED_AS, SOURCES_OF_SDIST, run
from tradepipe.postgres.packaged_revisions import required_revision

pytestmark = pytest.mark.slow


def test_the_wheel_holds_every_file_of_the_package(sources, wheel):
    """Packages and data files are listed in pyproject.toml by hand: one that is forgotten shows here."""
    expected = {
        f"{shipped}/{file.relative_to(sources / folder).as_posix()}"
        for folder, shipped in SHIPPED_AS.items()
        for file in (sources / folder).rglob("*")
        if file.is_file()
    }

    if find_spec("tradepipe._native"):
        expected.add("tradepipe/_native.abi3.so")

    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tradepipe/")}

    assert expected == names


def test_an_sdist_holds_everything_that_the_wheel_is_built_from(sources, sdist):
    """Without the sources of the compiled core, a wheel that is built from it would silently have no core."""
    expected = {
        file.relative_to(sources).as_posix()
        for name in SOURCES_OF_SDIST
        for file in (sources / name, *(sources / name).rglob("*"))
        if file.is_file()
    }

    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert set() == expected - names
    assert [] == [name for name in names if name.startswith("tests")]


def test_every_folder_of_the_package_is_a_package(sources):
    """One that holds data alone counts too: setuptools warns of it, and an editable install may not find it."""
    packages = {
        ".".join((*shipped.split("/"), *file.parent.relative_to(sources / folder).parts))
        for folder, shipped in SHIPPED_AS.items()
        for file in (sources / folder).rglob("*")
        if file.is_file()
    }

    listed = tomllib.loads((sources / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]

    assert sorted(packages) == listed


@pytest.mark.parametrize(
    "name",
    [
        "tradepipe/py.typed",
        "tradepipe/schemas/trade/v001.avsc",
        "tradepipe/schemas/trade/golden/v001.bin",
        "tradepipe/migrations/env.py",
        "tradepipe/migrations/script.py.mako",
        f"tradepipe/migrations/versions/{required_revision()}.py",
    ],
)
def test_the_wheel_contains_data_files(wheel, name):
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

    assert required_revision() == run(elsewhere, "-c", program, database, cwd=elsewhere.parent)
