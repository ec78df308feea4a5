"""Reports of findings as text, JSON, JUnit XML and GitHub annotations."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import fill
from typing import Final, Literal, NamedTuple
from xml.etree import ElementTree

import typer

from tradepipe.cli.exit_codes import ExitCode
from tradepipe.evolution.findings import (
    Finding,
    FindingText,
    Severity,
    format_against,
    format_change,
    format_findings,
)
from tradepipe.evolution.json_pointers import locate


class Remark(NamedTuple):
    """What is to be told of a case besides what is wrong; `pointer` is where, as in a `Finding`."""

    title: str
    message: str
    pointer: str = ""


class CheckCase(NamedTuple):
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
    extra: Mapping[str, object] = {}
    note: Remark | None = None

    def line(self, about: Finding | Remark) -> int:
        """The line of the file that a finding or a note is about."""
        try:
            return locate(self.text).line(about.pointer)
        except (ValueError, IndexError, RecursionError):  # no JSON
            return _failed(self.text)


class Report(NamedTuple):
    """
    All that one command checked.

    Attributes:
        command: its name.

        told: what was checked, in a few words, for a person.
    """

    command: str
    told: str
    cases: tuple[CheckCase, ...]

    def all(self) -> Iterator[tuple[CheckCase, Finding]]:
        """The findings with what they were found in."""
        return ((case, finding) for case in self.cases for finding in case.findings)

    def count(self, severity: Severity) -> int:
        """How many there are of one severity."""
        return sum(finding.severity is severity for _, finding in self.all())

    def is_fine(self, *, strict: bool) -> bool:
        """Whether there is no error; strictly, no warning either."""
        return not self.count(Severity.ERROR) and not (strict and self.count(Severity.WARNING))


def _failed(text: str) -> int:
    """The line where a text ceases to be JSON; its last one, if that is only missing further down."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return min(error.lineno, len(text.splitlines()) or 1)
    except RecursionError:
        pass
    return 1


Format = Literal["text", "json", "junit", "github"]

_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
_WIDEST: Final = 100
_NARROWEST: Final = 40


def print_and_exit(report: Report, form: Format, *, strict: bool = False) -> None:
    """Print a report, and end the command with 1 if something was found."""
    print_report(report, form)
    if not report.is_fine(strict=strict):
        raise typer.Exit(ExitCode.FINDINGS)


def print_report(report: Report, form: Format, *, person: str | None = None) -> None:
    """Print a report; `person` is what a person is told instead, if that is more than what was found."""
    text = person if person is not None and form == "text" else format_report(report, form)
    if text:
        typer.echo(text)


def with_summary(report: Report, line: str) -> str:
    """For a person: what was found, if anything was, and how it ended."""
    return f"{format_report(report, 'text')}\n\n{line}" if any(report.all()) else line


def format_report(report: Report, form: Format) -> str:
    """The report in one of the formats."""
    return _FORMATS[form](report)


