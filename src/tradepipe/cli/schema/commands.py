"""`tradepipe schema`: the trade schema, its history and the registry."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.schema import diffing, pull, registry, show
from tradepipe.cli.schema.checks import is_sound, linted, of_candidate, of_history, unchanged
from tradepipe.cli.schema.files import (
    Candidate,
    candidate,
    folder_of,
    frozen_file,
    history_in,
    no_version,
    require_own,
    shown,
    versions_in,
    write,
)
from tradepipe.cli.schema.formats import Format, closed, counted, say, tell
from tradepipe.cli.schema.options import AlembicRevision, DryRun, HistoryFolder, LevelIfOther, ReportFormat, Strict
from tradepipe.cli.schema.report import Case, Note, Report
from tradepipe.contract.changes import changes
from tradepipe.contract.compatibility import Level
from tradepipe.contract.frozen import frozen, level_of, recorded
from tradepipe.contract.history import RECORD, History, SchemaVersion, file_of, fingerprint
from tradepipe.contract.shape import shape

app = command_line("The trade schema, its history and the registry.")

Files = Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="Schemas; all frozen ones if none is given.")]
File = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The next version; the frozen ones alone if not given.")
]
Next = Annotated[Path, typer.Argument(metavar="FILE", help="The next version.")]
Old = Annotated[str, typer.Argument(metavar="OLD", help="A version's number, or a file.")]
New = Annotated[str, typer.Argument(metavar="NEW", help="The same of what came after it.")]


@app.command()
def validate(
    files: Files = None,
    *,
    history: HistoryFolder = None,
    format_: ReportFormat = "text",
    strict: Strict = False,
) -> None:
    """Check that schemas mean everywhere what they say: that all parsers take them, and ignore no part of them."""
    candidates = [candidate(file) for file in files or _frozen_files(folder_of(history))]
    cases = tuple(linted(each) for each in candidates)
    tell(Report("validate", ", ".join(each.file for each in candidates), cases), format_, strict=strict)


@app.command()
def check(
    file: File = None,
    *,
    history: HistoryFolder = None,
    level: LevelIfOther = None,
    format_: ReportFormat = "text",
    strict: Strict = False,
) -> None:
    """
    Check a schema against the whole history, beyond what registries look at, and that no frozen version was changed.

    It ends with 0 if nothing breaks, and with 1 if something does.
    """
    folder = folder_of(history)
    past = history_in(folder) if file else versions_in(folder)
    new = candidate(file) if file else None
    tell(_checked(folder, past, new, level), format_, strict=strict)


@app.command()
def diff(old: Old, new: New, *, history: HistoryFolder = None, format_: ReportFormat = "text") -> None:
    """
    Show what changed between two versions, and what readers make of it.

    It judges nothing: whatever changed, it ends with 0.
    """
    folder = folder_of(history)
    was, before = _side(folder, old, "'OLD'", format_)
    now, after = _side(folder, new, "'NEW'", format_)
    found = changes(before.text, after.text)
    say(diffing.report(was, after, found), format_, person=diffing.told(was, now, found))


@app.command()
def freeze(
    file: Next,
    *,
    history: HistoryFolder = None,
    level: LevelIfOther = None,
    alembic_revision: AlembicRevision = None,
    dry_run: DryRun = False,
    format_: ReportFormat = "text",
    strict: Strict = False,
) -> None:
    """Make a schema the next version, if nothing breaks: write its file, and record it in history.json."""
    folder = folder_of(history)
    require_own(folder)
    past, new = history_in(folder), candidate(file)
    report = _checked(folder, past, new, level)._replace(command="freeze")
    if not report.is_fine(strict=strict):
        tell(report, format_, strict=strict)
    _require_new(past, new)
    at = level or _next_level(past)
    revision = alembic_revision or _same_revision(past, new)
    made = frozen(past, new.text, on=datetime.now(UTC).date(), level=at, alembic_revision=revision)
    version = made.versions[-1]
    if not dry_run:
        write(folder, {file_of(version.number): version.text, RECORD: recorded(made)})
    case = _frozen(folder, version, at, "planned" if dry_run else "frozen")
    say(report._replace(cases=(*report.cases, case)), format_, person=closed(report, case.name))


for command in (registry.register, pull.pull, registry.drift, show.show):
    app.command()(command)


def _frozen_files(folder: Path) -> list[Path]:
    """The files of the versions, also where one of them is broken."""
    files = sorted(folder.glob("v*.avsc"))
    if not files:
        raise no_version(folder)
    return files


_FROZEN: Final = {"frozen": "is frozen", "planned": "would be frozen"}


def _frozen(folder: Path, version: SchemaVersion, level: Level, outcome: str) -> Case:
    file = frozen_file(folder, version.number)
    name = f"version {version.number} {_FROZEN[outcome]}: {file}, level {level}"
    parts = {"outcome": outcome, "version": version.number, "level": level}
    return Case(name, (), file, version.text, parts, Note(f"{file} [{outcome}]", f"{name.capitalize()}."))


def _checked(folder: Path, past: History, new: Candidate | None, level: Level | None) -> Report:
    cases = [*unchanged(folder, past)]
    if new is None:
        cases += of_history(folder, past, level)
        return Report("check", f"{counted(len(past.versions), 'version')} in {shown(folder)}", tuple(cases))
    at = level or _next_level(past)
    cases += of_candidate(folder, new, past, at)
    return Report("check", f"{new.file} after {counted(len(past.versions), 'version')} at {at}", tuple(cases))


def _next_level(past: History) -> Level:
    return level_of(past, max(past.numbers, default=0) + 1)


def _side(folder: Path, name: str, hint: str, form: Format) -> tuple[str, Candidate]:
    """What is to be compared, and what to call it: a version by its number, as 2 or v002, or a file."""
    number = name.removeprefix("v").removesuffix(".avsc")
    if number.isdecimal() and not Path(name).is_file():
        version = history_in(folder).version(int(number))
        if version is None:
            raise typer.BadParameter(f"there is no version {number} in {folder}", param_hint=hint)
        side, name = Candidate(frozen_file(folder, version.number), version.text), f"v{version.number:03}"
    else:
        side = candidate(Path(name), hint=hint)
        name = side.file
    case = linted(side)
    if not is_sound(case):
        tell(Report("diff", case.file, (case,)), form)
    return name, side


def _require_new(past: History, new: Candidate) -> None:
    for version in past.versions:
        if version.sha256 == fingerprint(new.text):
            raise typer.BadParameter(f"{new.file} is version {version.number} already", param_hint="'FILE'")


def _same_revision(past: History, new: Candidate) -> str | None:
    """The last version's revision, where the new one needs no other."""
    before = past.entry(max(past.numbers, default=0))
    if before is None or before.alembic_revision is None:
        return None
    if _columns(past.versions[-1].text) != _columns(new.text):
        raise typer.BadParameter(
            f"the fields are not those of version {before.number}: name the revision that changes the table with them",
            param_hint="'--alembic-revision'",
        )
    return before.alembic_revision


def _columns(text: str) -> list[tuple[str, str]]:
    return [(field.name, str(field.type)) for field in shape(text).fields]
