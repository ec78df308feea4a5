"""What is to be said of a schema: a rule it breaks, where, and what would happen to whose data."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from tradepipe.evolution.compatibility import Direction


class Severity(StrEnum):
    """What a finding keeps from happening."""

    ERROR = "error"
    """Data breaks, or is read as what it is not."""

    WARNING = "warning"
    """Not everywhere: some registry or reader goes another way."""


class Finding(NamedTuple):
    """
    One finding.

    Attributes:
        rule: the rule's id, the same for ever.

        path: the place by names, such as `Trade.legs[].price`.

        sentence: what would happen to whose data.

        mend: what to do instead.

        old, new: what stands there before and after.

        direction: who cannot read whom; None where no two versions are compared.

        against: the number of the version it is about or breaks with.

        pointer: the place in the newer schema's JSON, as a JSON pointer.
    """

    rule: str
    severity: Severity
    path: str
    message: str
    fix: str = ""
    old: str = ""
    new: str = ""
    direction: Direction | None = None
    against: int | None = None
    pointer: str = ""


def only_errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that break data."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)


class FindingText(NamedTuple):
    """A finding for a person; `below` are the paragraphs below its sentence: where, against what, and what instead."""

    finding: Finding
    related: tuple[str, ...]


def format_findings(found: Iterable[tuple[str, Finding]]) -> Iterator[FindingText]:
    """Findings, each given with its place; what differs in nothing but the version it is against is told once."""
    groups: dict[tuple[str, Finding], list[Finding]] = {}
    for place, finding in found:
        groups.setdefault((place, finding._replace(against=None)), []).append(finding)
    for (place, _), alike in groups.items():
        yield FindingText(alike[0], tuple(_below(place, alike)))


def format_change(finding: Finding) -> str:
    """What stood there and what does, behind a place; nothing if neither is known."""
    return f": {finding.old} -> {finding.new}" if finding.old or finding.new else ""


def format_against(alike: Sequence[Finding]) -> str:
    """Who cannot read whom, of which versions; nothing where no two versions are compared."""
    direction = alike[0].direction
    if direction is None:
        return ""
    numbers = sorted({finding.against for finding in alike if finding.against is not None})
    return f"{direction}, against {_list(numbers)}" if numbers else str(direction)


def _below(place: str, alike: Sequence[Finding]) -> Iterator[str]:
    finding = alike[0]
    at, rule = f"at {place}{format_change(finding)}", f"[{finding.rule}]"
    if finding.direction is None:
        yield f"{at} {rule}"
    else:
        yield at
        yield f"{format_against(alike)} {rule}"
    if finding.fix:
        yield f"instead: {finding.fix[0].lower()}{finding.fix[1:]}"


def _list(numbers: Sequence[int]) -> str:
    names = [f"v{number:03}" for number in numbers]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
