"""Dependencies between packages, and the packages that may import a vendor's library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

import tradepipe

ROOT = Path(tradepipe.__file__).parent

ARROWS = {
    "outage": {"errors"},
    "background": set(),
    "limited_log": set(),
    "plural": set(),
    "redaction": set(),
    "small_files": set(),
    "shadowing": set(),
    "errors": {"trade"},
    "names": {"errors"},
    "trade": {"errors"},
    "evolution": {"small_files", "errors", "trade"},
    "_native": set(),
    "compiled_core": {"_native"},
    "codec": {"errors", "trade", "evolution", "_native", "compiled_core"},
    "registry": {"small_files", "outage", "names", "redaction", "errors", "trade", "evolution", "codec"},
    "kafka": {"small_files", "outage", "background", "errors", "limited_log", "names", "plural", "trade"},
    "postgres": {"small_files", "names", "outage", "compiled_core", "redaction", "errors", "trade"},
    "metrics": {"errors", "trade"},
    "pipeline": {
        "outage",
        "background",
        "limited_log",
        "names",
        "plural",
        "errors",
        "trade",
        "evolution",
        "codec",
        "registry",
        "kafka",
        "postgres",
        "metrics",
    },
    "embedded": {"errors", "trade", "evolution"},
    "testing": {"errors", "trade", "evolution", "embedded", "public"},
    "files": {"small_files", "errors", "plural", "trade"},
    "cli": {
        "shadowing",
        "small_files",
        "compiled_core",
        "outage",
        "names",
        "plural",
        "redaction",
        "errors",
        "trade",
        "evolution",
        "codec",
        "registry",
        "kafka",
        "postgres",
        "pipeline",
        "metrics",
        "embedded",
        "files",
        "public",
    },
    "public": {"errors", "trade", "codec", "registry", "postgres", "pipeline"},
    "entry": {"shadowing"},
    "command": {"entry"},
}
"""Package → the packages it may import. `public` is the package itself, `command` what `tradepipe X` runs."""

HOMES = {
    "alembic": {"postgres"},
    "avro": {"evolution"},
    "confluent_kafka": {"kafka", "embedded"},
    "fastavro": {"codec", "evolution"},
    "httpx": {"registry"},
    "openpyxl": {"files"},
    "prometheus_client": {"metrics"},
    "psycopg2": {"postgres", "embedded"},
    "pyarrow": {"files"},
    "pytest": {"testing"},
    "rich": {"cli"},
    "sqlalchemy": {"postgres"},
    "typer": {"cli"},
}
"""Library → the packages that may import it."""

COMMAND_LINE = "import typer.main; from tradepipe.cli.main import app; typer.main.get_command(app)"

IMPURE = {"asyncio", "http", "logging", "os", "socket", "subprocess", "threading", "time", "urllib"}
"""What a package without a clock, a network and a thread has no use for."""

LOADED_ON_DEMAND = ("alembic", "typer", "prometheus_client", "confluent_kafka.schema_registry")
"""What a service that publishes trades should not wait for. (httpx itself loads rich where click is installed.)"""

USED_BY_SOME = (
    "alembic",
    "confluent_kafka",
    "fastavro",
    "httpx",
    "prometheus_client",
    "psycopg2",
    "rich",
    "sqlalchemy",
)
"""Libraries that only some commands need: the others, and completion, must not load them."""


class Import(NamedTuple):
    """One import: its file, the package of that file, and the imported name."""

    file: str
    package: str
    name: str


def package_of(parts: tuple[str, ...]) -> str:
    """Return the package of a module from the components of its name after `tradepipe`."""
    if parts == ():
        return "public"
    if parts[-1] == "__main__":
        return "command"
    if parts[0] in ARROWS:
        return parts[0]
    return "command" if len(parts) == 1 else parts[0]


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that a file imports, also inside functions, and x of `from tradepipe import x`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            packages = [
                f"tradepipe.{alias.name}"
                for alias in node.names
                if node.module == "tradepipe" and is_module(alias.name)
            ]
            yield from packages or [node.module or ""]


def is_module(name: str) -> bool:
    return (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()


@cache
def imports() -> list[Import]:
    """Return every import of tradepipe."""
    return list(_imports())


def _imports() -> Iterator[Import]:
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT)
        parts = inside.with_suffix("").parts
        package = package_of(() if parts == ("__init__",) else parts)
        yield from (Import(str(inside), package, name) for name in imported_modules(ast.parse(path.read_text())))


def test_every_package_has_its_dependencies_declared():
    assert {found.package for found in imports()} <= set(ARROWS)


@pytest.mark.parametrize("package", ARROWS)
def test_a_package_imports_only_declared_packages(package):
    known = ARROWS[package] | {package}
    own = [found for found in imports() if found.package == package and found.name.partition(".")[0] == "tradepipe"]

    assert [] == [found for found in own if package_of(tuple(found.name.split(".")[1:])) not in known]


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_only_in_its_packages(library):
    found = [found for found in imports() if found.name.partition(".")[0] == library]

    assert [] == [one for one in found if one.package not in HOMES[library]]


def test_no_vendor_name_of_the_database_leaves_postgres():
    """Also not through a module of `tradepipe.postgres` that imports it."""
    borrowed = [
        (found.file, alias)
        for found in imports()
        if found.package != "postgres" and found.name.startswith("tradepipe.postgres.")
        for alias in names_imported_from(found)
        if getattr(getattr(import_module(found.name), alias), "__module__", "").startswith(("sqlalchemy", "psycopg2"))
    ]

    assert [] == borrowed


def names_imported_from(found: Import) -> Iterator[str]:
    """Yield the names that a file imports from a module."""
    for node in ast.walk(ast.parse((ROOT / found.file).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == found.name:
            yield from (alias.name for alias in node.names)


def test_only_migrations_load_alembic():
    """The sink checks the revision without it."""
    assert {"postgres/migrate.py"} == {found.file for found in imports() if found.name.partition(".")[0] == "alembic"}


def test_trade_and_evolution_are_pure():
    assert [] == [
        found
        for found in imports()
        if found.package in {"trade", "evolution"} and found.name.partition(".")[0] in IMPURE
    ]


def test_no_module_imports_a_command():
    """`python -m` would load it a second time, and every class in it would exist twice."""
    commands = {f"tradepipe.{Path(found.file).stem}" for found in imports() if found.package == "command"}

    assert [] == [found for found in imports() if found.name in commands]


def test_a_command_is_thin():
    commands = {found.file for found in imports() if found.package == "command"}

    assert [] == [command for command in sorted(commands) if len((ROOT / command).read_text().splitlines()) > 15]


def loaded_by(statement: str) -> list[str]:
    program = f"{statement}; import sys; print(*sorted(sys.modules))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_a_service_that_publishes_loads_only_what_it_needs():
    loaded = loaded_by("from tradepipe import Producer")

    assert [] == [name for name in loaded if name.startswith((*LOADED_ON_DEMAND, "sqlalchemy", "psycopg2"))]


@pytest.mark.parametrize("statement", ["from tradepipe import Validator", "import tradepipe.cli.validate"])
def test_a_validator_loads_nothing_of_postgresql(statement):
    """It stores nothing there, and would take twice as long to start."""
    assert [] == [name for name in loaded_by(statement) if name.startswith(("sqlalchemy", "psycopg2"))]


@pytest.mark.parametrize("statement", ["import tradepipe", "from tradepipe import Trade", COMMAND_LINE])
def test_optional_libraries_are_loaded_on_demand(statement):
    assert [] == [name for name in loaded_by(statement) if name.partition(".")[0] in USED_BY_SOME]
