"""Changes between two schemas, for a person."""

from collections.abc import Sequence

import typer

from tradepipe.cli.schema_formats import counted, paragraph
from tradepipe.contract.changes import Change, Effect
from tradepipe.contract.finding import Severity


def told(old: str, new: str, changes: Sequence[Change]) -> str:
    """Each change with what it does to readers, below a line that says between what."""
    return "\n\n".join([f"{old} -> {new}: {counted(len(changes), 'change')}", *(_block(each) for each in changes)])


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
