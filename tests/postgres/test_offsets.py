"""Claims and compare-and-set of stored offsets."""

import threading
from contextlib import ExitStack

import pytest
from sqlalchemy import select, text

from tests.eventually import eventually
from tests.postgres.batches import GROUP, TOPIC, batch, claim, connected, log, next_offset, trade, trades
from tradepipe.errors import DatabaseOutdated, TopicUnusable
from tradepipe.postgres import offsets
from tradepipe.postgres.batch import store
from tradepipe.postgres.offsets import CommitOutcome, Fenced, OffsetRange, Ownership
from tradepipe.postgres.session import open_transaction
from tradepipe.postgres.tables import SINK_OFFSETS


@pytest.fixture
def connections(migrated):
    """Return a function that opens connections."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(connected(migrated))


@pytest.fixture
def connection(connections):
    return connections()


def claimed(connection, partition=0, **given):
    with connection.begin():
        return claim(connection, partition, **given)


def advance(connection, *spans, group=GROUP):
    with connection.begin():
        offsets.advance(connection, group, spans)


def settle(connection, *spans):
    with connection.begin():
        return offsets.resolve_unknown_commit(connection, GROUP, spans)


def test_the_first_claim_begins_at_the_start(connection):
    assert (Ownership(TOPIC, 0, 1), 40) == claimed(connection, start=40)


def test_every_claim_is_a_new_epoch_and_resumes_at_the_offset_of_the_group(connection):
    first = claimed(connection, start=40)
    advance(connection, OffsetRange(first.ownership, 40, 50))

    assert (Ownership(TOPIC, 0, 2), 50) == claimed(connection, start=99)


def test_a_claim_without_a_batch_keeps_the_offset(connection):
    claimed(connection, start=7)

    assert 7 == claimed(connection, start=0).next_offset


def test_partitions_and_groups_are_claimed_apart(connection):
    found = [
        claimed(connection, 0, start=1),
        claimed(connection, 1, start=2),
        claimed(connection, 0, start=3, group="other"),
    ]

    assert [(1, 1), (1, 2), (1, 3)] == [(each.ownership.epoch, each.next_offset) for each in found]


def test_a_claim_stores_its_owner(connection):
    claimed(connection, owner="one")
    claimed(connection, owner="two")

    assert "two" == connection.scalar(select(SINK_OFFSETS.columns.owner))


def test_a_second_claim_fences_the_first(connection):
    first = claimed(connection)
    claimed(connection)

    with pytest.raises(Fenced, match=r"trades\[0\] was claimed by another sink or reset: epoch 1 has ended") as raised:
        advance(connection, OffsetRange(*first, 5))

    assert (first.ownership, 0) == (raised.value.ownership, next_offset(connection))


@pytest.mark.parametrize("before", [0, 9, 11], ids=["the start", "one less", "one more"])
def test_an_offset_moves_from_exactly_where_it_is(connection, before):
    owner = claimed(connection).ownership
    advance(connection, OffsetRange(owner, 0, 10))

    with pytest.raises(Fenced):
        advance(connection, OffsetRange(owner, before, 20))

    assert 10 == next_offset(connection)


def test_the_partitions_of_a_batch_move_together_or_not_at_all(connection):
    first, second = claimed(connection, 0), claimed(connection, 1)
    claimed(connection, 1)

    with pytest.raises(Fenced) as raised:
        advance(connection, OffsetRange(*first, 5), OffsetRange(*second, 5))

    assert second.ownership == raised.value.ownership
    assert [0, 0] == [next_offset(connection, partition) for partition in (0, 1)]


def test_an_offset_of_another_group_does_not_move(connection):
    owner = claimed(connection).ownership

    with pytest.raises(Fenced):
        advance(connection, OffsetRange(owner, 0, 10), group="other")


def test_the_offset_of_an_unclaimed_partition_is_not_moved(connection):
    with pytest.raises(Fenced):
        advance(connection, OffsetRange(Ownership(TOPIC, 0, 1), 0, 10))


def test_a_recreated_topic_is_not_claimed(connection):
    claimed(connection, topic_id="old", start=7)

    with pytest.raises(TopicUnusable, match=r"topic id old, and the topic's id is now new; .* offsets reset"):
        claimed(connection, topic_id="new")

    assert (Ownership(TOPIC, 0, 2), 7) == claimed(connection, topic_id="old")


def test_a_recreated_topic_is_claimed_after_a_reset(connection):
    """The command that the message recommends lets the sink resume."""
    claimed(connection, topic_id="old", start=7)
    with connection.begin():
        offsets.reset(connection, GROUP, topic=TOPIC, topic_id="new", next_offsets={0: 3}, owner="a person")

    assert (Ownership(TOPIC, 0, 3), 3) == claimed(connection, topic_id="new")


def test_a_topic_id_that_was_unknown_is_adopted(connection):
    claimed(connection, topic_id=None)
    claimed(connection, topic_id="an id")

    with pytest.raises(TopicUnusable):
        claimed(connection, topic_id="another")


def test_a_topic_id_that_becomes_known_after_the_claim_is_stored_with_the_next_batch(connection):
    claims = [claimed(connection, part, topic_id=id) for part, id in enumerate([None, None, "other"])]
    with connection.begin():
        offsets.advance(connection, GROUP, [OffsetRange(*each, 0) for each in claims[1:]], topic_id="an id")

    columns = SINK_OFFSETS.columns
    stored = connection.execute(select(columns.topic_id).order_by(columns.partition))
    assert [None, "an id", "other"] == list(stored.scalars())


def test_an_unavailable_topic_id_is_not_requested(connection):
    claimed(connection, topic_id="an id")
    claimed(connection, topic_id=None)

    with pytest.raises(TopicUnusable):
        claimed(connection, topic_id="another")


def test_the_stored_offsets_of_a_group_are_read_by_partition(connection):
    claimed(connection, 0, start=4)
    claimed(connection, 2, start=6)
    claimed(connection, 1, group="other")
    claimed(connection, 3, topic="others", topic_id=None)

    assert {0: 4, 2: 6} == offsets.stored_offsets(connection, GROUP, TOPIC)


A, B = (OffsetRange(Ownership(TOPIC, partition, 1), 0, 10) for partition in (0, 1))
"""The range of a batch whose COMMIT got no answer."""

SETTLEMENTS = {
    "committed": ({0: (1, 10)}, [A], CommitOutcome(True, ())),
    "not committed": ({0: (1, 0)}, [A], CommitOutcome(False, ())),
    "claimed by another": ({0: (2, 0)}, [A], CommitOutcome(False, (A.ownership,))),
    "claimed by another, who went on": ({0: (2, 30)}, [A], CommitOutcome(False, (A.ownership,))),
    "moved by hand": ({0: (1, 5)}, [A], CommitOutcome(False, (A.ownership,))),
    "gone": ({}, [A], CommitOutcome(False, (A.ownership,))),
    "both committed": ({0: (1, 10), 1: (1, 10)}, [A, B], CommitOutcome(True, ())),
    "neither committed": ({0: (1, 0), 1: (1, 0)}, [A, B], CommitOutcome(False, ())),
    "committed, then one claimed": ({0: (1, 10), 1: (2, 10)}, [A, B], CommitOutcome(True, (B.ownership,))),
    "not committed, then one claimed": ({0: (2, 0), 1: (1, 0)}, [A, B], CommitOutcome(False, (A.ownership,))),
    "both claimed": ({0: (2, 0), 1: (3, 0)}, [A, B], CommitOutcome(False, (A.ownership, B.ownership))),
}


@pytest.mark.parametrize(("rows", "spans", "settlement"), SETTLEMENTS.values(), ids=SETTLEMENTS)
def test_an_unanswered_commit_is_resolved_by_the_stored_offsets(connection, rows, spans, settlement):
    """A batch is one transaction: one partition that moved under our epoch proves all of it."""
    for partition, (epoch, offset) in rows.items():
        with connection.begin():
            claim(connection, partition)
            connection.execute(
                text("UPDATE sink_offsets SET epoch = :epoch, next_offset = :offset WHERE partition = :partition"),
                {"epoch": epoch, "offset": offset, "partition": partition},
            )

    assert settlement == settle(connection, *spans)


def test_a_partition_that_was_not_to_move_proves_no_commit(connection):
    """For example a batch that only stores the topic id: its range is the same before and after COMMIT."""
    still, moving = claimed(connection, 0, start=7), claimed(connection, 1)

    assert CommitOutcome(False, ()) == settle(connection, OffsetRange(*still, 7), OffsetRange(*moving, 10))


class Racer(threading.Thread):
    """A thread that runs a function and keeps its result."""

    def __init__(self, action):
        super().__init__(daemon=True)
        self._action = action
        self.result = None
        self.start()

    def run(self):
        self.result = self._action()

    def finished(self):
        self.join(60)
        return self.result


def wait_for_a_lock(connection):
    """Wait until a session waits for a lock of this database."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    def is_waiting():
        found = connection.scalar(text(waits))
        connection.rollback()
        return found

    eventually(is_waiting)


