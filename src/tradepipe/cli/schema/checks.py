"""Checks of schema files and histories."""

import os
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import typer

from tradepipe.cli.input.lines import BadInput
from tradepipe.cli.schema.report import CheckCase
from tradepipe.evolution.compatibility import Level
from tradepipe.evolution.compatibility_rules import VersionedSchema, check_evolution
from tradepipe.evolution.findings import only_errors
from tradepipe.evolution.freeze import as_versioned, check_frozen, level_of
from tradepipe.evolution.history import HISTORY_FILE, PACKAGE, History, SchemaVersion, file_name, fingerprint
from tradepipe.evolution.lint import lint


class SchemaFile(NamedTuple):
    """A schema that was named on the command line: the path as it is shown, and the text."""

    file: str
    text: str


def folder_of(history: Path | None) -> Path:
    """
    The folder of a history, that of the trade schema if none is given.

    Raises:
        BadParameter: there is no such folder.
    """
    folder = history or Path(str(resources.files(PACKAGE)))
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is no folder", param_hint="'--history'")
    return folder


def history_in(folder: Path) -> History:
    """
    The history in a folder.

    Raises:
        BadInput: a file in it is not what it should be.

        BadParameter: it cannot be read.
    """
    try:
        return History.load(folder)
    except ValueError as error:
        raise BadInput(f"{folder}: {error}") from None
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be read: {error.strerror}", param_hint="'--history'") from None


def versions_in(folder: Path) -> History:
    """
    The history in a folder that holds one.

    Raises:
        BadInput, BadParameter: as `history_in`; and there is none.
    """
    found = history_in(folder)
    if not found.numbers:
        raise no_version(folder)
    return found


def no_version(folder: Path) -> typer.BadParameter:
    """What is said of a folder without any version."""
    return typer.BadParameter(f"{folder} holds no version: there is no {file_name(1)}", param_hint="'--history'")


def read_schema_file(path: Path, *, hint: str = "'FILE'") -> SchemaFile:
    """
    The schema in a file.

    Raises:
        BadParameter: it cannot be read.
    """
    try:
        return SchemaFile(display_path(path), path.read_text("utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=hint) from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} is not UTF-8: {error.reason}", param_hint=hint) from None


def frozen_file(folder: Path, number: int) -> str:
    """The path of a version's file, as it is shown."""
    return display_path(folder / file_name(number))


def display_path(path: Path) -> str:
    """A path as somebody in this folder would write it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def write(folder: Path, texts: dict[str, str], *, hint: str = "'--history'") -> None:
    """
    Put files into a folder, made if need be, each at once and whole, in the order given.

    Raises:
        BadParameter: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            draft = folder / f".{name}.{os.getpid()}"
            draft.write_text(text, "utf-8")
            draft.replace(folder / name)
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be written: {error.strerror}", param_hint=hint) from None


def refuse_installed_package(folder: Path) -> None:
    """
    Refuse the folder of an installed package: what is written there is gone with the next install.

    Raises:
        BadParameter: it is one.
    """
    if "site-packages" in folder.resolve().parts:
        raise typer.BadParameter(
            f"{folder} belongs to the installed package: give the folder in your repository, such as schemas/trade",
            param_hint=f"'--history', for {HISTORY_FILE} is written there",
        )


def lint_case(candidate: SchemaFile) -> CheckCase:
    """Whether a file is a sound schema."""
    return CheckCase(f"{candidate.file} is a sound schema", lint(candidate.text), candidate.file, candidate.text)


def unchanged(folder: Path, history: History) -> Iterator[CheckCase]:
    """Whether each frozen version is as it was frozen."""
    found = check_frozen(history)
    for number in sorted(history.numbers):
        file, version = frozen_file(folder, number), history.version(number)
        here = tuple(each for each in found if each.against == number)
        yield CheckCase(f"v{number:03} is as it was frozen", here, file if version else frozen_record(folder), "")


def frozen_record(folder: Path) -> str:
    """The path of the folder's record, as it is shown."""
    return frozen_file(folder, 0).rpartition("v000.avsc")[0] + HISTORY_FILE


def against(candidate: SchemaFile, name: str, history: Sequence[VersionedSchema], level: Level) -> Iterator[CheckCase]:
    """Whether a sound schema may follow a history at a level, a case for each version and direction."""
    found = check_evolution(candidate.text, history, level)
    versions = history if level.is_transitive else history[-1:]
    for version in reversed(versions):
        for direction in level.directions:
            here = tuple(each for each in found if (each.against, each.direction) == (version.number, direction))
            told = f"{name} may follow v{version.number:03}: {direction}"
            yield CheckCase(told, here, candidate.file, candidate.text)


def version_cases(folder: Path, versions: Sequence[SchemaVersion]) -> Iterator[CheckCase]:
    """Whether each frozen version is a sound schema."""
    return (lint_case(SchemaFile(frozen_file(folder, each.number), each.text)) for each in versions)


def candidate_cases(folder: Path, candidate: SchemaFile, history: History, level: Level) -> Iterator[CheckCase]:
    """Whether a file is sound, and may follow the history; one that is frozen already, what came before it."""
    case = lint_case(candidate)
    yield case
    if has_no_errors(case):
        own = [each.number for each in history.versions if each.sha256 == fingerprint(candidate.text)]
        before = [each for each in history.versions if not own or each.number < own[0]]
        yield from (each for each in version_cases(folder, before) if not has_no_errors(each))
        yield from against(candidate, candidate.file, _is_sound(before), level)


def history_cases(folder: Path, history: History, level: Level | None) -> Iterator[CheckCase]:
    """Whether each version is sound, and may follow those before it at the level it was frozen at."""
    for index, version in enumerate(history.versions):
        at = level or level_of(history, version.number)
        candidate = SchemaFile(frozen_file(folder, version.number), version.text)
        case = lint_case(candidate)
        yield case
        if has_no_errors(case):
            yield from against(candidate, f"v{version.number:03}", _is_sound(history.versions[:index]), at)


def has_no_errors(case: CheckCase) -> bool:
    """Whether there is no error among its findings."""
    return not only_errors(case.findings)


def _is_sound(versions: Sequence[SchemaVersion]) -> tuple[VersionedSchema, ...]:
    """Those that can be compared with: the others have findings of their own."""
    return as_versioned([version for version in versions if not only_errors(lint(version.text))])
