"""Any log has the results of a model: inserted, duplicate, collision, stale or refused by the database."""

import uuid
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.postgres.batches import connected, counts, execute, log, store, trade, trades
from tests.postgres.test_batch import CHECKED
from tests.properties import examples
from tradepipe.postgres import migrate
from tradepipe.postgres.insert import DirectCopy
from tradepipe.trade.model import Trade


@pytest.fixture(scope="module")
def shared_connection(session_services):
    """Create one database for all examples of a property: their trade ids differ."""
    server = session_services.postgres.start()
    name = f"test_{uuid.uuid4().hex}"
    url = server.create_database(name)
    migrate.upgrade(url)
    with connected(url) as connection:
        execute(connection, CHECKED)
        # One trade of each example, which its trade ids end with.
        execute(connection, "CREATE UNIQUE INDEX one ON trades (split_part(trade_id, '-', 2)) WHERE book_id = 'ONE'")
        yield connection
    server.drop_database(name)


def fate(stored, of: Trade | None, stale):
    """Compute the result of one record by a model; `stored` is updated."""
    if of is None:
        return "BAD"
    if of.book_id == "BAD":
        return "DATABASE_REFUSED"
    if (before := stored.get((of.trade_id, of.version))) is not None:
        return "duplicate" if before == of else "VERSION_COLLISION"
    if of.book_id == "ONE" and any(each.book_id == "ONE" for each in stored.values()):
        return "DATABASE_REFUSED"
    if stale == "refuse" and any(trade_id == of.trade_id and version > of.version for trade_id, version in stored):
        return "STALE_VERSION"
    stored[of.trade_id, of.version] = of
    return "inserted"


def model_results(stored):
    """Return the result of each record of a batch; one that is neither stored nor refused is a duplicate."""
    refused = {each.record.offset: each.codes[0] for each in stored.refusals}
    inserted = {each.offset for at, each in enumerate(stored.batch.records.records) if at not in stored.skipped}
    offsets = [each.offset for each in stored.batch.records.records]
    return [refused.get(offset, "inserted" if offset in inserted else "duplicate") for offset in offsets]


RECORDS = st.none() | st.tuples(
    st.sampled_from(["T1", "T1", "T2", "T3"]),
    st.integers(1, 4),
    st.sampled_from(["B1", "B1", "B2", "BAD", "ONE", "ONE"]),
)
LOGS = st.lists(st.lists(RECORDS, min_size=1, max_size=14), min_size=1, max_size=4)


@examples(300)
@given(mixes=LOGS, again=st.integers(0, 20), stale=st.sampled_from(["accept", "refuse"]))
def test_every_record_of_any_log_has_the_result_of_the_model(shared_connection, mixes, again, stale):
    """Also when another group reads it again, from the beginning and in batches of another size."""
    example, stored = uuid.uuid4().hex, {}

    def made(record):
        # Which of a stale trade and another one a unique index refuses depends on how a batch is divided.
        is_free = record and stale == "refuse" and record[2] == "ONE"
        return record and trade(f"{record[0]}-{example}", record[1], book_id="B1" if is_free else record[2])

    whole = log(*(made(record) for mix in mixes for record in mix))
    cuts = [sum(map(len, mixes[:number])) for number in range(len(mixes) + 1)]
    once = [whole[begin:end] for begin, end in pairwise(cuts)]
    for group, parts in ((example, once), (f"{example}-fresh", [whole[:again], whole[again:]])):
        direct = DirectCopy()
        for part in filter(None, parts):
            expected = [fate(stored, getattr(entry, "trade", None), stale) for entry in part]

            found = store(shared_connection, *part, group=group, stale=stale, direct=direct)

            assert expected == model_results(found)
            assert len(part) == sum(counts(found))
    assert sorted(stored.values()) == [each for each in trades(shared_connection) if example in each.trade_id]
