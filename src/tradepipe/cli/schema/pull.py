"""`tradepipe schema pull`: what a registry's subject holds, as a history in a folder."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEADLINE, SUBJECT, DeadlineSeconds, Debug, LogLevel, Registry, Subject
from tradepipe.cli.schema.checks import display_path, frozen_file, history_in, write
from tradepipe.cli.schema.options import ReportFormat
from tradepipe.cli.schema.report import CheckCase, Remark, Report, count_findings, print_and_exit, print_report
from tradepipe.cli.settings import open_registry
from tradepipe.errors import ConfigurationError, SchemaNotRegistered
from tradepipe.evolution.findings import Finding, Severity
from tradepipe.evolution.freeze import append_version, to_history_json
from tradepipe.evolution.history import HISTORY_FILE, History, SchemaVersion, file_name
from tradepipe.registry.client import RegisteredSchema
from tradepipe.registry.registration import subject_versions

Target = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder, made if need be: empty, or one that was pulled into before.")
]
RULES: Final = frozenset({"pull-differs", "pull-gone", "pull-level"})
"""The rules that a folder can break."""

_FIX: Final = "Pull into an empty folder, and compare the two by `schema diff`."
_NOTHING: Final = History((), ())


def pull(
    folder: Target,
    *,
    registry: Registry,
    subject: Subject = SUBJECT,
    format_: ReportFormat = "text",
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """
    Fetch the versions of a subject into a folder, as a history that `schema check` can look at.

    A folder that was pulled into before gets those that it lacks; if it holds something else than the registry, it
    is left as it is, and the command ends with 1.
    """
    configure("debug" if verbose else log_level)
    before = _before(folder)
    patience = RetryUntil(deadline)
    with open_registry(registry, timeout=patience.call_timeout) as client:
        there = patience(lambda: subject_versions(client, subject))
        level = patience(lambda: client.level(subject))
    if not there:
        raise SchemaNotRegistered(f"there is no subject {subject} in the registry to pull; check --subject")
    after = pull_versions(there, level)
    report = Report("pull", f"{subject} and {display_path(folder)}", tuple(_cases(folder, before, after, there)))
    if not report.is_fine(strict=False):
        print_and_exit(report._replace(cases=tuple(map(_remaining, report.cases))), format_)
    _write(folder, before, after)
    print_report(report, format_, person="\n".join(map(_line, report.cases)))


def pull_versions(there: Sequence[RegisteredSchema], level: str | None) -> History:
    """
    A history of what a subject holds: numbered anew, for a registry's numbers have gaps where versions were deleted.

    Raises:
        ConfigurationError: the subject holds something else than Avro.
    """
    made = _NOTHING
    today = datetime.now(UTC).date()
    for each in there:
        try:
            text = json.dumps(json.loads(each.schema), indent=2, ensure_ascii=False) + "\n"
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"version {each.version} of subject {each.subject} is no Avro schema: choose another one by --subject"
            ) from error
        made = append_version(made, text, on=today, level=level, alembic_revision=None)
    return made


def _before(folder: Path) -> History:
    """
    What an earlier pull left in the folder.

    Raises:
        BadParameter: somebody else left something there.
    """
    try:
        names = {each.name for each in folder.iterdir()} if folder.exists() else set()
    except NotADirectoryError:
        names = {folder.name}
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be read: {error.strerror}", param_hint="'DIR'") from None
    made = history_in(folder) if HISTORY_FILE in names else _NOTHING
    ours = {file_name(version.number) for version in made.versions} | ({HISTORY_FILE} if made.entries else set())
    if names != ours or any(entry.alembic_revision for entry in made.entries):
        told = f"{folder} is neither an empty folder nor one that was pulled into before"
        raise typer.BadParameter(told, param_hint="'DIR'")
    return made


def _cases(folder: Path, before: History, after: History, there: Sequence[RegisteredSchema]) -> Iterator[CheckCase]:
    for version, each in zip(after.versions, there, strict=True):
        yield _case(folder, before.version(version.number), version, each)
    for version in (each for each in before.versions if after.version(each.number) is None):
        told = f"The subject holds {count_findings(len(there), 'version')} now, and none for this one."
        found = _finding("pull-gone", file_name(version.number), told)
        file = frozen_file(folder, version.number)
        yield CheckCase(f"{file} is in the registry", (found,), file, version.text, {"outcome": "gone"})
    if before.versions and before.level != after.level:
        told = "The subject has another compatibility level now."
        found = _finding("pull-level", HISTORY_FILE, told, before.level, after.level)
        yield CheckCase(
            f"{HISTORY_FILE} has the subject's level",
            (found,),
            display_path(folder / HISTORY_FILE),
            "",
            {"outcome": "different"},
        )


def _case(folder: Path, old: SchemaVersion | None, new: SchemaVersion, there: RegisteredSchema) -> CheckCase:
    """One version of the subject, and what the folder has of it."""
    file, named = frozen_file(folder, new.number), f"version {there.version} of {there.subject}, id {there.schema_id}"
    made = CheckCase(f"{file}: {named}", (), file, new.text, {"version": there.version, "schema_id": there.schema_id})
    if old is None:
        return _with(made, "written", Remark(f"{file} [written]", f"It was written: {named}."))
    if old.sha256 == new.sha256:
        return _with(made, "unchanged", Remark(f"{file} [unchanged]", f"It is unchanged: {named}."))
    told = f"The registry holds another schema as {named}."
    found = _finding("pull-differs", file_name(new.number), told, old.sha256[:12], new.sha256[:12])
    return _with(made, "different")._replace(findings=(found,), text=old.text)


def _remaining(case: CheckCase) -> CheckCase:
    """The same where nothing is written, for another version stands against it."""
    if case.extra["outcome"] != "written":
        return case
    return _with(case, "left out", Remark(f"{case.file} [left out]", f"It was left out: {case.name}."))


def _with(case: CheckCase, outcome: str, note: Remark | None = None) -> CheckCase:
    return case._replace(extra={**case.extra, "outcome": outcome}, note=note)


def _line(case: CheckCase) -> str:
    return f"{case.name}, unchanged" if case.extra["outcome"] == "unchanged" else case.name


def _finding(rule: str, path: str, sentence: str, old: str = "", new: str = "") -> Finding:
    return Finding(rule, Severity.ERROR, path, sentence, _FIX, old, new)


def _write(folder: Path, before: History, after: History) -> None:
    """Add to the folder what it lacks: what was recorded of the others stays."""
    new = [each for each in after.versions if before.version(each.number) is None]
    if new:
        made = History(after.versions, tuple(before.entry(each.number) or each for each in after.entries))
        write(
            folder,
            {file_name(each.number): each.text for each in new} | {HISTORY_FILE: to_history_json(made)},
            hint="'DIR'",
        )