def test_a_claim_waits_for_a_batch_that_is_being_committed(connections):
    """And resumes after it: nothing is stored twice or skipped."""
    owner, rival, watcher = connections(), connections(), connections()
    first = claimed(owner)
    with owner.begin():
        store(owner, batch(first, entries=log(trade(), trade("T2"))))
        racer = Racer(lambda: claimed(rival))
        wait_for_a_lock(watcher)

    assert (Ownership(TOPIC, 0, 2), 2) == racer.finished()


def test_a_batch_waits_for_a_claim_and_is_fenced_by_it(connections):
    owner, rival, watcher = connections(), connections(), connections()
    first = claimed(owner)

    def late():
        with pytest.raises(Fenced), owner.begin():
            store(owner, batch(first, entries=log(trade())))
        return "fenced"

    with rival.begin():
        claim(rival)
        racer = Racer(late)
        wait_for_a_lock(watcher)

    assert "fenced" == racer.finished()
    assert [] == trades(watcher)


def test_settling_waits_for_a_commit_that_is_still_under_way(connections):
    """The server may still commit a transaction that its client has abandoned."""
    owner, again, watcher = connections(), connections(), connections()
    first = claimed(owner)
    with owner.begin():
        store(owner, batch(first, entries=log(trade())))
        racer = Racer(lambda: settle(again, OffsetRange(*first, 1)))
        wait_for_a_lock(watcher)

    assert CommitOutcome(True, ()) == racer.finished()


def test_two_concurrent_claims_get_two_epochs(connections):
    one, other, watcher = connections(), connections(), connections()
    with one.begin():
        first = claim(one)
        racer = Racer(lambda: claimed(other))
        wait_for_a_lock(watcher)

    assert {1, 2} == {first.ownership.epoch, racer.finished().ownership.epoch}


def test_offsets_of_a_database_without_tables_are_not_touched(database):
    with pytest.raises(DatabaseOutdated), open_transaction(database, application_name="test", seconds=10.0):
        pass
