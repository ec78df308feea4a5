"""Reports of findings as text, JSON, JUnit XML and GitHub annotations."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from textwrap import fill
from typing import Annotated, Final, Literal, NamedTuple
from xml.etree import ElementTree

import typer

from tradepipe.cli.exit_codes import ExitCode
from tradepipe.cli.options import option
from tradepipe.cli.terminal import to_json, wants_color
from tradepipe.evolution.findings import Finding, Severity, format_against, format_change, format_findings
from tradepipe.evolution.json_pointers import locate
from tradepipe.plural import format_count
from tradepipe.redaction import escape, escape_lines


class Remark(NamedTuple):
    """Information about a case that is not a finding; `pointer` as in a `Finding`."""

    title: str
    message: str
    pointer: str = ""


class CheckCase(NamedTuple):
    """
    One check and its findings.

    Attributes:
        file: path of the checked file, if there is one, with its content as `text`.
        extra: further keys of the JSON report.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    file: str = ""
    text: str = ""
    extra: Mapping[str, object] = {}
    note: Remark | None = None

    def line(self, about: Finding | Remark) -> int:
        """Return the line of a finding or note in the file."""
        try:
            return locate(self.text).line(about.pointer)
        except (ValueError, IndexError, RecursionError):  # not JSON
            try:
                json.loads(self.text)
            except json.JSONDecodeError as error:
                # Of truncated JSON, the last line.
                return min(error.lineno, len(self.text.splitlines()) or 1)
            except RecursionError:
                pass
            return 1


class Report(NamedTuple):
    """
    The checks of one command.

    Attributes:
        subject: what was checked, for the text report.
    """

    command: str
    subject: str
    cases: tuple[CheckCase, ...]

    def all(self) -> Iterator[tuple[CheckCase, Finding]]:
        """Yield all findings with their cases."""
        return ((case, finding) for case in self.cases for finding in case.findings)

    def count(self, severity: Severity) -> int:
        """Count the findings of a severity."""
        return sum(finding.severity is severity for _, finding in self.all())

    def is_fine(self, *, strict: bool) -> bool:
        """Return whether there are no errors and, if `strict`, no warnings."""
        return not self.count(Severity.ERROR) and not (strict and self.count(Severity.WARNING))


Format = Literal["text", "json", "junit", "github"]

ReportFormat = Annotated[
    Format,
    option(
        "--format text|json|junit|github",
        "Output format: text, JSON, JUnit XML, or GitHub annotations.",
        variable="TRADEPIPE_SCHEMA_FORMAT",
    ),
]

_COLORS: Final[Mapping[str, str]] = {"error": "red", "warning": "yellow"}
_severity = re.compile(r"^( *(?:\w+: )?)(error|warning):(?= )", re.MULTILINE)
_MAX_WIDTH: Final = 100
_MIN_WIDTH: Final = 40


def print_and_exit(report: Report, form: Format, *, strict: bool = False) -> None:
    """Print a report, and exit with 1 if there are findings."""
    print_report(report, form)
    if not report.is_fine(strict=strict):
        raise typer.Exit(ExitCode.FINDINGS)


def print_report(report: Report, form: Format, *, text_form: str | None = None) -> None:
    """Print a report; `text_form` replaces the findings in the text format."""
    text = text_form if text_form is not None and form == "text" else format_report(report, form)
    if form == "text":
        text = escape_lines(text)
        if wants_color():
            text = _severity.sub(
                lambda found: found[1] + typer.style(f"{found[2]}:", fg=_COLORS[found[2]], bold=True), text
            )
    if text:
        typer.echo(text)  # escaped above, or by its format


def with_summary(report: Report, line: str) -> str:
    """Format the findings, if there are any, followed by a result line."""
    return f"{format_report(report, 'text')}\n\n{line}" if any(report.all()) else line


def format_report(report: Report, form: Format) -> str:
    """Format a report."""
    return _FORMATS[form](report)


