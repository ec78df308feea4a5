"""Schemas in files: the history's folder, and what the command line names."""

import os
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import typer

from tradepipe.cli.input.source import BadInput
from tradepipe.contract.history import PACKAGE, RECORD, History, file_of


class Candidate(NamedTuple):
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
    return typer.BadParameter(f"{folder} holds no version: there is no {file_of(1)}", param_hint="'--history'")


def candidate(path: Path, *, hint: str = "'FILE'") -> Candidate:
    """
    The schema in a file.

    Raises:
        BadParameter: it cannot be read.
    """
    try:
        return Candidate(shown(path), path.read_text("utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=hint) from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} is not UTF-8: {error.reason}", param_hint=hint) from None


def frozen_file(folder: Path, number: int) -> str:
    """The path of a version's file, as it is shown."""
    return shown(folder / file_of(number))


def shown(path: Path) -> str:
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


def require_own(folder: Path) -> None:
    """
    Refuse the folder of an installed package: what is written there is gone with the next install.

    Raises:
        BadParameter: it is one.
    """
    if "site-packages" in folder.resolve().parts:
        raise typer.BadParameter(
            f"{folder} belongs to the installed package: give the folder in your repository, such as schemas/trade",
            param_hint=f"'--history', for {RECORD} is written there",
        )
