"""The commands of `tradepipe schema` that ask a registry."""

from collections.abc import Iterable, Iterator, Sequence

import typer

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEADLINE, SUBJECT, DeadlineSeconds, Debug, LogLevel, Registry, Subject
from tradepipe.cli.schema.checks import display_path, folder_of, unchanged, version_cases, versions_in
from tradepipe.cli.schema.options import Also, DryRun, HistoryFolder, LevelIfOther, ReportFormat
from tradepipe.cli.schema.report import (
    CheckCase,
    Format,
    Remark,
    Report,
    count_findings,
    print_and_exit,
    print_report,
)
from tradepipe.cli.settings import open_registry
from tradepipe.registry.drift import drift as compare
from tradepipe.registry.registration import Plan, PlannedVersion, Registration, apply_plan, plan


def register(
    *,
    registry: Registry,
    subject: Subject = SUBJECT,
    also: Also = None,
    history: HistoryFolder = None,
    level: LevelIfOther = None,
    dry_run: DryRun = False,
    format_: ReportFormat = "text",
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """
    Register every version of the schema that a subject lacks, and set the subject's compatibility level.

    Each is checked before against the whole history, and against what the subject holds; it ends with 1, and
    changes nothing, if something breaks.
    """
    configure("debug" if verbose else log_level)
    folder = folder_of(history)
    past = versions_in(folder)
    cases = (*unchanged(folder, past), *version_cases(folder, past.versions))
    _require_fine(Report("register", display_path(folder), cases), format_)
    at = str(level or past.level)
    patience = RetryUntil(deadline)
    with open_registry(registry, timeout=patience.call_timeout) as client:
        names = (subject, *(also or ()))
        plans = [patience(lambda name=name: plan(client, name, past.versions, level=at)) for name in names]  # type: ignore[misc]
        judged = _check(plans)
        _require_fine(judged, format_)
        if format_ == "text" and any(judged.all()):
            print_report(judged, format_)
        done: list[CheckCase] = []
        for each in plans:
            if dry_run:
                now = _planned_cases(each)
            else:
                applied = patience(lambda each=each: apply_plan(client, each))  # type: ignore[misc]
                now = _registered_cases(each, applied)
            done += _format_plan(now, format_)
    if format_ != "text":
        print_report(judged._replace(cases=tuple(done)), format_)


def drift(
    *,
    registry: Registry,
    subject: Subject = SUBJECT,
    also: Also = None,
    history: HistoryFolder = None,
    level: LevelIfOther = None,
    format_: ReportFormat = "text",
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """
    Compare a subject with the history: versions that are missing, further ones, other texts, another level.

    It ends with 0 if they agree, and with 1 if they do not.
    """
    configure("debug" if verbose else log_level)
    past = versions_in(folder_of(history))
    at = str(level or past.level)
    patience = RetryUntil(deadline)
    names = (subject, *(also or ()))
    with open_registry(registry, timeout=patience.call_timeout) as client:
        compared = [
            each
            for name in names
            for each in patience(lambda name=name: compare(client, name, past.versions, level=at))  # type: ignore[misc]
        ]
    told = f"{', '.join(names)} and {count_findings(len(past.versions), 'version')}"
    report = Report("drift", told, tuple(CheckCase(each.subject, each.findings) for each in compared))
    print_and_exit(report, format_)


def _check(plans: Sequence[Plan]) -> Report:
    """What keeps versions from being registered: if one is kept from it anywhere, none is registered."""
    cases = tuple(
        CheckCase(f"v{each.version.number:03} may be registered under {plan.subject}", each.findings)
        for plan in plans
        for each in plan.versions
    )
    return Report("register", ", ".join(plan.subject for plan in plans), cases)


def _require_fine(report: Report, form: Format) -> None:
    """End with 1, and what was found, if that is more than warnings."""
    if not report.is_fine(strict=False):
        print_and_exit(report, form)


def _format_plan(done: Iterable[CheckCase], form: Format) -> list[CheckCase]:
    """The cases; a person is told each subject's at once, for the next one's registry may be away."""
    cases = list(done)
    if form == "text":
        typer.echo("\n".join(each.note.message for each in cases if each.note))
    return cases


def _registered_cases(plan: Plan, done: Registration) -> Iterator[CheckCase]:
    for each, outcome in zip(plan.versions, done.versions, strict=True):
        what, told = ("registered", "new") if outcome.is_new else ("unchanged", "already there")
        yield _version(plan, each, outcome.schema_id, what, f"has id {outcome.schema_id}, {told}")
    yield _level(plan, "unchanged" if plan.current_level == plan.level else "registered", done.level)


def _planned_cases(plan: Plan) -> Iterator[CheckCase]:
    for each in plan.versions:
        if each.schema_id is None:
            yield _version(plan, each, None, "planned", "would be registered")
        else:
            yield _version(plan, each, each.schema_id, "unchanged", f"has id {each.schema_id} already")
    if plan.current_level == plan.level:
        yield _level(plan, "unchanged", f"{plan.level} already")
    else:
        yield _level(plan, "planned", f"{plan.current_level or 'none of its own'}, would be {plan.level}")


def _version(plan: Plan, planned: PlannedVersion, schema_id: int | None, outcome: str, told: str) -> CheckCase:
    number = planned.version.number
    parts = {"outcome": outcome, "subject": plan.subject, "version": number, "schema_id": schema_id}
    note = Remark(f"{plan.subject} [{outcome}]", f"{plan.subject}: version {number} {told}")
    return CheckCase(f"v{number:03} under {plan.subject}", planned.findings, "", "", parts, note)


def _level(plan: Plan, outcome: str, told: str) -> CheckCase:
    parts = {"outcome": outcome, "subject": plan.subject, "level": plan.level}
    note = Remark(f"{plan.subject} [{outcome}]", f"{plan.subject}: compatibility level {told}")
    return CheckCase(f"the level of {plan.subject}", (), "", "", parts, note)
