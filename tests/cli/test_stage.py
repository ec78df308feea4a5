"""The progress and the summary of a stage."""

from collections import Counter

import pytest

from tradepipe.cli.stage_runner import StageSummary, format_progress

SINK = StageSummary({"stored": 1_200, "duplicates": 30}, Counter(VERSION=1, NOTIONAL=4))
VALIDATOR = StageSummary({"passed": 12_300_000}, Counter(VERSION=5))
NOTHING = StageSummary({"stored": 0, "duplicates": 0}, Counter())


def test_the_refused_are_summed_up_by_code_the_most_frequent_first():
    assert "1,200 stored, 30 duplicates, 5 refused: NOTIONAL 4, VERSION 1" == SINK.summary()


def test_where_nothing_was_refused_no_code_is_named():
    assert "0 stored, 0 duplicates, 0 refused" == NOTHING.summary()


def test_every_record_counts_once():
    assert [1_235, 12_300_005, 0] == [outcome.records for outcome in (SINK, VALIDATOR, NOTHING)]


@pytest.mark.parametrize(
    ("outcome", "waiting", "lag", "briefly", "message"),
    [
        (SINK, None, None, False, "1,200 stored, 30 duplicates, 5 refused"),
        (SINK, "PostgreSQL", 7, False, "waiting for PostgreSQL: 1,200 stored, 30 duplicates, 5 refused, lag 7"),
        (SINK, "PostgreSQL", 7, True, "waiting for PostgreSQL: 1,200 stored, lag 7"),
        (SINK, None, 0, True, "1,200 stored, 30 duplicates, 5 refused, lag 0"),
        (VALIDATOR, None, 10_000_000, False, "12,300,000 passed, 5 refused, lag 10,000,000"),
        (
            VALIDATOR,
            "the registry",
            9_999_999,
            True,
            "waiting for the registry: 12.3M passed, 5 refused, lag 9,999,999",
        ),
    ],
    ids=["in a log", "waiting", "waiting, on a terminal", "on a terminal", "of millions", "of millions, on a terminal"],
)
def test_the_progress_of_a_stage(outcome, waiting, lag, briefly, message):
    assert message == format_progress(outcome, waiting, lag, short=briefly)
