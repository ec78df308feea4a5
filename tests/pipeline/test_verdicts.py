"""What is judged while records are read, and what while others are written."""

import pytest

from tests.postgres.batches import record, trade
from tests.wire.registries import Shelf, registry
from tradepipe.contract.refusal import Violation
from tradepipe.errors import Misconfigured, SchemaPending
from tradepipe.pipeline.ceiling import Ceiling
from tradepipe.pipeline.judge import Judge
from tradepipe.pipeline.verdicts import PIECE, Verdicts
from tradepipe.wire.codec import Encoder
from tradepipe.wire.framing import frame
from tradepipe.wire.serde import TradeDeserializer

KNOWN, UNKNOWN = 4, 5


@pytest.fixture
def shelf():
    shelf = Shelf()
    shelf.put(KNOWN)
    return shelf


@pytest.fixture
def verdicts(shelf):
    """Verdicts by rules of one's own."""
    with registry(shelf, retries=0) as client:
        yield lambda *rules: Verdicts(Judge(TradeDeserializer(client), rules), Ceiling(None))


def records(count, schema_id=KNOWN, first=0, partition=0):
    body = Encoder().encode(trade())
    key = trade().trade_id.encode()
    return [
        record(first + number)._replace(partition=partition, key=key, value=frame(schema_id, body))
        for number in range(count)
    ]


def offsets(judged):
    return [each.offset for each in judged.take({}, None).passed]


def test_without_a_registry_to_ask_all_that_is_held_is_judged_ahead(verdicts, shelf):
    judged = verdicts()
    judged.hold(records(1))
    judged.judge()
    judged.hold([*records(2 * PIECE, first=1), record(999)._replace(value=None)])

    judged.judge_ahead(60.0)

    assert 2 * PIECE + 2 == len(judged)
    assert ([], None) == judged.judge()


def test_a_schema_that_was_not_met_before_is_not_asked_for_ahead(verdicts, shelf):
    judged = verdicts()
    judged.hold([*records(PIECE), *records(1, UNKNOWN, first=PIECE)])

    judged.judge_ahead(60.0)

    assert (0, []) == (len(judged), shelf.asked)
    left, error = judged.judge()
    assert ([PIECE], SchemaPending) == ([each.offset for each in left], type(error))
    assert [*range(PIECE)] == offsets(judged)


def test_ahead_takes_no_longer_than_it_may(verdicts):
    judged = verdicts()
    judged.hold(records(1))

    judged.judge_ahead(0.0)

    assert 0 == len(judged)
    judged.judge()
    assert [0] == offsets(judged)


def test_a_rule_that_fails_ahead_is_told_when_all_is_judged(verdicts):
    """Each record that precedes the one it fails at is judged once."""
    failing = verdicts(lambda trade: [Violation("ODD", "")] if next(numbers) < 3 else None)
    numbers = iter(range(99))
    failing.hold(records(1))
    failing.judge()
    failing.hold(records(5, first=1))

    failing.judge_ahead(60.0)

    assert 3 == len(failing)
    with pytest.raises(Misconfigured, match="which is no list"):
        failing.judge()
    assert [0, 1, 2] == [refusal.record.offset for refusal in failing.take({}, None).refusals]


def test_what_is_held_of_a_partition_that_left_is_dropped_judged_or_not(verdicts):
    judged = verdicts()
    judged.hold(records(2, partition=1) + records(2))
    judged.judge()
    judged.hold(records(2, first=2, partition=1) + records(2, first=2))

    judged.drop(1)

    judged.judge()
    assert [0, 1, 2, 3] == offsets(judged)


def test_what_is_taken_leaves_what_is_still_to_be_judged(verdicts):
    judged = verdicts()
    judged.hold(records(2))
    judged.judge()
    judged.hold(records(1, first=2))

    assert [0, 1] == offsets(judged)
    assert (0, 0) == (len(judged), judged.bytes)
    judged.judge()
    assert [2] == offsets(judged)
