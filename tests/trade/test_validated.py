"""Validated records are those that were put together, also in parts, without a partition, and decoded."""

from hypothesis import given
from hypothesis import strategies as st

from tests.postgres.batches import accepted, refusal, trade, validated
from tests.properties import examples
from tradepipe.trade.record import Record, Refusal
from tradepipe.trade.validated import ValidatedRecords, ValidRecord


@st.composite
def entry_lists(draw):
    """Lists of valid and refused records of some partitions."""
    kinds = draw(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=8))
    return [
        accepted(offset, trade(f"T{offset}"), partition) if is_valid else refusal(offset, partition)
        for offset, (partition, is_valid) in enumerate(kinds)
    ]


def assert_are(entries: list[ValidRecord | Refusal], records: ValidatedRecords) -> None:
    """Compare validated records with those that they should be."""
    valid = [(ordinal, each) for ordinal, each in enumerate(entries) if isinstance(each, ValidRecord)]
    assert [len(entries), [each.record for each in entries]] == [len(records), [each.record for each in records]]
    assert [each for each in entries if isinstance(each, Refusal)] == records.refusals
    assert [each.row for _, each in valid] == records.rows
    assert [ordinal for ordinal, _ in valid] == list(records.valid_ordinals())
    assert [(ordinal, each.record) for ordinal, each in valid] == [(at, each.record) for at, each in records.valid()]
    for ordinal, each in valid:
        found = records.valid_at(ordinal)
        assert (each.record, each.row, each.trade, 1) == (found.record, found.row, found.trade, found.schema_id)
    assert sum(each.record.payload_bytes for each in entries) == records.payload_bytes


@examples(200)
@given(entry_lists(), st.slices(8))
def test_a_part_has_the_records_of_its_places(entries, part):
    assert_are(entries, validated(*entries))
    assert_are(entries[part], validated(*entries)[part])


@examples(200)
@given(entry_lists(), st.integers(0, 2))
def test_a_partition_is_left_out(entries, number):
    rest = validated(*entries).without_partition(number)

    assert_are([each for each in entries if each.record.partition != number], rest)


@examples(100)
@given(entry_lists(), st.integers(0, 8))
def test_records_are_joined_in_their_order(entries, place):
    joined = validated(*entries)[:place]
    joined.add_all(validated(*entries)[place:])

    assert_are(entries, joined)


def _raise(record: Record) -> None:
    raise AssertionError(record)


@examples(100)
@given(entry_lists())
def test_decoded_records_need_no_schema_any_more(entries):
    records = validated(*entries)
    decoded = records.decoded()
    records._trade_of = _raise

    assert_are(entries, decoded)


def test_a_trade_is_decoded_once():
    decoded = []

    def decode(record: Record) -> object:
        decoded.append(record)
        return trade()

    entry = accepted(0, trade())
    valid = ValidRecord(entry.record, entry.row, decode)

    assert ([trade(), trade()], [entry.record]) == ([valid.trade, valid.trade], decoded)


def test_a_record_that_is_kept_in_part_counts_with_the_bytes_that_were_read():
    records = validated()
    records.add_refusal(refusal(0), 1_000_000)

    assert (1_000_000, 8) == (records.payload_bytes, records[:].payload_bytes)
