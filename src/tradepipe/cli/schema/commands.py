"""Commands `tradepipe schema`."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.options import option, parse_whole
from tradepipe.cli.schema import checks, registry
from tradepipe.cli.schema.report import (
    CheckCase,
    Format,
    Remark,
    Report,
    ReportFormat,
    paragraph,
    print_and_exit,
    print_report,
    with_summary,
)
from tradepipe.cli.terminal import echo
from tradepipe.codec.codec import Encoder
from tradepipe.evolution.compatibility import Level
from tradepipe.evolution.diff import Change, diff_schemas
from tradepipe.evolution.freeze import append_version, draft_schema, level_of, to_history_json
from tradepipe.evolution.history import (
    HISTORY_FILE,
    History,
    SchemaVersion,
    current,
    file_name,
    fingerprint,
    golden_trade,
    to_golden_json,
    versions,
)
from tradepipe.evolution.schema_tree import parse_schema_tree
from tradepipe.files.drafts import write_file
from tradepipe.plural import format_count
from tradepipe.trade.model import DECLARATION
from tradepipe.trade.sample_values import given_value

Version = Annotated[str | None, typer.Argument(metavar="VERSION", help="Its number; the newest if omitted.")]


def show(version: Version = None) -> None:
    """Print a version of the trade schema that is part of this build."""
    shown = current()
    if version:
        number = parse_whole(version.removeprefix("v").removesuffix(".avsc"))
        found = [each for each in versions() if each.number == number]
        if not found:
            raise typer.BadParameter(
                f"this build has versions 1 to {shown.number}, not {version}", param_hint="'VERSION'"
            )
        shown = found[0]
    typer.echo(shown.text, nl=False)


def format_changes(old: str, new: str, changes: Sequence[Change]) -> str:
    """Format each change with its effects on readers, below a summary line."""
    return "\n\n".join(
        [f"{old} -> {new}: {format_count(len(changes), 'change', zero='no')}", *(_block(each) for each in changes)]
    )


def diff_report(old: str, new: checks.SchemaFile, changes: Sequence[Change]) -> Report:
    """Return each change as a case, at its line in the newer schema."""
    cases = []
    for each in changes:
        effects = [effect._asdict() for effect in each.effects]
        parts = {"path": each.path, "kind": each.kind, "message": each.message, "effects": effects}
        # Effects that are not findings, if there are any.
        fine = [f"{one.direction.capitalize()}: {one.message}" for one in each.effects if not one.severity]
        note = None
        if fine or not each.findings:
            note = Remark(f"{each.path} [{each.kind}]", " ".join([each.message, *fine]), each.pointer)
        cases.append(CheckCase(f"{each.path}: {each.message}", each.findings, new.file, new.text, parts, note))
    return Report("diff", f"{old} -> {new.file}", tuple(cases))


def _block(change: Change) -> str:
    effects = (f"{each.direction}: {each.severity or 'fine'}: {each.message}" for each in change.effects)
    return "\n".join([paragraph(change.message), *(paragraph(each, "  ") for each in (f"at {change.path}", *effects))])


Strict = Annotated[bool, option("--strict", "Also exit with 1 on warnings.", variable="TRADEPIPE_SCHEMA_STRICT")]
AlembicRevision = Annotated[
    str | None, option("--alembic-revision REVISION", "Database revision that records of the new version need.")
]

app = command_line("Check, release and register versions of the trade schema.")

Files = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE", help="Schema files; all released versions if omitted.")
]
File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE", help="Schema file of the next version; only the released versions are checked if omitted."
    ),
]
Next = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Schema file of the next version; if omitted, what `schema draft` prints."),
]
Output = Annotated[Path | None, option("--output FILE", "Write the schema to a new file.", variable=None)]
Old = Annotated[str, typer.Argument(metavar="OLD", help="Version number or file.")]
New = Annotated[str, typer.Argument(metavar="NEW", help="Version number or file of the newer schema.")]


@app.command()
def validate(
    files: Files = None, *, history: checks.HistoryFolder = None, format_: ReportFormat = "text", strict: Strict = False
) -> None:
    """Check that all Avro parsers accept the schemas, and ignore no part of them."""
    if not files:
        folder = checks.folder_of(history)
        files = sorted(folder.glob("v*.avsc"))  # not the history's versions: invalid files are checked too
        if not files:
            raise checks.no_version(folder)
    candidates = [checks.read_schema_file(file) for file in files]
    cases = tuple(checks.lint_case(each) for each in candidates)
    print_and_exit(Report("validate", ", ".join(each.file for each in candidates), cases), format_, strict=strict)


@app.command()
def check(
    file: File = None,
    *,
    history: checks.HistoryFolder = None,
    level: checks.LevelIfOther = None,
    format_: ReportFormat = "text",
    strict: Strict = False,
) -> None:
    """
    Check a schema against the whole history, more strictly than registries do, and the history for changes.

    Exits with 0 if the schema is compatible, with 1 otherwise.
    """
    folder = checks.folder_of(history)
    past = checks.history_in(folder) if file else checks.versions_in(folder)
    new = checks.read_schema_file(file) if file else None
    print_and_exit(_check(folder, past, new, level), format_, strict=strict)


@app.command()
def diff(old: Old, new: New, *, history: checks.HistoryFolder = None, format_: ReportFormat = "text") -> None:
    """
    Print the changes between two versions and their effects on readers.

    Exits with 0 even if changes are incompatible; use check to test compatibility.
    """
    folder = checks.folder_of(history)
    old_name, before = _read_side(folder, old, "'OLD'", format_)
    new_name, after = _read_side(folder, new, "'NEW'", format_)
    changes = diff_schemas(before.text, after.text)
    print_report(diff_report(old_name, after, changes), format_, text_form=format_changes(old_name, new_name, changes))


@app.command()
def draft(*, history: checks.HistoryFolder = None, output: Output = None) -> None:
    """Print the next version, as src/tradepipe/trade/model.py declares it: the released text, and what differs."""
    folder = checks.folder_of(history)
    past = checks.versions_in(folder)
    drafted = _draft(folder, past)
    if drafted is None:
        echo(_nothing_to_draft(past), err=output is None)  # stdout is for the schema
        return
    if output is None:
        typer.echo(drafted.text, nl=False)
        return
    with write_file(output, overwrite=None, private=False, option="--output") as file:
        file.write(drafted.text)
    echo(f"wrote {output}: check it with: tradepipe schema check {output}")


@app.command()
def freeze(
    file: Next = None,
    *,
    history: checks.HistoryFolder = None,
    level: checks.LevelIfOther = None,
    alembic_revision: AlembicRevision = None,
    dry_run: checks.DryRun = False,
    format_: ReportFormat = "text",
    strict: Strict = False,
) -> None:
    """Release a compatible schema as the next version: write its file, golden record and entry in history.json."""
    folder = checks.folder_of(history)
    checks.refuse_installed_package(folder, example="schemas/trade", option_name="--history")
    past = checks.history_in(folder)
    new = checks.read_schema_file(file) if file else _draft(folder, past)
    if new is None:
        raise typer.BadParameter(_nothing_to_draft(past), param_hint="'FILE'")
    report = _check(folder, past, new, level)._replace(command="freeze")
    if not report.is_fine(strict=strict):
        print_and_exit(report, format_, strict=strict)
    for known in past.versions:
        if known.sha256 == fingerprint(new.text):
            raise typer.BadParameter(f"{new.file} is already version {known.number}", param_hint="'FILE'")
    at = level or _next_level(past)
    if alembic_revision is not None:
        checks.require_revision(folder, alembic_revision)
    revision = alembic_revision or _revision_for(folder, past, new)
    released = append_version(past, new.text, on=datetime.now(UTC).date(), level=at, alembic_revision=revision)
    version = released.versions[-1]
    if not dry_run:
        checks.write(folder, {file_name(version.number): version.text, HISTORY_FILE: to_history_json(released)})
        # Another history holds other schemas, of which this build knows no records.
        if folder.samefile(checks.folder_of(None)):
            _write_golden_record(folder, version)
    outcome, verb = ("planned", "would be") if dry_run else ("frozen", "is")
    target = checks.frozen_file(folder, version.number)
    name = f"version {version.number} {verb} frozen: {target}, level {at}"
    parts = {"outcome": outcome, "version": version.number, "level": at}
    note = Remark(f"{target} [{outcome}]", f"{name.capitalize()}.")
    case = CheckCase(name, (), target, version.text, parts, note)
    print_report(report._replace(cases=(*report.cases, case)), format_, text_form=with_summary(report, case.name))


for command in (registry.register, registry.drift, registry.pull, show):
    app.command()(command)


def _write_golden_record(folder: Path, version: SchemaVersion) -> None:
    """
    Write the golden record of a version that was just released: that of the version before, with values of new fields.

    The record and its bytes are never changed again: later builds must decode the bytes into the same trade.
    """
    versions.cache_clear()  # the release is among them from now on
    before = golden_trade(version.number - 1)
    known = {field["name"] for field in version.schema["fields"]}
    old = {field["name"] for field in versions()[-2].schema["fields"]}
    values: dict[str, Any] = {
        field.name: given_value(field, Random(field.name)) for field in DECLARATION.fields if field.name in known - old
    }
    trade = before._replace(**values)
    stem = folder / "golden" / f"v{version.number:03}"
    stem.with_suffix(".json").write_text(to_golden_json(trade), "utf-8")
    stem.with_suffix(".bin").write_bytes(Encoder().encode(trade))


def _check(folder: Path, past: History, new: checks.SchemaFile | None, level: Level | None) -> Report:
    cases = [*checks.frozen_cases(folder, past)]
    if new is None:
        cases += checks.history_cases(folder, past, level)
        return Report(
            "check", f"{format_count(len(past.versions), 'version')} in {checks.display_path(folder)}", tuple(cases)
        )
    at = level or _next_level(past)
    cases += checks.candidate_cases(folder, new, past, at)
    return Report("check", f"{new.file} after {format_count(len(past.versions), 'version')} at {at}", tuple(cases))


def _next_level(past: History) -> Level:
    return level_of(past, max(past.numbers, default=0) + 1)


def _read_side(folder: Path, name: str, hint: str, form: Format) -> tuple[str, checks.SchemaFile]:
    """Read a schema to compare, given by a version such as 2 or v002, or by a file, and return its name too."""
    number = parse_whole(name.removeprefix("v").removesuffix(".avsc"))
    # A file may have a number as its name.
    if number is not None and not Path(name).is_file():
        version = checks.history_in(folder).version(number)
        if version is None:
            raise typer.BadParameter(f"{folder} has no version {number}", param_hint=hint)
        side, name = (
            checks.SchemaFile(checks.frozen_file(folder, version.number), version.text),
            f"v{version.number:03}",
        )
    else:
        side = checks.read_schema_file(Path(name), hint=hint)
        name = side.file
    case = checks.lint_case(side)
    if not checks.has_no_errors(case):
        print_and_exit(Report("diff", case.file, (case,)), form)
    return name, side


def _draft(folder: Path, past: History) -> checks.SchemaFile | None:
    """Return the next version as the declaration has it, or None if it equals the newest version."""
    if not past.versions:
        raise checks.no_version(folder)
    newest = past.versions[-1]
    text = draft_schema(newest.text, DECLARATION)
    return None if fingerprint(text) == newest.sha256 else checks.SchemaFile("the draft", text)


def _nothing_to_draft(past: History) -> str:
    return f"nothing to draft: version {past.versions[-1].number} is what trade/model.py declares"


def _revision_for(folder: Path, past: History, new: checks.SchemaFile) -> str | None:
    """Return the newest revision if the fields changed, and the last version's otherwise."""
    before = past.entry(max(past.numbers, default=0))
    if before is None or before.alembic_revision is None:
        return None
    changed = _columns(new.text) - _columns(past.versions[-1].text)
    if not changed:
        return before.alembic_revision
    made = checks.revisions_after(folder, before.alembic_revision)
    for name, _ in sorted(changed):
        # A revision is a Python file; a column that it makes is named in it.
        if not any(re.search(rf"\b{name}\b", text) for text in made.values()):
            raise typer.BadParameter(
                f"no revision after {before.alembic_revision} makes the column {name}: write it first, with: "
                "tradepipe migrate draft",
                param_hint="'--alembic-revision'",
            )
    return max(name for name, text in made.items() if any(re.search(rf"\b{each}\b", text) for each, _ in changed))


def _columns(text: str) -> set[tuple[str, str]]:
    """Return the fields with the types of their columns; every enum is a text."""
    fields = parse_schema_tree(text).fields
    return {(field.name, re.sub(r"enum[^|\]]*", "enum", str(field.type))) for field in fields}