def paragraph(text: str, indent: str = "") -> str:
    """Wrap a text to the terminal's width, without breaking names."""
    width = max(_MIN_WIDTH, min(typer.get_terminal_size()[0], _MAX_WIDTH))
    return fill(
        escape(text),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _text(report: Report) -> str:
    found = list(format_findings((_location(case, finding), finding) for case, finding in report.all()))
    numbers = Counter(finding.severity for finding, _ in found)
    counts = (format_count(numbers[severity], severity, zero="no") for severity in Severity)
    # A stable sort: within errors and warnings the order of the schema's text is kept.
    found.sort(key=lambda each: each[0].severity is Severity.WARNING)
    blocks = [
        "\n".join([paragraph(f"{finding.severity}: {finding.message}"), *(paragraph(each, "  ") for each in related)])
        for finding, related in found
    ]
    return "\n\n".join([*blocks, paragraph(f"{report.subject}: {', '.join(counts)}")])


def _location(case: CheckCase, finding: Finding) -> str:
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
    return to_json(document)


def _junit(report: Report) -> str:
    """Format a report for Jenkins and GitLab: errors are failures, warnings are output."""
    failed = sum(any(each.severity is Severity.ERROR for each in case.findings) for case in report.cases)
    numbers = {"tests": str(len(report.cases)), "failures": str(failed), "errors": "0"}
    root = ElementTree.Element("testsuites", numbers)
    suite = ElementTree.SubElement(root, "testsuite", {"name": f"schema {report.command}", **numbers})
    for case in report.cases:
        name = {"classname": f"schema.{report.command}", "name": escape(case.name)}
        place = {"file": escape(case.file)} if case.file else {}
        element = ElementTree.SubElement(suite, "testcase", name | place)
        if errors := [each for each in case.findings if each.severity is Severity.ERROR]:
            about = {"type": errors[0].rule, "message": escape(errors[0].message)}
            ElementTree.SubElement(element, "failure", about).text = "\n".join(_line(case, each) for each in errors)
        output = [_line(case, each) for each in case.findings if each.severity is Severity.WARNING]
        if case.note:
            output.append(escape(case.note.message))
        if output:
            ElementTree.SubElement(element, "system-out").text = "\n".join(output)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + escape_lines(ElementTree.tostring(root, encoding="unicode"))


def _line(case: CheckCase, finding: Finding) -> str:
    text = f"{finding.severity}: {finding.message} At {_location(case, finding)}{format_change(finding)}"
    compared = f", {format_against([finding])}" if finding.direction else ""
    return escape(f"{text}{compared} [{finding.rule}]. {finding.fix}".rstrip())


def _github(report: Report) -> str:
    """Format workflow commands, which GitHub shows as annotations in the pull request."""
    commands: list[str] = []
    for case in report.cases:
        for finding in case.findings:
            title = f"{finding.path or case.name} [{finding.rule}]"
            compared = format_against([finding])
            sentences = finding.message, compared and f"{compared.capitalize()}.", finding.fix
            commands.append(_command(str(finding.severity), case, finding, title, " ".join(filter(None, sentences))))
        if case.note and not case.findings:
            commands.append(_command("notice", case, case.note, case.note.title, case.note.message))
    return "\n".join(commands)


def _command(name: str, case: CheckCase, about: Finding | Remark, title: str, message: str) -> str:
    where = {"file": case.file, "line": str(case.line(about))} if case.file else {}
    properties = ",".join(f"{key}={_escaped(value, _PROPERTY)}" for key, value in {**where, "title": title}.items())
    return f"::{name} {properties}::{_escaped(message, _DATA)}"


_DATA: Final = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY: Final = {**_DATA, ":": "%3A", ",": "%2C"}
"""Escapes that GitHub's runner decodes: actions/toolkit, packages/core/src/command.ts."""


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in escape(text))


_FORMATS: Final[Mapping[Format, Callable[[Report], str]]] = {
    "text": _text,
    "json": _json,
    "junit": _junit,
    "github": _github,
}
