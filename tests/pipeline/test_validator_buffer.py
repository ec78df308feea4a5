"""The validator's buffer: validation while reading, and ahead while a transaction is in flight."""

import sys

import pytest

from tests.postgres.batches import record, trade
from tests.registry.registries import Shelf, registry
from tradepipe.codec.codec import Encoder
from tradepipe.compiled_core import executor_name
from tradepipe.errors import ConfigurationError, SchemaIdNotYetKnown
from tradepipe.kafka.dead_letters import OVERHEAD, REPLAYS
from tradepipe.kafka.record_batch import batch_size
from tradepipe.pipeline import validator_buffer
from tradepipe.pipeline.partitions import MAX_BATCH_BYTES
from tradepipe.pipeline.refusal_limit import MAX_CONSECUTIVE, RefusalLimit
from tradepipe.pipeline.validation import RecordValidator
from tradepipe.pipeline.validator_buffer import CHUNK_RECORDS, ValidatorBuffer
from tradepipe.registry.serde import TradeDeserializer, frame
from tradepipe.trade.record import HEADER_BYTES, Violation

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
        yield lambda *rules, limit=None, **options: ValidatorBuffer(
            RecordValidator(TradeDeserializer(client), rules), RefusalLimit(limit), **options
        )


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


RULES = pytest.mark.parametrize("rules", [(), (lambda _: (),)], ids=["without a rule", "with a rule"])


@RULES
def test_records_pass_without_the_header_that_counts_their_replays(make_buffer, rules):
    """Consumers of the clean topic get the original headers."""
    buffer = make_buffer(*rules)
    headers = (("a", b"1"), (REPLAYS, b"2"), ("a", b"3"))
    buffer.pending.extend([records(1)[0]._replace(headers=headers), *records(1, first=1)])
    buffer.validate()

    assert [(("a", b"1"), ("a", b"3")), ()] == [each.headers for each in buffer.take_batch({}, None).passed]


@RULES
def test_a_record_that_was_taken_is_not_kept(make_buffer, rules):
    """A large one would be in memory until the next one is validated."""
    (known,) = records(1)
    value = bytes(bytearray(known.value))
    before = sys.getrefcount(value)
    buffer = make_buffer(*rules)
    buffer.pending.append(known._replace(value=value))
    buffer.validate()
    batch = buffer.take_batch({}, None)
    held = sys.getrefcount(value)
    del batch

    assert (before + 1, before) == (held, sys.getrefcount(value))


@RULES
def test_a_batch_is_full_at_its_number_of_records(make_buffer, rules):
    buffer = make_buffer(*rules, batch_records=3)
    free = []
    for offset in range(4):
        free.append(buffer.free)
        buffer.pending.extend(records(1, first=offset))
        buffer.validate()

    assert [3, 2, 1, 0, 0] == [*free, buffer.free]


@RULES
def test_what_is_read_beside_a_transaction_is_validated_first_and_has_a_limit_of_bytes(make_buffer, rules, monkeypatch):
    monkeypatch.setattr(validator_buffer, "AHEAD_BYTES", sum(each.payload_bytes for each in records(2)))
    buffer = make_buffer(*rules)
    takes_more = [buffer.takes_more_ahead]
    for offset in range(2):
        buffer.pending.extend(records(1, first=offset))
        takes_more.append(buffer.takes_more_ahead)
        buffer.validate()
        takes_more.append(buffer.takes_more_ahead)

    assert [True, False, True, False, False] == takes_more


@RULES
def test_a_revoked_partition_leaves_no_bytes_and_no_time_behind(make_buffer, rules):
    buffer = make_buffer(*rules)
    kinds = [({}, "plain"), ({"headers": (("name", b"a"),)}, "with a header"), ({"value": None}, "refused")]
    every = [each._replace(**given) for each, (given, _) in zip(records(3), kinds, strict=True)]
    buffer.pending.extend(every)
    buffer.validate()
    before, began = buffer.bytes, buffer.started_at
    buffer.pending.extend(each._replace(partition=1) for each in every)
    buffer.validate()

    buffer.drop(1)
    assert (before, began) == (buffer.bytes, buffer.started_at)

    buffer.drop(0)
    assert (0, None) == (buffer.bytes, buffer.started_at)


@RULES
def test_a_valid_record_ends_a_run_of_refusals(make_buffer, rules):
    buffer = make_buffer(*rules, limit=0.999)
    half = MAX_CONSECUTIVE // 2 + 1
    refused = [each._replace(value=each.value[:-1]) for each in records(2 * half + 1)]
    buffer.pending.extend([*refused[:half], *records(1, first=half), *refused[half + 1 :]])
    buffer.validate()

    assert {} == buffer.take_batch({}, None).exceeded

    buffer.pending.extend([each._replace(offset=each.offset + 2 * half + 1) for each in refused])
    buffer.validate()

    assert {0} == buffer.take_batch({}, None).exceeded.keys()


LONG = b"a" * 10_000
LONG_TRADE = trade("T" * 64, counterparty_id="C" * 64, book_id="B" * 64)


