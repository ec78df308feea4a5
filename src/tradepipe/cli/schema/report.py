"""What a check of schemas found, case by case."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tradepipe.contract.finding import Finding, Severity
from tradepipe.contract.layout import layout


class Note(NamedTuple):
    """What is to be told of a case besides what is wrong; `pointer` is where, as in a `Finding`."""

    title: str
    sentence: str
    pointer: str = ""


class Case(NamedTuple):
    """
    One thing that was checked, and what was found.

    Attributes:
        name: what was checked, as a person would say it.

        file: the path of the file it is about, if it is about one, and `text` what is in it.

        parts: what else a program may want to know of it.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    file: str = ""
    text: str = ""
    parts: Mapping[str, object] = {}
    note: Note | None = None

    def line(self, about: Finding | Note) -> int:
        """The line of the file that a finding or a note is about."""
        try:
            return layout(self.text).line(about.pointer)
        except (ValueError, IndexError, RecursionError):  # no JSON
            return _broken(self.text)


class Report(NamedTuple):
    """
    All that one command checked.

    Attributes:
        command: its name.

        told: what was checked, in a few words, for a person.
    """

    command: str
    told: str
    cases: tuple[Case, ...]

    def all(self) -> Iterator[tuple[Case, Finding]]:
        """The findings with what they were found in."""
        return ((case, finding) for case in self.cases for finding in case.findings)

    def count(self, severity: Severity) -> int:
        """How many there are of one severity."""
        return sum(finding.severity is severity for _, finding in self.all())

    def is_fine(self, *, strict: bool) -> bool:
        """Whether there is no error; strictly, no warning either."""
        return not self.count(Severity.ERROR) and not (strict and self.count(Severity.WARNING))


def _broken(text: str) -> int:
    """The line where a text ceases to be JSON; its last one, if that is only missing further down."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return min(error.lineno, len(text.splitlines()) or 1)
    except RecursionError:
        pass
    return 1
