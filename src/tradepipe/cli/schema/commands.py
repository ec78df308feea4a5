"""Commands `tradepipe schema`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.schema import pull, registry
from tradepipe.cli.schema.checks import (
    SchemaFile,
    candidate_cases,
    display_path,
    folder_of,
    frozen_file,
    has_no_errors,
    history_cases,
    history_in,
    lint_case,
    no_version,
    read_schema_file,
    refuse_installed_package,
    unchanged,
    versions_in,
    write,
)
from tradepipe.cli.schema.options import AlembicRevision, DryRun, HistoryFolder, LevelIfOther, ReportFormat, Strict
from tradepipe.cli.schema.report import (
    CheckCase,
    Format,
    Remark,
    Report,
    count_findings,
    paragraph,
    print_and_exit,
    print_report,
    with_summary,
)
from tradepipe.codec.check_target import QuickCheckTarget
from tradepipe.codec.codec import Decoder, encoder_source
from tradepipe.codec.copy_target import CopyRowTarget
from tradepipe.codec.trade_target import TradeTarget
from tradepipe.evolution.compatibility import Level
from tradepipe.evolution.diff import Change, Effect, diff_schemas
from tradepipe.evolution.findings import Severity
from tradepipe.evolution.freeze import append_version, level_of, to_history_json
from tradepipe.evolution.history import HISTORY_FILE, History, SchemaVersion, current, file_name, fingerprint, versions
from tradepipe.evolution.schema_tree import parse_schema_tree

ShowFormat = Literal["schema", "decode", "copy_row", "quick_check", "encode"]

Version = Annotated[
    str | None, typer.Argument(metavar="VERSION", help="Its number; the one this build writes if not given.")
]
As = Annotated[
    ShowFormat,
    typer.Option(
        "--as",
        metavar="schema|decode|copy_row|quick_check|encode",
        help="The schema itself, or a generated function: records to trades, to rows for COPY, to a quick check of the "
        "rules, or trades to records.",
    ),
]


def show(version: Version = None, *, as_: As = "schema") -> None:
    """
    Print a version of the trade schema as this build has it, or the code generated from it.

    The lines of the code are those that a traceback names, as in <tradepipe: decode of schema id 7>, line 12.
    """
    chosen = _version(version) if version else current()
    if as_ == "encode" and chosen != current():
        told = f"trades are written as version {current().number} only: leave VERSION out"
        raise typer.BadParameter(told, param_hint="'--as encode'")
    typer.echo(_text(chosen, as_), nl=False)


def _version(name: str) -> SchemaVersion:
    number = name.removeprefix("v").removesuffix(".avsc")
    found = [each for each in versions() if number.isdecimal() and each.number == int(number)]
    if not found:
        told = f"{name} is none of the versions of this build, which are 1 to {current().number}"
        raise typer.BadParameter(told, param_hint="'VERSION'")
    return found[0]


def _text(version: SchemaVersion, form: ShowFormat) -> str:
    if form == "schema":
        return version.text
    if form == "encode":
        return encoder_source()
    target = next(each for each in (TradeTarget(), CopyRowTarget(), QuickCheckTarget()) if each.function == form)
    return Decoder(version.text, version.number).source(target).text


def format_changes(old: str, new: str, changes: Sequence[Change]) -> str:
    """Each change with what it does to readers, below a line that says between what."""
    return "\n\n".join(
        [f"{old} -> {new}: {count_findings(len(changes), 'change')}", *(_block(each) for each in changes)]
    )


def diff_report(old: str, new: SchemaFile, changes: Sequence[Change]) -> Report:
    """Each change as a case, at its line in the newer schema."""
    return Report("diff", f"{old} -> {new.file}", tuple(_case(new, each) for each in changes))


def _block(change: Change) -> str:
    return "\n".join(
        [paragraph(change.message), paragraph(f"at {change.path}", "  "), *(_line(each) for each in change.effects)]
    )


def _line(effect: Effect) -> str:
    text = paragraph(f"{effect.direction}: {effect.severity or 'fine'}: {effect.message}", "  ")
    if effect.severity is None:
        return text
    colour = "red" if effect.severity is Severity.ERROR else "yellow"
    return text.replace(f" {effect.severity}:", f" {typer.style(f'{effect.severity}:', fg=colour, bold=True)}", 1)


def _case(new: SchemaFile, change: Change) -> CheckCase:
    effects = [each._asdict() for each in change.effects]
    parts = {"path": change.path, "kind": change.kind, "message": change.message, "effects": effects}
    return CheckCase(f"{change.path}: {change.message}", change.findings, new.file, new.text, parts, _remark(change))


def _remark(change: Change) -> Remark | None:
    """The effects that are no findings; nothing if all are."""
    fine = [f"{each.direction.capitalize()}: {each.message}" for each in change.effects if each.severity is None]
    if change.findings and not fine:
        return None
    return Remark(f"{change.path} [{change.kind}]", " ".join([change.message, *fine]), change.pointer)


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
    candidates = [read_schema_file(file) for file in files or _frozen_files(folder_of(history))]
    cases = tuple(lint_case(each) for each in candidates)
    print_and_exit(Report("validate", ", ".join(each.file for each in candidates), cases), format_, strict=strict)


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
    new = read_schema_file(file) if file else None
    print_and_exit(_checked(folder, past, new, level), format_, strict=strict)


@app.command()
def diff(old: Old, new: New, *, history: HistoryFolder = None, format_: ReportFormat = "text") -> None:
    """
    Show what changed between two versions, and what readers make of it.

    It judges nothing: whatever changed, it ends with 0.
    """
    folder = folder_of(history)
    was, before = _side(folder, old, "'OLD'", format_)
    now, after = _side(folder, new, "'NEW'", format_)
    found = diff_schemas(before.text, after.text)
    print_report(diff_report(was, after, found), format_, person=format_changes(was, now, found))


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
    refuse_installed_package(folder)
    past, new = history_in(folder), read_schema_file(file)
    report = _checked(folder, past, new, level)._replace(command="freeze")
    if not report.is_fine(strict=strict):
        print_and_exit(report, format_, strict=strict)
    _require_new(past, new)
    at = level or _next_level(past)
    revision = alembic_revision or _same_revision(past, new)
    made = append_version(past, new.text, on=datetime.now(UTC).date(), level=at, alembic_revision=revision)
    version = made.versions[-1]
    if not dry_run:
        write(folder, {file_name(version.number): version.text, HISTORY_FILE: to_history_json(made)})
    case = _frozen(folder, version, at, "planned" if dry_run else "frozen")
    print_report(report._replace(cases=(*report.cases, case)), format_, person=with_summary(report, case.name))


for command in (registry.register, pull.pull, registry.drift, show):
    app.command()(command)


def _frozen_files(folder: Path) -> list[Path]:
    """The files of the versions, also where one of them is broken."""
    files = sorted(folder.glob("v*.avsc"))
    if not files:
        raise no_version(folder)
    return files


_FROZEN: Final = {"frozen": "is frozen", "planned": "would be frozen"}


def _frozen(folder: Path, version: SchemaVersion, level: Level, outcome: str) -> CheckCase:
    file = frozen_file(folder, version.number)
    name = f"version {version.number} {_FROZEN[outcome]}: {file}, level {level}"
    parts = {"outcome": outcome, "version": version.number, "level": level}
    return CheckCase(name, (), file, version.text, parts, Remark(f"{file} [{outcome}]", f"{name.capitalize()}."))


def _checked(folder: Path, past: History, new: SchemaFile | None, level: Level | None) -> Report:
    cases = [*unchanged(folder, past)]
    if new is None:
        cases += history_cases(folder, past, level)
        return Report(
            "check", f"{count_findings(len(past.versions), 'version')} in {display_path(folder)}", tuple(cases)
        )
    at = level or _next_level(past)
    cases += candidate_cases(folder, new, past, at)
    return Report("check", f"{new.file} after {count_findings(len(past.versions), 'version')} at {at}", tuple(cases))


def _next_level(past: History) -> Level:
    return level_of(past, max(past.numbers, default=0) + 1)


def _side(folder: Path, name: str, hint: str, form: Format) -> tuple[str, SchemaFile]:
    """What is to be compared, and what to call it: a version by its number, as 2 or v002, or a file."""
    number = name.removeprefix("v").removesuffix(".avsc")
    if number.isdecimal() and not Path(name).is_file():
        version = history_in(folder).version(int(number))
        if version is None:
            raise typer.BadParameter(f"there is no version {number} in {folder}", param_hint=hint)
        side, name = SchemaFile(frozen_file(folder, version.number), version.text), f"v{version.number:03}"
    else:
        side = read_schema_file(Path(name), hint=hint)
        name = side.file
    case = lint_case(side)
    if not has_no_errors(case):
        print_and_exit(Report("diff", case.file, (case,)), form)
    return name, side


def _require_new(past: History, new: SchemaFile) -> None:
    for version in past.versions:
        if version.sha256 == fingerprint(new.text):
            raise typer.BadParameter(f"{new.file} is version {version.number} already", param_hint="'FILE'")


def _same_revision(past: History, new: SchemaFile) -> str | None:
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
    return [(field.name, str(field.type)) for field in parse_schema_tree(text).fields]
