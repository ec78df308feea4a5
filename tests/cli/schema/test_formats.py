"""A report for machines: read back by what reads such files."""

import json
import re
from xml.etree import ElementTree

import pytest

from tradepipe.cli.schema.report import CheckCase, Remark, Report, format_report
from tradepipe.evolution import json_pointers
from tradepipe.evolution.compatibility import Direction
from tradepipe.evolution.findings import Finding, Severity

TEXT = '{\n  "fields": [\n    {\n      "name": "f"\n    }\n  ]\n}\n'
NASTY = '100 %, of: all\r\nis <lost> & "gone"\x00'
SHOWN = '100 %, of: all\\r\\nis <lost> & "gone"\\x00'
BROKEN = Finding(
    rule="decimal-scale",
    severity=Severity.ERROR,
    path="Trade.f",
    message=NASTY,
    fix="Keep the scale.",
    old="decimal(18,2)",
    new="decimal(18,4)",
    direction=Direction.FORWARD,
    against=1,
    pointer="/fields/0",
)
DOUBTFUL = Finding("namespace", Severity.WARNING, "Trade", "Another namespace.")
REPORT = Report(
    "check",
    "a,b: c.avsc",
    (
        CheckCase("a is sound", (), "a,b: c.avsc", TEXT),
        CheckCase("b follows", (BROKEN, BROKEN._replace(rule="uuid"), DOUBTFUL), "a,b: c.avsc", TEXT),
        CheckCase("c follows", (DOUBTFUL,)),
    ),
)
ADDED = CheckCase(
    "g",
    (),
    "a,b: c.avsc",
    TEXT,
    {"kind": "field-added"},
    Remark("Trade.g [field-added]", f"Added.{NASTY}", "/fields/0"),
)
FINE = Report("check", "all", (CheckCase("a is sound"),))

# As the runner of GitHub takes a workflow command apart: the properties end at the first :: and are split at commas.
_command = re.compile(r"::(?P<kind>error|warning|notice) (?P<properties>.*?)::(?P<message>.*)").fullmatch
ESCAPES = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}


def unescaped(reported):
    return re.sub("|".join(ESCAPES), lambda found: ESCAPES[found[0]], reported)


def commands(text):
    for line in text.split("\n"):
        command = _command(line)
        assert command, line
        pairs = [pair.split("=", 1) for pair in command["properties"].split(",")]
        yield command["kind"], {key: unescaped(value) for key, value in pairs}, unescaped(command["message"])


def test_github_reads_the_annotations_back():
    found = list(commands(format_report(REPORT, "github")))

    assert ["error", "error", "warning", "warning"] == [kind for kind, *_ in found]
    assert {"file": "a,b: c.avsc", "line": "4", "title": "Trade.f [decimal-scale]"} == found[0][1]
    assert f"{SHOWN} Old reads new, against v001. Keep the scale." == found[0][2]


def test_an_annotation_without_a_file_names_none():
    assert {"title": "Trade [namespace]"} == list(commands(format_report(REPORT, "github")))[-1][1]


def test_nothing_found_is_nothing_annotated():
    assert "" == format_report(FINE, "github")


def test_junit_is_xml_with_a_failure_for_each_case_that_has_errors():
    root = ElementTree.fromstring(format_report(REPORT, "junit"))

    (suite,) = root
    cases = list(suite)
    assert ("testsuites", "testsuite") == (root.tag, suite.tag)
    assert {"tests": "3", "failures": "1", "errors": "0"} == root.attrib
    assert ("schema check", "3", "1") == tuple(suite.get(key) for key in ("name", "tests", "failures"))
    assert ["a is sound", "b follows", "c follows"] == [case.get("name") for case in cases]
    assert {"schema.check"} == {case.get("classname") for case in cases}
    assert [[], ["failure", "system-out"], ["system-out"]] == [[each.tag for each in case] for case in cases]


