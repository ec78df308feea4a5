"""Checks of schema files and histories."""

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from tradepipe.cli.options import option
from tradepipe.cli.schema.report import CheckCase
from tradepipe.evolution.compatibility import Level
from tradepipe.evolution.compatibility_rules import VersionedSchema, check_evolution
from tradepipe.evolution.findings import only_errors
from tradepipe.evolution.freeze import as_versioned, check_frozen, level_of
from tradepipe.evolution.history import (
    HISTORY_FILE,
    MAX_SCHEMA_BYTES,
    PACKAGE,
    History,
    SchemaVersion,
    file_name,
    fingerprint,
)
from tradepipe.evolution.lint import lint
from tradepipe.files.drafts import check_target, write_file
from tradepipe.files.errors import BadInput
from tradepipe.small_files import read_small_file

HistoryFolder = Annotated[
    Path | None,
    option(
        "--history DIR",
        "Directory of history.json and the released versions, v001.avsc and so on. Default: the trade schema.",
    ),
]
LevelIfOther = Annotated[Level | None, option("--level LEVEL", "Compatibility level; that of the history if omitted.")]
DryRun = Annotated[bool, option("--dry-run", "Run all checks without changing anything.", variable=None)]


class SchemaFile(NamedTuple):
    """A schema file: its path for display, and its text."""

    file: str
    text: str


def folder_of(history: Path | None) -> Path:
    """Return the directory of a history, by default that of the trade schema; else a usage error."""
    folder = history or Path(str(resources.files(PACKAGE)))
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a directory", param_hint="'--history'")
    return folder


def revisions_after(folder: Path, name: str) -> dict[str, str]:
    """Return the texts of later database revisions, in the history's repository or else in this build."""
    revisions = folder.resolve().parents[1] / "migrations" / "versions"
    if not revisions.is_dir():
        revisions = Path(str(resources.files("tradepipe.migrations.versions")))
    return {path.stem: path.read_text("utf-8") for path in revisions.glob("[0-9]*.py") if path.stem > name}


def require_revision(folder: Path, name: str) -> None:
    """Check that a database revision exists, which a released version would name forever; else a usage error."""
    found = revisions_after(folder, "").keys()
    if name not in found:
        raise typer.BadParameter(
            f"there is no revision {name} in migrations/versions, whose newest is {max(found, default='none')}; write "
            "it first, with: tradepipe migrate draft",
            param_hint="'--alembic-revision'",
        )


def history_in(folder: Path) -> History:
    """Load the history in a directory; an invalid file is a `BadInput`, an unreadable one a usage error."""
    try:
        return History.load(folder)
    except ValueError as error:
        raise BadInput(f"{folder}: {error}") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot read {folder}: {error.strerror}", param_hint="'--history'") from None


def versions_in(folder: Path) -> History:
    """Load the history in a directory as `history_in` does; one without versions is a usage error."""
    found = history_in(folder)
    if not found.numbers:
        raise no_version(folder)
    return found


def no_version(folder: Path) -> typer.BadParameter:
    """Return the usage error for a directory without versions."""
    return typer.BadParameter(f"{folder} has no versions: {file_name(1)} does not exist", param_hint="'--history'")


def read_schema_file(path: Path, *, hint: str = "'FILE'") -> SchemaFile:
    """Read a schema file; an unreadable one is a usage error."""
    try:
        return SchemaFile(display_path(path), read_small_file(path, MAX_SCHEMA_BYTES).decode())
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint=hint) from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} is not UTF-8: {error.reason}", param_hint=hint) from None


def frozen_file(folder: Path, number: int) -> str:
    """Return the path of a version's file, for display."""
    return display_path(folder / file_name(number))


