"""Records in columns are the records that were put into them."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import examples
from tradepipe.trade.record import Record, UnreadableBatch
from tradepipe.trade.records import Records, Run

NUMBERS = st.integers(0, 3)
BYTES = st.none() | st.binary(max_size=5)
HEADERS = st.lists(st.tuples(st.text(max_size=2), BYTES), max_size=2).map(tuple)
RECORDS = st.builds(Record, st.just("trades"), NUMBERS, NUMBERS, BYTES, BYTES, st.none() | NUMBERS, HEADERS)
UNREADABLE = st.tuples(NUMBERS, NUMBERS, NUMBERS).map(lambda three: UnreadableBatch("trades", *three, "no"))
MIXED = st.lists(RECORDS | UNREADABLE, max_size=8)


@examples(200)
@given(MIXED, MIXED, st.slices(8))
def test_they_are_indexed_sliced_and_joined_as_in_a_list(first, second, part):
    records = Records.of(first)
    records.extend(Records.of(second))
    listed = first + second

    assert [len(listed), listed] == [len(records), list(records)]
    assert listed == [records[at] for at in range(len(listed))]
    assert listed[part] == list(records[part])
    assert list(map(type, listed)) == list(map(type, records))


@examples(200)
@given(MIXED)
def test_runs_are_of_one_partition_each(listed):
    runs = Records.of(listed).runs

    assert listed == [record for run in runs for record in run]
    assert listed == [run[place] for run in runs for place in range(len(run))]
    assert all({run.partition} == {record.partition for record in run} for run in runs)
    assert all(one.partition != next_one.partition for one, next_one in pairwise(runs))


def test_a_run_is_of_one_topic():
    records = [Record(topic, 0, offset, b"T1", b"value") for offset, topic in enumerate(("trades", "others"))]

    assert ["trades", "others"] == [run.topic for run in Records.of(records).runs]


@examples(200)
@given(MIXED, NUMBERS)
def test_a_partition_is_left_out(listed, number):
    rest = Records.of(listed).without_partition(number)

    assert [each for each in listed if each.partition != number] == list(rest)


def test_an_unreadable_batch_keeps_its_error():
    batch = UnreadableBatch("trades", 0, 5, 7, "no")

    records = Records.of([batch, Record("trades", 0, 8, b"T1", b"value")])

    assert batch.violation == records[0].violation == next(iter(records)).violation


@examples(200)
@given(st.lists(RECORDS, max_size=8), st.slices(8))
def test_the_payload_is_the_bytes_of_the_keys_and_the_values(listed, part):
    records = Records.of(listed)

    assert sum(record.payload_bytes for record in listed) == records.payload_bytes
    assert sum(record.payload_bytes for record in listed[part]) == records[part].payload_bytes


@examples(200)
@given(MIXED)
def test_records_that_are_added_one_by_one_are_the_same(listed):
    records = Records()
    for record in listed:
        records.append(record)

    assert [len(listed), listed] == [len(records), list(records)]
    assert list(map(type, listed)) == list(map(type, records))
    assert Records.of(listed).payload_bytes == records.payload_bytes


@examples(200)
@given(st.lists(RECORDS, min_size=1, max_size=8), st.data())
def test_a_part_of_a_run_has_all_of_its_records_and_what_was_not_read_is_not_there(listed, data):
    """A sink reads neither headers nor timestamps."""
    listed = [each._replace(partition=0) for each in listed]
    bare = [each._replace(timestamp=None, headers=()) for each in listed]
    start = data.draw(st.integers(0, len(listed) - 1))
    end = data.draw(st.integers(start + 1, len(listed)))

    part = Run.of(listed).cut(start, end)
    bare_part = replace(Run.of(listed), timestamps=None, headers=None).cut(start, end)

    assert (None, None) == (bare_part.timestamps, bare_part.headers)
    for expected, found in ((listed[start:end], part), (bare[start:end], bare_part)):
        assert expected == list(found) == [found[place] for place in range(len(found))]
        assert [each[3:] for each in expected] == list(found.contents())


def test_a_place_that_no_record_has_is_an_index_error():
    with pytest.raises(IndexError):
        Records.of([Record("trades", 0, 8, b"T1", b"value")])[1]