def paragraph(text: str, indent: str = "", further: str = "  ") -> str:
    """A text as wide as the terminal, its names whole."""
    width = max(_NARROWEST, min(typer.get_terminal_size()[0], _WIDEST))
    return fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def count_findings(number: int, noun: str) -> str:
    """The number of something, as one says it."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _text(report: Report) -> str:
    found = list(format_findings((_place(case, finding), finding) for case, finding in report.all()))
    counts = (
        count_findings(sum(each.finding.severity is severity for each in found), severity) for severity in Severity
    )
    found.sort(key=lambda each: each.finding.severity is Severity.WARNING)
    return "\n\n".join([*map(_block, found), paragraph(f"{report.told}: {', '.join(counts)}")])


def _block(told: FindingText) -> str:
    severity = told.finding.severity
    _, colon, sentence = paragraph(f"{severity}: {told.finding.message}").partition(":")
    headed = typer.style(severity + colon, fg=_COLOURS[severity], bold=True) + sentence
    return "\n".join([headed, *(paragraph(each, "  ") for each in told.related)])


def _place(case: CheckCase, finding: Finding) -> str:
    file = f"{case.file}:{case.line(finding)}" if case.file else ""
    if finding.path and file and not file.partition(":")[0].endswith(finding.path):
        return f"{finding.path}, {file}"
    return file or finding.path or case.name


def _json(report: Report) -> str:
    cases = [
        {
            "name": case.name,
            "file": case.file or None,
            **case.extra,
            "findings": [
                {**finding._asdict(), "line": case.line(finding) if case.file else None} for finding in case.findings
            ],
        }
        for case in report.cases
    ]
    document = {
        "command": report.command,
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "cases": cases,
    }
    return json.dumps(document, indent=2)


def _junit(report: Report) -> str:
    """As Jenkins and GitLab read it: a failure holds errors; warnings are only told."""
    failed = sum(any(each.severity is Severity.ERROR for each in case.findings) for case in report.cases)
    numbers = {"tests": str(len(report.cases)), "failures": str(failed), "errors": "0"}
    root = ElementTree.Element("testsuites", numbers)
    suite = ElementTree.SubElement(root, "testsuite", {"name": f"schema {report.command}", **numbers})
    for case in report.cases:
        name = {"classname": f"schema.{report.command}", "name": _printable(case.name)}
        _severity_prefix(
            ElementTree.SubElement(suite, "testcase", name | ({"file": case.file} if case.file else {})), case
        )
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _severity_prefix(element: ElementTree.Element, case: CheckCase) -> None:
    by_severity = {severity: [each for each in case.findings if each.severity is severity] for severity in Severity}
    if errors := by_severity[Severity.ERROR]:
        about = {"type": errors[0].rule, "message": _printable(errors[0].message)}
        ElementTree.SubElement(element, "failure", about).text = _lines(case, errors)
    told = [_line(case, each) for each in by_severity[Severity.WARNING]]
    if case.note:
        told.append(case.note.message)
    if told:
        ElementTree.SubElement(element, "system-out").text = _printable("\n".join(told))


def _lines(case: CheckCase, findings: Sequence[Finding]) -> str:
    return _printable("\n".join(_line(case, finding) for finding in findings))


def _line(case: CheckCase, finding: Finding) -> str:
    said = f"{finding.severity}: {finding.message} At {_place(case, finding)}{format_change(finding)}"
    compared = f", {format_against([finding])}" if finding.direction else ""
    return f"{said}{compared} [{finding.rule}]. {finding.fix}".rstrip()


def _printable(text: str) -> str:
    """Without what XML cannot hold, however it is escaped."""
    return "".join(each if each in "\n\t" or (each >= " " and each not in "\ufffe\uffff") else "?" for each in text)


def _github(report: Report) -> str:
    """Workflow commands: GitHub shows each beside its line in the pull request."""
    return "\n".join(command for case in report.cases for command in _commands(case))


def _commands(case: CheckCase) -> Iterator[str]:
    for finding in case.findings:
        title = f"{finding.path or case.name} [{finding.rule}]"
        compared = format_against([finding])
        sentences = finding.message, compared and f"{compared.capitalize()}.", finding.fix
        yield _command(str(finding.severity), case, finding, title, " ".join(filter(None, sentences)))
    if case.note and not case.findings:
        yield _command("notice", case, case.note, case.note.title, case.note.message)


def _command(name: str, case: CheckCase, about: Finding | Remark, title: str, message: str) -> str:
    where = {"file": case.file, "line": str(case.line(about))} if case.file else {}
    properties = ",".join(f"{key}={_escaped(value, _PROPERTY)}" for key, value in {**where, "title": title}.items())
    return f"::{name} {properties}::{_escaped(message, _DATA)}"


_DATA: Final = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY: Final = {**_DATA, ":": "%3A", ",": "%2C"}
"""As the runner reads them back: toolkit/packages/core/src/command.ts."""


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)


_FORMATS: Final[Mapping[Format, Callable[[Report], str]]] = {
    "text": _text,
    "json": _json,
    "junit": _junit,
    "github": _github,
}
