"""Commands `tradepipe schema register` and `tradepipe schema drift`."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Annotated

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.options import DEADLINE, IS_NAME, SUBJECT, DeadlineSeconds, Subject, option
from tradepipe.cli.schema import checks
from tradepipe.cli.schema.report import (
    CheckCase,
    Format,
    Remark,
    Report,
    ReportFormat,
    print_and_exit,
    print_report,
)
from tradepipe.cli.settings import Logs, Registry
from tradepipe.cli.terminal import echo
from tradepipe.errors import SchemaNotRegistered
from tradepipe.plural import format_count
from tradepipe.registry.drift import Comparison
from tradepipe.registry.drift import drift as compare
from tradepipe.registry.registration import Plan, PlannedVersion, Registration, apply_plan, plan
from tradepipe.registry.schema_ids import SubjectCheck

Also = Annotated[
    list[str] | None,
    option("--also SUBJECT", "Further subject, for consumers of another topic. Repeatable.", callback=IS_NAME),
]


def register(
    *,
    registry: Registry,
    subject: Subject = SUBJECT,
    also: Also = None,
    history: checks.HistoryFolder = None,
    level: checks.LevelIfOther = None,
    dry_run: checks.DryRun = False,
    format_: ReportFormat = "text",
    deadline: DeadlineSeconds = DEADLINE,
    logs: Logs,
) -> None:
    """
    Register all versions of the schema that a subject lacks, and set the subject's compatibility level.

    Checks each version against the history and the subject first; exits with 1 and changes nothing if one is
    incompatible.
    """
    logs.configure()
    folder = checks.folder_of(history)
    past = checks.versions_in(folder)
    cases = (*checks.unchanged(folder, past), *checks.version_cases(folder, past.versions))
    _require_fine(Report("register", checks.display_path(folder), cases), format_)
    at = str(level or past.level)
    retry = RetryUntil(deadline)
    with registry.open(timeout=retry.call_timeout) as client:
        names = (subject, *(also or ()))
        # All subjects before the first change: a problem under one of them stops all.
        plans = [retry(lambda name=name: plan(client, name, past.versions, level=at)) for name in names]  # type: ignore[misc]
        # A problem under one subject stops all subjects.
        cases = tuple(
            CheckCase(f"v{each.version.number:03} may be registered under {plan.subject}", each.findings)
            for plan in plans
            for each in plan.versions
        )
        report = Report("register", ", ".join(plan.subject for plan in plans), cases)
        _require_fine(report, format_)
        if format_ == "text" and any(report.all()):
            print_report(report, format_)
        done: list[CheckCase] = []
        for each in plans:
            if dry_run:
                cases = tuple(_planned_cases(each))
            else:
                applied = retry(lambda each=each: apply_plan(client, each))  # type: ignore[misc]
                cases = tuple(_registered_cases(each, applied))
            if format_ == "text":  # at once, because the next subject may fail
                echo("\n".join(case.note.message for case in cases if case.note))
            done += cases
    if format_ != "text":
        print_report(report._replace(cases=tuple(done)), format_)


def drift(
    *,
    registry: Registry,
    subject: Subject = SUBJECT,
    also: Also = None,
    history: checks.HistoryFolder = None,
    level: checks.LevelIfOther = None,
    format_: ReportFormat = "text",
    deadline: DeadlineSeconds = DEADLINE,
    logs: Logs,
) -> None:
    """
    Compare a subject with the history: missing, additional and different versions, and the compatibility level.

    Exits with 0 if they agree, with 1 otherwise.
    """
    logs.configure()
    past = checks.versions_in(checks.folder_of(history))
    at = str(level or past.level)
    retry = RetryUntil(deadline)
    names = (subject, *(also or ()))
    with registry.open(timeout=retry.call_timeout) as client:
        compared: list[Comparison] = []
        for name in names:
            with suppress(SchemaNotRegistered):  # a missing subject is a finding, once the registry has started
                retry(SubjectCheck(client, name))
            compared += retry(partial(compare, client, name, past.versions, level=at))
    compared_text = f"{', '.join(names)} and {format_count(len(past.versions), 'version')}"
    report = Report("drift", compared_text, tuple(CheckCase(each.subject, each.findings) for each in compared))
    print_and_exit(report, format_)


def _require_fine(report: Report, form: Format) -> None:
    """Print the report and exit with 1 if it has errors."""
    if not report.is_fine(strict=False):
        print_and_exit(report, form)


def _registered_cases(plan: Plan, done: Registration) -> Iterator[CheckCase]:
    for each, outcome in zip(plan.versions, done.versions, strict=True):
        result, state = ("registered", "new") if outcome.is_new else ("unchanged", "already registered")
        yield _version(plan, each, outcome.schema_id, result, f"has id {outcome.schema_id}, {state}")
    yield _level(plan, "unchanged" if plan.current_level == plan.level else "registered", done.level)


def _planned_cases(plan: Plan) -> Iterator[CheckCase]:
    for each in plan.versions:
        if each.schema_id is None:
            yield _version(plan, each, None, "planned", "would be registered")
        else:
            yield _version(plan, each, each.schema_id, "unchanged", f"already has id {each.schema_id}")
    if plan.current_level == plan.level:
        yield _level(plan, "unchanged", f"already {plan.level}")
    else:
        yield _level(plan, "planned", f"{plan.current_level or 'not set'}, would be {plan.level}")


def _version(plan: Plan, planned: PlannedVersion, schema_id: int | None, outcome: str, text: str) -> CheckCase:
    number = planned.version.number
    parts = {"outcome": outcome, "subject": plan.subject, "version": number, "schema_id": schema_id}
    note = Remark(f"{plan.subject} [{outcome}]", f"{plan.subject}: version {number} {text}")
    return CheckCase(f"v{number:03} under {plan.subject}", planned.findings, "", "", parts, note)


def _level(plan: Plan, outcome: str, text: str) -> CheckCase:
    parts = {"outcome": outcome, "subject": plan.subject, "level": plan.level}
    note = Remark(f"{plan.subject} [{outcome}]", f"{plan.subject}: compatibility level {text}")
    return CheckCase(f"the level of {plan.subject}", (), "", "", parts, note)
