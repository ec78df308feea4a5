"""Command `tradepipe schema pull`: the versions of a subject as a history in a directory."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.options import DEADLINE, SUBJECT, DeadlineSeconds, Subject
from tradepipe.cli.schema.checks import display_path, frozen_file, history_in, write
from tradepipe.cli.schema.report import (
    CheckCase,
    Remark,
    Report,
    ReportFormat,
    print_and_exit,
    print_report,
)
from tradepipe.cli.settings import Logs, Registry
from tradepipe.errors import ConfigurationError
from tradepipe.evolution.compatibility import parse
from tradepipe.evolution.findings import Finding, Severity
from tradepipe.evolution.freeze import append_version, to_history_json
from tradepipe.evolution.history import HISTORY_FILE, History, SchemaVersion, file_name
from tradepipe.plural import format_count
from tradepipe.registry.client import RegisteredSchema
from tradepipe.registry.registration import subject_versions
from tradepipe.registry.schema_ids import SubjectCheck

Target = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory, created if missing: empty, or filled by an earlier pull.")
]
RULES: Final = frozenset({"pull-differs", "pull-gone", "pull-level"})
"""Rules that a directory can violate."""

_FIX: Final = "Pull into an empty directory and compare the two with `schema diff`."
_EMPTY: Final = History((), ())


def pull(
    folder: Target,
    *,
    registry: Registry,
    subject: Subject = SUBJECT,
    format_: ReportFormat = "text",
    deadline: DeadlineSeconds = DEADLINE,
    logs: Logs,
) -> None:
    """
    Download the versions of a subject into a directory, as a history that `schema check` can read.

    Adds the missing versions to a directory filled by an earlier pull; exits with 1 and writes nothing if the
    directory differs from the registry.
    """
    logs.configure()
    before = _read_pulled(folder)
    retry = RetryUntil(deadline)
    with registry.open(timeout=retry.call_timeout) as client:
        retry(SubjectCheck(client, subject))
        there = retry(lambda: subject_versions(client, subject))
        level = retry(lambda: client.level(subject))
    after = pull_versions(there, level)
    report = Report("pull", f"{subject} and {display_path(folder)}", tuple(_cases(folder, before, after, there)))
    if not report.is_fine(strict=False):
        print_and_exit(report._replace(cases=tuple(map(_remaining, report.cases))), format_)
    new = {file_name(each.number): each.text for each in after.versions if before.version(each.number) is None}
    if new:
        # An entry that is there already records when its version was first pulled.
        made = History(after.versions, tuple(before.entry(each.number) or each for each in after.entries))
        write(folder, new | {HISTORY_FILE: to_history_json(made)}, option_name="DIR")
    lines = (f"{case.name}{', unchanged' * (case.extra['outcome'] == 'unchanged')}" for case in report.cases)
    print_report(report, format_, text_form="\n".join(lines))


def pull_versions(there: Sequence[RegisteredSchema], level: str | None) -> History:
    """
    Convert the versions of a subject to a history, numbered without the gaps that deleted versions leave.

    Raises:
        ConfigurationError: a version is not an Avro schema.
    """
    history = _EMPTY
    today = datetime.now(UTC).date()
    for each in there:
        try:
            if each.schema_type != "AVRO":
                raise ValueError(f"its type is {each.schema_type}")
            parse(each.schema)
            # Registries keep one line; on several lines a change can be reviewed.
            text = json.dumps(json.loads(each.schema), indent=2, ensure_ascii=False) + "\n"
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"version {each.version} of subject {each.subject} is not an Avro schema; check --subject"
            ) from error
        history = append_version(history, text, on=today, level=level, alembic_revision=None)
    return history


def _read_pulled(folder: Path) -> History:
    """
    Return the history that an earlier pull left in the directory.

    Raises:
        BadParameter: the directory has other files.
    """
    try:
        names = {each.name for each in folder.iterdir()} if folder.exists() else set()
    except NotADirectoryError:
        names = {folder.name}
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be read: {error.strerror}", param_hint="'DIR'") from None
    history = history_in(folder) if HISTORY_FILE in names else _EMPTY
    pulled = {file_name(version.number) for version in history.versions} | (
        {HISTORY_FILE} if history.entries else set()
    )
    # A history with database revisions belongs to a release: a pull would mix two sources of truth.
    if names != pulled or any(entry.alembic_revision for entry in history.entries):
        raise typer.BadParameter(f"{folder} is neither empty nor filled by an earlier pull", param_hint="'DIR'")
    return history


def _cases(folder: Path, before: History, after: History, there: Sequence[RegisteredSchema]) -> Iterator[CheckCase]:
    for version, each in zip(after.versions, there, strict=True):
        yield _case(folder, before.version(version.number), version, each)
    for version in (each for each in before.versions if after.version(each.number) is None):
        message = f"The subject now has {format_count(len(there), 'version', zero='no')}, and none for this one."
        found = _finding("pull-gone", file_name(version.number), message)
        file = frozen_file(folder, version.number)
        yield CheckCase(f"{file} is in the registry", (found,), file, version.text, {"outcome": "gone"})
    if before.versions and before.level != after.level:
        message = "The subject now has another compatibility level."
        found = _finding("pull-level", HISTORY_FILE, message, before.level, after.level)
        yield CheckCase(
            f"{HISTORY_FILE} has the subject's level",
            (found,),
            display_path(folder / HISTORY_FILE),
            "",
            {"outcome": "different"},
        )


def _case(folder: Path, old: SchemaVersion | None, new: SchemaVersion, there: RegisteredSchema) -> CheckCase:
    """Compare a version of the subject with the directory."""
    file, named = frozen_file(folder, new.number), f"version {there.version} of {there.subject}, id {there.schema_id}"
    made = CheckCase(f"{file}: {named}", (), file, new.text, {"version": there.version, "schema_id": there.schema_id})
    if old is None:
        return _with(made, "written", Remark(f"{file} [written]", f"Written: {named}."))
    if old.sha256 == new.sha256:
        return _with(made, "unchanged", Remark(f"{file} [unchanged]", f"Unchanged: {named}."))
    message = f"The registry has another schema as {named}."
    found = _finding("pull-differs", file_name(new.number), message, old.sha256[:12], new.sha256[:12])
    return _with(made, "different")._replace(findings=(found,), text=old.text)


def _remaining(case: CheckCase) -> CheckCase:
    """Turn a version that would be written into one left out, because another version differs."""
    if case.extra["outcome"] != "written":
        return case
    return _with(case, "left out", Remark(f"{case.file} [left out]", f"Left out: {case.name}."))


def _with(case: CheckCase, outcome: str, note: Remark | None = None) -> CheckCase:
    return case._replace(extra={**case.extra, "outcome": outcome}, note=note)


def _finding(rule: str, path: str, message: str, old: str = "", new: str = "") -> Finding:
    return Finding(rule, Severity.ERROR, path, message, _FIX, old, new)