# Element → its attributes and children, as in the schema that Jenkins has of such files; `file` is GitLab's.
JUNIT = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "time", "skipped"}, {"testcase", "system-out"}),
    "testcase": ({"name", "classname", "file", "time"}, {"skipped", "error", "failure", "system-out"}),
    "failure": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}


@pytest.mark.parametrize("cases", [REPORT.cases, (ADDED,), ()], ids=["findings", "a note", "nothing"])
def test_junit_holds_nothing_that_its_readers_do_not_know(cases):
    root = ElementTree.fromstring(format_report(Report("check", "x", cases), "junit"))

    for element in root.iter():
        attributes, children = JUNIT[element.tag]
        assert attributes >= set(element.attrib)
        assert children >= {child.tag for child in element}
    assert all({"name", "classname"} <= set(case.attrib) for case in root.iter("testcase"))


def test_a_note_is_a_notice_and_a_line_of_output():
    report = Report("diff", "x", (ADDED,))

    assert [
        ("notice", {"file": "a,b: c.avsc", "line": "4", "title": "Trade.g [field-added]"}, f"Added.{SHOWN}")
    ] == list(commands(format_report(report, "github")))
    assert ElementTree.fromstring(format_report(report, "junit")).findtext("*/*/system-out").startswith("Added.100 %")


def test_further_parts_are_for_programs():
    (case,) = json.loads(format_report(Report("diff", "x", (ADDED,)), "json"))["cases"]

    assert {"name": "g", "file": "a,b: c.avsc", "kind": "field-added", "findings": []} == case


def test_a_failure_in_junit_has_all_errors_of_its_case():
    failure = ElementTree.fromstring(format_report(REPORT, "junit")).find("*/testcase/failure")

    assert "decimal-scale" == failure.get("type")
    assert failure.get("message").startswith("100 %, of: all")
    assert 2 == failure.text.count("error: 100 %")
    assert (
        "At Trade.f, a,b: c.avsc:4: decimal(18,2) -> decimal(18,4), old reads new, against v001 [uuid]" in failure.text
    )


def test_json_holds_every_part_of_a_finding():
    document = json.loads(format_report(REPORT, "json"))
    case = document["cases"][1]

    assert ("check", 2, 2) == (document["command"], document["errors"], document["warnings"])
    assert {**BROKEN._asdict(), "line": 4} == case["findings"][0]
    assert ("b follows", "a,b: c.avsc") == (case["name"], case["file"])


@pytest.mark.parametrize("form", ["text", "json", "junit", "github"])
def test_characters_invalid_in_terminals_and_xml_are_escaped(form):
    assert format_report(Report("check", "x", (CheckCase("x", (BROKEN,), "x", "no JSON"),)), form)


@pytest.mark.parametrize(
    ("versions", "reported"),
    [((1,), "against v001 "), ((2, 1), "against v001 and v002 "), ((1, 2, 3), "against v001, v002 and v003 ")],
)
def test_versions_are_named_by_number(versions, reported):
    findings = tuple(BROKEN._replace(against=number) for number in versions)

    assert reported in format_report(Report("check", "x", (CheckCase("x", findings),)), "text")


@pytest.mark.parametrize("form", ["text", "json", "junit", "github"])
def test_the_text_of_a_case_is_scanned_once_for_all_its_findings(form, monkeypatch):
    """One scan for each of 1,000 findings took a minute and a half."""
    text = json.dumps({"fields": [{"name": f"f{number}"} for number in range(50)]}, indent=1)
    findings = tuple(BROKEN._replace(pointer=f"/fields/{number}") for number in range(50))
    scans = []
    scan = json_pointers._Scan
    monkeypatch.setattr(json_pointers, "_Scan", lambda scanned: scans.append(scanned) or scan(scanned))
    json_pointers.locate.cache_clear()

    format_report(Report("check", "a.avsc", (CheckCase("a", findings, "a.avsc", text),)), form)

    assert scans in ([], [text])
