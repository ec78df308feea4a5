"""The commands of `tradepipe schema` that ask a registry."""

from collections.abc import Iterable, Iterator, Sequence

import typer

from tradepipe.cli.logs import configure
from tradepipe.cli.options import DEADLINE, SUBJECT, DeadlineSeconds, Debug, LogLevel, Registry, Subject
from tradepipe.cli.patience import Patience
from tradepipe.cli.schema.checks import of_versions, unchanged
from tradepipe.cli.schema.files import folder_of, shown, versions_in
from tradepipe.cli.schema.formats import Format, counted, say, tell
from tradepipe.cli.schema.options import Also, DryRun, HistoryFolder, LevelIfOther, ReportFormat
from tradepipe.cli.schema.report import Case, Note, Report
from tradepipe.cli.shared import registry_at
from tradepipe.wire.drift import drift as compare
from tradepipe.wire.registration import Plan, Planned, Registration, carry_out, plan


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
    cases = (*unchanged(folder, past), *of_versions(folder, past.versions))
    _require_fine(Report("register", shown(folder), cases), format_)
    at = str(level or past.level)
    patience = Patience(deadline)
    with registry_at(registry, timeout=patience.one_call) as client:
        names = (subject, *(also or ()))
        plans = [patience(lambda name=name: plan(client, name, past.versions, level=at)) for name in names]  # type: ignore[misc]
        judged = _judged(plans)
        _require_fine(judged, format_)
        if format_ == "text" and any(judged.all()):
            say(judged, format_)
        done: list[Case] = []
        for each in plans:
            now = _planned(each) if dry_run else _registered(each, patience(lambda each=each: carry_out(client, each)))  # type: ignore[misc]
            done += _told(now, format_)
    if format_ != "text":
        say(judged._replace(cases=tuple(done)), format_)


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


def _told(done: Iterable[Case], form: Format) -> list[Case]:
    """The cases; a person is told each subject's at once, for the next one's registry may be away."""
    cases = list(done)
    if form == "text":
        typer.echo("\n".join(each.note.sentence for each in cases if each.note))
    return cases


def _registered(plan: Plan, done: Registration) -> Iterator[Case]:
    for each, outcome in zip(plan.versions, done.outcomes, strict=True):
        what, told = ("registered", "new") if outcome.new else ("unchanged", "already there")
        yield _version(plan, each, outcome.schema_id, what, f"has id {outcome.schema_id}, {told}")
    yield _level(plan, "unchanged" if plan.level_now == plan.level else "registered", done.level)


def _planned(plan: Plan) -> Iterator[Case]:
    for each in plan.versions:
        if each.schema_id is None:
            yield _version(plan, each, None, "planned", "would be registered")
        else:
            yield _version(plan, each, each.schema_id, "unchanged", f"has id {each.schema_id} already")
    if plan.level_now == plan.level:
        yield _level(plan, "unchanged", f"{plan.level} already")
    else:
        yield _level(plan, "planned", f"{plan.level_now or 'none of its own'}, would be {plan.level}")


def _version(plan: Plan, planned: Planned, schema_id: int | None, outcome: str, told: str) -> Case:
    number = planned.version.number
    parts = {"outcome": outcome, "subject": plan.subject, "version": number, "schema_id": schema_id}
    note = Note(f"{plan.subject} [{outcome}]", f"{plan.subject}: version {number} {told}")
    return Case(f"v{number:03} under {plan.subject}", planned.findings, "", "", parts, note)


def _level(plan: Plan, outcome: str, told: str) -> Case:
    parts = {"outcome": outcome, "subject": plan.subject, "level": plan.level}
    note = Note(f"{plan.subject} [{outcome}]", f"{plan.subject}: compatibility level {told}")
    return Case(f"the level of {plan.subject}", (), "", "", parts, note)
