"""Changes between two schemas, in words and as a report."""

from collections.abc import Sequence

import typer

from tradepipe.cli.schema.files import Candidate
from tradepipe.cli.schema.formats import counted, paragraph
from tradepipe.cli.schema.report import Case, Note, Report
from tradepipe.contract.changes import Change, Effect
from tradepipe.contract.finding import Severity


def told(old: str, new: str, changes: Sequence[Change]) -> str:
    """Each change with what it does to readers, below a line that says between what."""
    return "\n\n".join([f"{old} -> {new}: {counted(len(changes), 'change')}", *(_block(each) for each in changes)])


def report(old: str, new: Candidate, changes: Sequence[Change]) -> Report:
    """Each change as a case, at its line in the newer schema."""
    return Report("diff", f"{old} -> {new.file}", tuple(_case(new, each) for each in changes))


def _block(change: Change) -> str:
    return "\n".join(
        [paragraph(change.sentence), paragraph(f"at {change.path}", "  "), *(_line(each) for each in change.effects)]
    )


def _line(effect: Effect) -> str:
    text = paragraph(f"{effect.direction}: {effect.severity or 'fine'}: {effect.sentence}", "  ")
    if effect.severity is None:
        return text
    colour = "red" if effect.severity is Severity.ERROR else "yellow"
    return text.replace(f" {effect.severity}:", f" {typer.style(f'{effect.severity}:', fg=colour, bold=True)}", 1)


def _case(new: Candidate, change: Change) -> Case:
    effects = [each._asdict() for each in change.effects]
    parts = {"path": change.path, "kind": change.kind, "sentence": change.sentence, "effects": effects}
    return Case(f"{change.path}: {change.sentence}", change.findings, new.file, new.text, parts, _note(change))


def _note(change: Change) -> Note | None:
    """The effects that are no findings; nothing if all are."""
    fine = [f"{each.direction.capitalize()}: {each.sentence}" for each in change.effects if each.severity is None]
    if change.findings and not fine:
        return None
    return Note(f"{change.path} [{change.kind}]", " ".join([change.sentence, *fine]), change.pointer)