def display_path(path: Path) -> str:
    """Return a path relative to the current directory, if it is below it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError, RuntimeError):  # the directory was removed; a loop of symbolic links
        return str(path)


def write(folder: Path, texts: dict[str, str], *, option_name: str = "--history") -> None:
    """Write new versions into a directory, made if necessary, and history.json last; nothing else is replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{folder} is not writable: {error.strerror}", param_hint=repr(option_name)) from None
    for name in texts:
        # All targets are checked before the first one is written.
        check_target(folder / name, overwrite=name == HISTORY_FILE, option=option_name)
    for name, text in texts.items():
        with write_file(folder / name, overwrite=name == HISTORY_FILE, private=False, option=option_name) as file:
            file.write(text)


def refuse_installed_package(folder: Path, *, example: str, option_name: str) -> None:
    """Refuse the directory of an installed package, which the next installation overwrites: a usage error."""
    if "site-packages" in folder.resolve().parts:
        raise typer.BadParameter(
            f"{folder} belongs to the installed package: pass the directory in your repository, such as {example}",
            param_hint=repr(option_name),
        )


def lint_case(candidate: SchemaFile) -> CheckCase:
    """Lint a schema file."""
    return CheckCase(f"{candidate.file} is a valid schema", lint(candidate.text), candidate.file, candidate.text)


def frozen_cases(folder: Path, history: History) -> Iterator[CheckCase]:
    """Check that no released version was changed."""
    found = check_frozen(history)
    for number in sorted(history.numbers):
        file = frozen_file(folder, number) if history.version(number) else display_path(folder / HISTORY_FILE)
        here = tuple(each for each in found if each.against == number)
        yield CheckCase(f"v{number:03} is unchanged", here, file, "")


def evolution_cases(
    candidate: SchemaFile, name: str, history: Sequence[VersionedSchema], level: Level
) -> Iterator[CheckCase]:
    """Check a schema against a history at a level, a case for each version and direction."""
    found = check_evolution(candidate.text, history, level)
    versions = history if level.is_transitive else history[-1:]
    for version in reversed(versions):
        for direction in level.directions:
            here = tuple(each for each in found if (each.against, each.direction) == (version.number, direction))
            case_name = f"{name} may follow v{version.number:03}: {direction}"
            yield CheckCase(case_name, here, candidate.file, candidate.text)


def version_cases(folder: Path, versions: Sequence[SchemaVersion]) -> Iterator[CheckCase]:
    """Lint each released version."""
    return (lint_case(SchemaFile(frozen_file(folder, each.number), each.text)) for each in versions)


def candidate_cases(folder: Path, candidate: SchemaFile, history: History, level: Level) -> Iterator[CheckCase]:
    """Lint a schema file and check it against the history, or, if it is already released, against earlier versions."""
    case = lint_case(candidate)
    yield case
    if has_no_errors(case):
        # A file that is released already would be compared with itself.
        own = [each.number for each in history.versions if each.sha256 == fingerprint(candidate.text)]
        before = [each for each in history.versions if not own or each.number < own[0]]
        # Only versions with errors: they are not compared, and without a finding they would seem compatible.
        yield from (each for each in version_cases(folder, before) if not has_no_errors(each))
        yield from evolution_cases(candidate, candidate.file, _without_errors(before), level)


def history_cases(folder: Path, history: History, level: Level | None) -> Iterator[CheckCase]:
    """Lint each version and check it against earlier ones, at the level it was released with."""
    for index, version in enumerate(history.versions):
        at = level or level_of(history, version.number)
        candidate = SchemaFile(frozen_file(folder, version.number), version.text)
        case = lint_case(candidate)
        yield case
        if has_no_errors(case):
            yield from evolution_cases(
                candidate, f"v{version.number:03}", _without_errors(history.versions[:index]), at
            )


def has_no_errors(case: CheckCase) -> bool:
    """Return whether a case has no errors."""
    return not only_errors(case.findings)


def _without_errors(versions: Sequence[SchemaVersion]) -> tuple[VersionedSchema, ...]:
    """Return the versions without errors; the others have findings already."""
    return as_versioned([version for version in versions if not only_errors(lint(version.text))])
