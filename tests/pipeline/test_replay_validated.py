"""Replay through the validator that refused the records, on real Kafka."""

import pytest

from tests.pipeline.dead_letter_helpers import DeadLetterTopic
from tests.postgres.batches import trade
from tradepipe import Violation

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("targets")]


@pytest.fixture
def letters(pipeline):
    return DeadLetterTopic(pipeline.kafka, pipeline.topic, pipeline.dead_letters)


def strict(trade):
    """Return a rule that is removed later."""
    return [Violation("STRICT", "too strict")] if trade.trade_id != "T1" else []


def replayed(letters, **options):
    steps = letters.run(**options)
    return sum(len(step.replayed) for step in steps), sum(len(step.skipped) for step in steps)


def test_a_record_that_is_valid_now_passes_without_a_trace_of_its_refusal(pipeline, letters):
    pipeline.publish_bytes([(t.trade_id.encode(), pipeline.serialize(t)) for t in (trade("T1"), trade("T2"))])
    assert {"STRICT": 1} == pipeline.validate(rules=[strict]).refused

    assert (1, 0) == replayed(letters)

    assert (1, 0) == (pipeline.validate().passed, len(letters.dead_letters()))
    clean = pipeline.sorted().clean
    assert {(b"T1", ()), (b"T2", ())} == {(record.key, record.headers) for record in clean}


def test_a_record_that_is_still_refused_is_counted_until_it_is_skipped(pipeline, letters):
    pipeline.publish_bytes([(b"T1", pipeline.serialize(trade("T1", version=0)))])
    pipeline.validate()
    for count in (1, 2):
        assert (1, 0) == replayed(letters, max_replays=2)
        pipeline.validate()
        assert [count] == [kept.replay_count for kept in letters.dead_letters()]

    assert (0, 1) == replayed(letters, max_replays=2)

    assert 3 == len(letters.records())
    assert 0 == pipeline.validate().refused.total()
