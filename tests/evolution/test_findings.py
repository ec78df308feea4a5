"""Text form of findings."""

import pytest

from tradepipe.evolution.compatibility import Direction
from tradepipe.evolution.findings import Finding, Severity, format_against, format_findings

BREAKS = Finding(
    "uuid", Severity.ERROR, "Trade.f", "Readers fail.", "Keep it.", "string", "uuid", Direction.FORWARD, against=1
)
CHANGED = Finding("frozen-changed", Severity.ERROR, "v001.avsc", "Version 1 was changed.", against=1)


def test_a_finding_against_two_versions_names_both_and_the_fix():
    ((_, related),) = format_findings([("Trade.f", BREAKS._replace(against=2)), ("Trade.f", BREAKS)])

    assert (
        "at Trade.f: string -> uuid",
        "old reads new, against v001 and v002 [uuid]",
        "instead: keep it.",
    ) == related


def test_a_finding_of_a_single_schema_takes_one_line():
    ((_, related),) = format_findings([("v001.avsc:1", CHANGED)])

    assert ("at v001.avsc:1 [frozen-changed]",) == related


def test_the_same_finding_at_two_locations_is_reported_twice():
    assert ["at a.avsc:1: string -> uuid", "at b.avsc:1: string -> uuid"] == [
        related[0] for _, related in format_findings([("a.avsc:1", BREAKS), ("b.avsc:1", BREAKS)])
    ]


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ((1,), "old reads new, against v001"),
        ((3, 1, 2), "old reads new, against v001, v002 and v003"),
        ((None,), "old reads new"),
    ],
)
def test_versions_are_listed_in_order(versions, expected):
    assert expected == format_against([BREAKS._replace(against=number) for number in versions])
