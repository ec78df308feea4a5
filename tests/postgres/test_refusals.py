"""Records that were not stored, kept."""

import pytest
from sqlalchemy import select

from tests.postgres.batches import GROUP, TOPIC, TOPIC_ID, count, refusal
from tradepipe.contract.refusal import Violation
from tradepipe.postgres import refusals
from tradepipe.postgres.tables import TRADE_REFUSALS


def record(connection, *given, group=GROUP, topic_id=TOPIC_ID):
    with connection.begin():
        refusals.record(connection, given, group=group, topic_id=topic_id)


def between(connection, first, end, **given):
    given = {"topic": TOPIC, "topic_id": TOPIC_ID, "partition": 0, **given}
    with connection.begin():
        return refusals.between(connection, first, end, **given)


def test_nothing_to_keep_is_kept_without_a_word_to_the_database(connection):
    record(connection)

    assert 0 == count(connection, TRADE_REFUSALS)


def test_a_refusal_has_all_its_codes_with_their_details_in_order(connection):
    both = (Violation("VERSION", "it is 0"), Violation("BOOK_ID", "it is empty"))
    record(connection, refusal(3)._replace(violations=both))

    row = connection.execute(select(TRADE_REFUSALS.columns.codes, TRADE_REFUSALS.columns.details)).one()

    assert (["VERSION", "BOOK_ID"], ["it is 0", "it is empty"]) == tuple(row)


def test_the_bytes_of_a_record_are_kept_as_they_were(connection):
    every = bytes(range(256))
    record(connection, refusal(3)._replace(record=refusal(3).record._replace(key=every, value=every[::-1])))

    row = connection.execute(select(TRADE_REFUSALS.columns.key, TRADE_REFUSALS.columns.value)).one()

    assert (every, every[::-1]) == (bytes(row.key), bytes(row.value))


def test_no_bytes_and_empty_bytes_stay_apart(connection):
    record(connection, refusal(3)._replace(record=refusal(3).record._replace(key=None, value=b"")))

    row = connection.execute(select(TRADE_REFUSALS.columns.key, TRADE_REFUSALS.columns.value)).one()

    assert (None, b"") == (row.key, bytes(row.value))


def test_the_same_record_refused_again_is_kept_once(connection):
    record(connection, refusal(3, detail="first"), refusal(3, detail="second"))
    record(connection, refusal(3, detail="third"), group="other")

    assert [["first"]] == connection.scalars(select(TRADE_REFUSALS.columns.details)).all()


@pytest.mark.parametrize("topic_id", ["another", None], ids=["created anew", "unknown"])
def test_a_record_of_another_topic_of_the_same_name_is_another(connection, topic_id):
    record(connection, refusal(3))
    record(connection, refusal(3), topic_id=topic_id)

    assert [3] == between(connection, 0, 10, topic_id=topic_id)
    assert 2 == count(connection, TRADE_REFUSALS)


def test_the_refused_offsets_of_a_range_are_told_in_order(connection):
    record(connection, *(refusal(offset) for offset in (9, 4, 7, 3, 10)), refusal(5, partition=1))

    assert [4, 7, 9] == between(connection, 4, 10)
    assert [5] == between(connection, 0, 100, partition=1)
    assert [] == between(connection, 0, 100, topic="others")


def test_a_range_may_begin_before_the_log(connection):
    """As it does for a partition with fewer records than a window has."""
    record(connection, refusal(0))

    assert [0] == between(connection, -1_000, 1)
