"""What is judged while records are read, and what while others are written."""

import pytest

from tests.postgres.batches import record, trade
from tests.registry.registries import Shelf, registry
from tradepipe.codec.codec import Encoder
from tradepipe.errors import ConfigurationError, SchemaIdNotYetKnown
from tradepipe.pipeline.refusal_limit import RefusalLimit
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.pipeline.validator_buffer import CHUNK_RECORDS, ValidatorBuffer
from tradepipe.registry.serde import TradeDeserializer, frame
from tradepipe.trade.record import Violation

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
        yield lambda *rules: ValidatorBuffer(RecordValidator(TradeDeserializer(client), rules), RefusalLimit(None))


def records(count, schema_id=KNOWN, first=0, partition=0):
    body = Encoder().encode(trade())
    key = trade().trade_id.encode()
    return [
        record(first + number)._replace(partition=partition, key=key, value=frame(schema_id, body))
        for number in range(count)
    ]


def offsets(judged):
    return [each.offset for each in judged.take_batch({}, None).passed]


def test_without_a_registry_to_ask_all_that_is_held_is_judged_ahead(verdicts, shelf):
    judged = verdicts()
    judged.add(records(1))
    judged.validate()
    judged.add([*records(2 * CHUNK_RECORDS, first=1), record(999)._replace(value=None)])

    judged.validate_ahead(60.0)

    assert 2 * CHUNK_RECORDS + 2 == len(judged)
    assert ([], None) == judged.validate()


def test_a_schema_that_was_not_met_before_is_not_asked_for_ahead(verdicts, shelf):
    judged = verdicts()
    judged.add([*records(CHUNK_RECORDS), *records(1, UNKNOWN, first=CHUNK_RECORDS)])

    judged.validate_ahead(60.0)

    assert (0, []) == (len(judged), shelf.asked)
    left, error = judged.validate()
    assert ([CHUNK_RECORDS], SchemaIdNotYetKnown) == ([each.offset for each in left], type(error))
    assert [*range(CHUNK_RECORDS)] == offsets(judged)


def test_ahead_takes_no_longer_than_it_may(verdicts):
    judged = verdicts()
    judged.add(records(1))

    judged.validate_ahead(0.0)

    assert 0 == len(judged)
    judged.validate()
    assert [0] == offsets(judged)


def test_a_rule_that_fails_ahead_is_told_when_all_is_judged(verdicts):
    """Each record that precedes the one it fails at is judged once."""
    failing = verdicts(lambda trade: [Violation("ODD", "")] if next(numbers) < 3 else None)
    numbers = iter(range(99))
    failing.add(records(1))
    failing.validate()
    failing.add(records(5, first=1))

    failing.validate_ahead(60.0)

    assert 3 == len(failing)
    with pytest.raises(ConfigurationError, match="not a list"):
        failing.validate()
    assert [0, 1, 2] == [refusal.record.offset for refusal in failing.take_batch({}, None).refusals]


def test_what_is_held_of_a_partition_that_left_is_dropped_judged_or_not(verdicts):
    judged = verdicts()
    judged.add(records(2, partition=1) + records(2))
    judged.validate()
    judged.add(records(2, first=2, partition=1) + records(2, first=2))

    judged.drop(1)

    judged.validate()
    assert [0, 1, 2, 3] == offsets(judged)


def test_what_is_taken_leaves_what_is_still_to_be_judged(verdicts):
    judged = verdicts()
    judged.add(records(2))
    judged.validate()
    judged.add(records(1, first=2))

    assert [0, 1] == offsets(judged)
    assert (0, 0) == (len(judged), judged.bytes)
    judged.validate()
    assert [2] == offsets(judged)
