"""The validator's buffer: validation while reading, and ahead while a transaction is in flight."""

import pytest

from tests.postgres.batches import record, trade
from tests.registry.registries import Shelf, registry
from tradepipe.codec.codec import Encoder
from tradepipe.errors import ConfigurationError, SchemaIdNotYetKnown
from tradepipe.pipeline.partitions import MAX_BATCH_BYTES
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
def make_buffer(shelf):
    """Make a buffer with additional rules."""
    with registry(shelf, retries=0) as client:
        yield lambda *rules: ValidatorBuffer(RecordValidator(TradeDeserializer(client), rules), RefusalLimit(None))


def records(count, schema_id=KNOWN, first=0, partition=0):
    body = Encoder().encode(trade())
    key = trade().trade_id.encode()
    return [
        record(first + number)._replace(partition=partition, key=key, value=frame(schema_id, body))
        for number in range(count)
    ]


def offsets(buffer):
    return [each.offset for each in buffer.take_batch({}, None).passed]


def validate_ahead(buffer):
    """Validate what can be validated while a transaction is in flight."""
    while buffer.validate_ahead():
        pass


def test_records_with_known_schemas_are_validated_ahead(make_buffer, shelf):
    buffer = make_buffer()
    buffer.pending.extend(records(1))
    buffer.validate()
    buffer.pending.extend([*records(2 * CHUNK_RECORDS, first=1), record(999)._replace(value=None)])

    validate_ahead(buffer)

    assert 2 * CHUNK_RECORDS + 2 == len(buffer)
    left, error = buffer.validate()
    assert (0, None) == (len(left), error)


def test_an_unknown_schema_is_not_queried_ahead(make_buffer, shelf):
    buffer = make_buffer()
    buffer.pending.extend([*records(CHUNK_RECORDS), *records(1, UNKNOWN, first=CHUNK_RECORDS)])

    validate_ahead(buffer)

    assert (0, []) == (len(buffer), shelf.asked)
    left, error = buffer.validate()
    assert ([CHUNK_RECORDS], SchemaIdNotYetKnown) == ([each.offset for each in left], type(error))
    assert [*range(CHUNK_RECORDS)] == offsets(buffer)


def test_only_a_chunk_is_validated_between_two_looks_at_the_transaction(make_buffer):
    buffer = make_buffer(lambda _: ())
    buffer.pending.extend(records(1))
    buffer.validate()
    buffer.pending.extend(records(CHUNK_RECORDS + 1, first=1))

    assert [CHUNK_RECORDS, 1, 0] == [buffer.validate_ahead() for _ in range(3)]

    assert [*range(CHUNK_RECORDS + 2)] == offsets(buffer)


def test_a_rule_that_fails_ahead_is_reported_by_validate(make_buffer):
    """Each record that precedes the one it fails at is in the buffer once."""
    failing = make_buffer(lambda trade: [Violation("ODD", "")] if next(numbers) < 3 else None)
    numbers = iter(range(99))
    failing.pending.extend(records(1))
    failing.validate()
    failing.pending.extend(records(5, first=1))

    validate_ahead(failing)

    assert 3 == len(failing)
    with pytest.raises(ConfigurationError, match="not a list"):
        failing.validate()
    assert [0, 1, 2] == [refusal.record.offset for refusal in failing.take_batch({}, None).refusals]


def test_the_records_of_a_revoked_partition_are_dropped(make_buffer):
    buffer = make_buffer()
    buffer.pending.extend(records(2, partition=1) + records(2))
    buffer.validate()
    buffer.pending.extend(records(2, first=2, partition=1) + records(2, first=2))

    buffer.drop(1)

    buffer.validate()
    assert [0, 1, 2, 3] == offsets(buffer)


def test_a_batch_is_full_of_large_keys_too(shelf):
    with registry(shelf, retries=0) as client:
        validator = RecordValidator(TradeDeserializer(client), record_key="accept")
        buffer = ValidatorBuffer(validator, RefusalLimit(None))
        key = bytes(MAX_BATCH_BYTES // 50)
        buffer.pending.extend(each._replace(key=key) for each in records(50))
        buffer.validate()

        assert 50 == len(buffer)
        assert 0 == buffer.free


def test_taking_a_batch_leaves_pending_records(make_buffer):
    buffer = make_buffer()
    buffer.pending.extend(records(2))
    buffer.validate()
    buffer.pending.extend(records(1, first=2))

    assert [0, 1] == offsets(buffer)
    assert (0, 0) == (len(buffer), buffer.bytes)
    buffer.validate()
    assert [2] == offsets(buffer)
