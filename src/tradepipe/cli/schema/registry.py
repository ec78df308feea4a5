"""Commands `tradepipe schema` for a registry: register, drift, pull."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.options import DEADLINE, IS_NAME, SUBJECT, DeadlineSeconds, Subject, option
from tradepipe.cli.schema import checks
from tradepipe.cli.schema.report import CheckCase, Format, Remark, Report, ReportFormat, print_and_exit, print_report
from tradepipe.cli.settings import Logs, Registry
from tradepipe.cli.terminal import echo
from tradepipe.errors import ConfigurationError, SchemaNotRegistered
from tradepipe.evolution.compatibility import check_schema
from tradepipe.evolution.freeze import append_version, to_history_json
from tradepipe.evolution.history import HISTORY_FILE, History, file_name
from tradepipe.plural import format_count
from tradepipe.registry.client import RegisteredSchema
from tradepipe.registry.drift import Comparison
from tradepipe.registry.drift import drift as compare
from tradepipe.registry.registration import Plan, Registration, apply_plan, plan, subject_versions
from tradepipe.registry.schema_ids import SubjectCheck

Also = Annotated[
    list[str] | None,
    option("--also SUBJECT", "Further subject, for consumers of another topic. Repeatable.", callback=IS_NAME),
]
Target = Annotated[Path, typer.Argument(metavar="DIR", help="An empty directory, or one to create.")]


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
    cases = (*checks.frozen_cases(folder, past), *checks.version_cases(folder, past.versions))
    _require_fine(Report("register", checks.display_path(folder), cases), format_)
    at = str(level or past.level)
    retry = RetryUntil(deadline)
    with registry.open(timeout=retry.call_timeout) as client:
        names = (subject, *(also or ()))
        # All subjects are planned before the first change: a problem under one of them stops all.
        plans = [retry(lambda name=name: plan(client, name, past.versions, level=at)) for name in names]  # type: ignore[misc]
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
            applied = None if dry_run else retry(lambda each=each: apply_plan(client, each))  # type: ignore[misc]
            cases = tuple(_cases(each, applied))
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
    compared_text = f"{', '.join(names)} compared with {format_count(len(past.versions), 'version')}"
    report = Report("drift", compared_text, tuple(CheckCase(each.subject, each.findings) for each in compared))
    print_and_exit(report, format_)


def _require_fine(report: Report, form: Format) -> None:
    """Print the report and exit with 1 if it has errors."""
    if not report.is_fine(strict=False):
        print_and_exit(report, form)


def _cases(plan: Plan, done: Registration | None) -> Iterator[CheckCase]:
    """Yield what was done under a subject or, without a registration, what would be done."""
    results = done.versions if done else [None] * len(plan.versions)
    for each, result in zip(plan.versions, results, strict=True):
        number, schema_id, outcome = each.version.number, each.schema_id, "unchanged"
        if result:
            schema_id = result.schema_id
            outcome = "registered" if result.is_new else "unchanged"
            text = f"has id {schema_id}, {'new' if result.is_new else 'already registered'}"
        elif schema_id is None:
            outcome, text = "planned", "would be registered"
        else:
            text = f"already has id {schema_id}"
        parts = {"outcome": outcome, "subject": plan.subject, "version": number, "schema_id": schema_id}
        note = Remark(f"{plan.subject} [{outcome}]", f"{plan.subject}: version {number} {text}")
        yield CheckCase(f"v{number:03} under {plan.subject}", each.findings, "", "", parts, note)
    outcome, text = "unchanged", f"already {plan.level}"
    if plan.current_level != plan.level:
        outcome = "registered" if done else "planned"
        text = f"{plan.current_level or 'not set'}, would be {plan.level}"
    if done:
        text = done.level
    parts = {"outcome": outcome, "subject": plan.subject, "level": plan.level}
    note = Remark(f"{plan.subject} [{outcome}]", f"{plan.subject}: compatibility level {text}")
    yield CheckCase(f"the level of {plan.subject}", (), "", "", parts, note)


def pull(
    folder: Target,
    *,
    registry: Registry,
    subject: Subject = SUBJECT,
    format_: ReportFormat = "text",
    deadline: DeadlineSeconds = DEADLINE,
    logs: Logs,
) -> None:
    """Download the versions of a subject into an empty directory, as a history that `schema check` can read."""
    logs.configure()
    try:
        is_empty = not folder.exists() or not any(folder.iterdir())
    except OSError as error:
        raise typer.BadParameter(f"{folder} is not readable: {error.strerror}", param_hint="'DIR'") from None
    if not is_empty:
        raise typer.BadParameter(f"{folder} is not empty: choose another directory", param_hint="'DIR'")
    retry = RetryUntil(deadline)
    with registry.open(timeout=retry.call_timeout) as client:
        retry(SubjectCheck(client, subject))
        registered = retry(lambda: subject_versions(client, subject))
        level = retry(lambda: client.level(subject))
    history = pull_versions(registered, level)
    texts = {file_name(each.number): each.text for each in history.versions}
    checks.write(folder, {**texts, HISTORY_FILE: to_history_json(history)}, option_name="DIR")
    cases = []
    for version, each in zip(history.versions, registered, strict=True):
        file = checks.frozen_file(folder, version.number)
        name = f"version {each.version} of {each.subject}, id {each.schema_id}"
        parts = {"version": each.version, "schema_id": each.schema_id, "outcome": "written"}
        note = Remark(f"{file} [written]", f"Written: {name}.")
        cases.append(CheckCase(f"{file}: {name}", (), file, version.text, parts, note))
    report = Report("pull", f"{subject} and {checks.display_path(folder)}", tuple(cases))
    print_report(report, format_, text_form="\n".join(case.name for case in cases))


def pull_versions(registered: Sequence[RegisteredSchema], level: str | None) -> History:
    """
    Convert the versions of a subject to a history, numbered without the gaps that deleted versions leave.

    Raises:
        ConfigurationError: a version is not an Avro schema.
    """
    history = History((), ())
    today = datetime.now(UTC).date()
    for each in registered:
        try:
            if each.schema_type != "AVRO":
                raise ValueError(f"its type is {each.schema_type}")
            check_schema(each.schema)
            # Registries keep one line; on several lines a change can be reviewed.
            text = json.dumps(json.loads(each.schema), indent=2, ensure_ascii=False) + "\n"
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"version {each.version} of subject {each.subject} is not an Avro schema; check --subject"
            ) from error
        history = append_version(history, text, on=today, level=level, alembic_revision=None)
    return history
