"""Findings of schema checks, and their text form."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from tradepipe.evolution.compatibility import Direction


class Severity(StrEnum):
    """Severity of a finding."""

    ERROR = "error"
    """Records fail to decode or are misread."""

    WARNING = "warning"
    """Some registries or readers behave differently."""


class Finding(NamedTuple):
    """
    One violation of a schema rule.

    Attributes:
        rule: stable id of the rule.

        path: location by names, such as `Trade.legs[].price`.

        message: the consequence, and which readers and records are affected.

        fix: what to do instead.

        old, new: definition in the older and in the newer schema.

        direction: direction in which reading fails; None for the check of a single schema.

        against: number of the version that the finding concerns or the schema is incompatible with.

        pointer: JSON pointer of the location in the newer schema.
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
    """Return the findings that are errors."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)


def format_findings(found: Iterable[tuple[str, Finding]]) -> Iterator[tuple[Finding, tuple[str, ...]]]:
    """
    Return findings, each given with its location, and further paragraphs: location, direction and versions, fix.

    Findings that differ only in the version are merged.
    """
    groups: dict[tuple[str, Finding], list[Finding]] = {}
    for location, finding in found:
        # An old mistake is found against each version since; one finding with all their numbers says that better.
        groups.setdefault((location, finding._replace(against=None)), []).append(finding)
    for (location, _), alike in groups.items():
        finding = alike[0]
        line, rule = f"at {location}{format_change(finding)}", f"[{finding.rule}]"
        related = [f"{line} {rule}"] if finding.direction is None else [line, f"{format_against(alike)} {rule}"]
        if finding.fix:
            related.append(f"instead: {finding.fix[0].lower()}{finding.fix[1:]}")
        yield finding, tuple(related)


def format_change(finding: Finding) -> str:
    """Format the old and the new definition; an empty text if neither is known."""
    return f": {finding.old} -> {finding.new}" if finding.old or finding.new else ""


def format_against(alike: Sequence[Finding]) -> str:
    """Format the direction and the versions of findings; an empty text for the check of a single schema."""
    direction = alike[0].direction
    if direction is None:
        return ""
    numbers = sorted({finding.against for finding in alike if finding.against is not None})
    return f"{direction}, against {_list(numbers)}" if numbers else str(direction)


def _list(numbers: Sequence[int]) -> str:
    names = [f"v{number:03}" for number in numbers]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