@RULES
@pytest.mark.parametrize("part", ["key", "headers"])
def test_a_record_larger_than_the_output_topics_take_is_refused(shelf, rules, part):
    """Where any key is accepted, its writer chooses its length."""
    large = {"key": LONG} if part == "key" else {"headers": (("a", LONG),)}
    fits, exceeds = (each._replace(**large) for each in records(2))
    with registry(shelf, retries=0) as client:
        buffer = ValidatorBuffer(RecordValidator(TradeDeserializer(client), rules, "accept"), RefusalLimit(None))
        buffer.pending.append(fits)
        buffer.max_record_bytes = batch_size(fits)
        buffer.validate()
        buffer.pending.append(exceeds)
        buffer.max_record_bytes -= 1
        buffer.validate()

    batch = buffer.take_batch({}, None)
    assert [0] == [each.offset for each in batch.passed]
    assert [(1, ("TOO_LARGE",))] == [(each.record.offset, each.codes) for each in batch.refusals]


@RULES
@pytest.mark.parametrize(
    ("large", "max_bytes"),
    [({"key": LONG}, 1_000), ({"value": frame(KNOWN, Encoder().encode(LONG_TRADE))}, OVERHEAD + 1)],
    ids=["key", "value"],
)
def test_a_large_record_is_refused_among_small_ones(shelf, rules, large, max_bytes):
    before, exceeds, after = (each._replace(key=b"k") for each in records(3))
    with registry(shelf, retries=0) as client:
        buffer = ValidatorBuffer(RecordValidator(TradeDeserializer(client), rules, "accept"), RefusalLimit(None))
        buffer.max_record_bytes = max_bytes
        buffer.pending.extend([before._replace(offset=9), before, exceeds._replace(**large), after])
        buffer.validate()

    batch = buffer.take_batch({}, None)
    assert [9, 0, 2] == [each.offset for each in batch.passed]
    assert [(1, ("TOO_LARGE",))] == [(each.record.offset, each.codes) for each in batch.refusals]


@RULES
def test_headers_count_with_the_memory_that_they_take(make_buffer, rules):
    """A hundred thousand of a byte each take 15 MB."""
    buffer = make_buffer(*rules)
    buffer.pending.extend(each._replace(headers=(("a", None),) * 100) for each in records(2))
    buffer.validate()

    assert 200 * HEADER_BYTES < buffer.bytes < 250 * HEADER_BYTES


@pytest.mark.skipif(executor_name() == "Python", reason="Python validates records one by one")
def test_valid_records_stay_together_where_the_output_topics_take_small_records_only(make_buffer):
    """Together they have more bytes than a record of these topics may have. Only the first one's schema is unknown."""
    every = records(100)
    buffer = make_buffer()
    buffer.max_record_bytes = every[0].payload_bytes + OVERHEAD
    buffer.pending.extend(every)
    buffer.validate()

    assert [1, 99] == [len(run) for run in buffer.take_batch({}, None).passed.runs]


def test_the_records_of_a_revoked_partition_are_dropped(make_buffer):
    buffer = make_buffer()
    buffer.pending.extend(records(2, partition=1) + records(2))
    buffer.validate()
    buffer.pending.extend(records(2, first=2, partition=1) + records(2, first=2))

    buffer.drop(1)

    buffer.validate()
    assert [0, 1, 2, 3] == offsets(buffer)


def test_taking_a_batch_leaves_pending_records(make_buffer):
    buffer = make_buffer()
    buffer.pending.extend(records(2))
    buffer.validate()
    buffer.pending.extend(records(1, first=2))

    assert [0, 1] == offsets(buffer)
    assert (0, 0) == (len(buffer), buffer.bytes)
    buffer.validate()
    assert [2] == offsets(buffer)


@RULES
def test_a_batch_is_full_of_large_keys_too(shelf, rules):
    with registry(shelf, retries=0) as client:
        validator = RecordValidator(TradeDeserializer(client), rules, "accept")
        buffer = ValidatorBuffer(validator, RefusalLimit(None))
        key = bytes(MAX_BATCH_BYTES // 50)
        buffer.pending.extend(each._replace(key=key) for each in records(50))
        buffer.validate()

        assert 50 == len(buffer)
        assert 0 == buffer.free


@RULES
@pytest.mark.parametrize("kinds", ["gggg", "bggb", "ggbbgg", "gxgg", "gbxg", "xggg", "gggx", "hghg", "ghbx"])
def test_each_record_of_several_partitions_passes_or_is_refused_or_waits(make_buffer, rules, kinds):
    """All that follow one of an unknown schema wait: g passes, h does with a header, b is refused, x is that one."""
    made = {"g": {}, "h": {"headers": (("a", None),)}, "b": {"value": None}}
    made["x"] = {"value": records(1, UNKNOWN)[0].value}
    every = [
        each._replace(partition=number // 2 % 2, **made[kind])
        for number, (each, kind) in enumerate(zip(records(len(kinds)), kinds, strict=True))
    ]
    buffer = make_buffer(*rules)
    buffer.pending.extend(every)

    left, error = buffer.validate()

    done = len(kinds.partition("x")[0])
    assert (every[done:], "x" in kinds) == (list(left), isinstance(error, SchemaIdNotYetKnown))
    assert (done, 0, done > 0) == (len(buffer), len(buffer.pending), buffer.started_at is not None)
    batch = buffer.take_batch({0: 7, 1: 8}, 5.0)
    assert [each for each in every[:done] if each.value] == list(batch.passed)
    assert [each for each in every[:done] if not each.value] == [each.record for each in batch.refusals]
    assert ({0: 7, 1: 8}, 5.0) == (batch.offsets, batch.first_timestamp)
    assert (0, None) == (len(buffer), buffer.started_at)
