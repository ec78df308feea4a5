"""The commands of `tradepipe schema` that ask a registry."""

from collections.abc import Sequence

import typer

from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEADLINE, SUBJECT, DeadlineSeconds, Debug, LogLevel, Registry, Subject
from tradepipe.cli.patience import Patience
from tradepipe.cli.schema_checks import of_versions, unchanged
from tradepipe.cli.schema_files import folder_of, history_in, shown
from tradepipe.cli.schema_formats import Format, counted, tell
from tradepipe.cli.schema_options import Also, DryRun, HistoryFolder, LevelIfOther, ReportFormat
from tradepipe.cli.schema_report import Case, Report
from tradepipe.cli.shared import registry_at
from tradepipe.wire.drift import drift as compare
from tradepipe.wire.registration import Plan, Registration, carry_out, plan


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
    past = history_in(folder)
    cases = (*unchanged(folder, past), *of_versions(folder, past.versions))
    _require_fine(Report("register", shown(folder), cases), format_)
    at = str(level or past.level)
    patience = Patience(deadline)
    with registry_at(registry, timeout=patience.one_call) as client:
        names = (subject, *(also or ()))
        plans = [patience(lambda name=name: plan(client, name, past.versions, level=at)) for name in names]  # type: ignore[misc]
        _require_fine(_judged(plans), format_)
        for each in plans:
            if dry_run:
                _tell_plan(each)
            else:
                _tell(patience(lambda each=each: carry_out(client, each)))  # type: ignore[misc]


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
    past = history_in(folder_of(history))
    at = str(level or past.level)
    patience = Patience(deadline)
    names = (subject, *(also or ()))
    with registry_at(registry, timeout=patience.one_call) as client:
        compared = [
            each
            for name in names
            for each in patience(lambda name=name: compare(client, name, past.versions, level=at))  # type: ignore[misc]
        ]
    told = f"{', '.join(names)} and {counted(len(past.versions), 'version')}"
    report = Report("drift", told, tuple(Case(each.what, each.findings) for each in compared))
    tell(report, format_)


def _judged(plans: Sequence[Plan]) -> Report:
    """What keeps versions from being registered: if one is kept from it anywhere, none is registered."""
    cases = tuple(
        Case(f"v{each.version.number:03} may be registered under {plan.subject}", each.findings)
        for plan in plans
        for each in plan.versions
    )
    return Report("register", ", ".join(plan.subject for plan in plans), cases)


def _require_fine(report: Report, form: Format) -> None:
    """End with 1, and what was found, if that is more than warnings."""
    if not report.is_fine(strict=False):
        tell(report, form)


def _tell(done: Registration) -> None:
    for outcome in done.outcomes:
        what = "new" if outcome.new else "already there"
        typer.echo(f"{done.subject}: version {outcome.version} has id {outcome.schema_id}, {what}")
    typer.echo(f"{done.subject}: compatibility level {done.level}")


def _tell_plan(plan: Plan) -> None:
    for each in plan.versions:
        what = f"has id {each.schema_id} already" if each.schema_id is not None else "would be registered"
        typer.echo(f"{plan.subject}: version {each.version.number} {what}")
    now = "none of its own" if plan.level_now is None else plan.level_now
    change = f"{now}, would be {plan.level}" if plan.level_now != plan.level else f"{now} already"
    typer.echo(f"{plan.subject}: compatibility level {change}")
