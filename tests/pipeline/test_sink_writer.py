"""The database thread: claims and batches, also when PostgreSQL is unavailable."""

import threading
import time
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from tests.eventually import eventually
from tests.postgres import batches
from tests.postgres.batches import GROUP, TOPIC, TOPIC_ID, connected, is_waiting, log, trade, trades
from tests.proxy import Proxy
from tradepipe.errors import ConfigurationError, DatabaseOutdated, TooManyRefusals, TopicUnusable
from tradepipe.kafka.assignment import Assignment
from tradepipe.pipeline.refusal_limit import RefusalLimit
from tradepipe.pipeline.sink_writer import (
    Claim,
    ClaimGranted,
    DatabaseDown,
    DatabaseUp,
    GroupProgress,
    SinkWriter,
    WriterFailed,
)
from tradepipe.postgres import session
from tradepipe.postgres.batch import BatchResult
from tradepipe.postgres.offsets import Ownership
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.sink_store import OwnershipLost, RangeDropped

DEFERRED = """
    CREATE FUNCTION no_bad() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.book_id = 'BAD' THEN RAISE EXCEPTION 'book BAD is closed'; END IF; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER no_bad AFTER INSERT ON trades
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no_bad()
"""
# A statement of more than two rows takes longer than the server allows.
SLOW_FOR_MANY = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF (SELECT count(*) FROM inserted) > 2 THEN PERFORM pg_sleep(30); END IF; RETURN NULL; END $$;
    CREATE TRIGGER slow AFTER INSERT ON trades REFERENCING NEW TABLE AS inserted
        FOR EACH STATEMENT EXECUTE FUNCTION slow()
"""


UNLIMITED = ("SET LOCAL lock_timeout = 0", "SET LOCAL statement_timeout = 0")
"""For a statement that waits for the writer's locks."""


class WriterWithEvents:
    """A writer, and its events so far."""

    def __init__(self, database, *, max_refused=None, owner="test", **options):
        self.limit = RefusalLimit(max_refused)
        self.writer = SinkWriter(database, group=GROUP, owner=owner, refusal_limit=self.limit, **options)
        self.events = []

    def claim(self, *partitions, start=0, begin=None, topic_id=TOPIC_ID):
        """Claim partitions of a log that begins where the group starts, or before; return the granted claims."""
        begin = start if begin is None else begin
        claims = [Claim(Assignment(each), TOPIC, topic_id, start, begin) for each in partitions]
        before = len(self.of(ClaimGranted))
        self.writer.claim(claims)
        self.until(lambda: len(self.of(ClaimGranted)) == before + len(claims))
        return [granted.result for granted in self.of(ClaimGranted)[before:]]

    def store(self, *claims, entries, **options):
        self.writer.store(batches.batch(*claims, entries=entries, **options))

    def listen(self):
        self.events += self.writer.events()
        return self.events

    def of(self, kind):
        """Return the events of one kind."""
        return [event for event in self.listen() if isinstance(event, kind)]

    def until(self, condition):
        """Wait for a condition on the events; the error that ended the thread is raised."""

        def holds():
            for failed in self.of(WriterFailed):
                raise failed.error
            for dropped in self.of(RangeDropped):
                raise dropped.reason
            return condition()

        return eventually(holds)

    def rest(self):
        """Wait until there is nothing to do."""
        self.until(lambda: not self.writer.is_busy)
        self.listen()


@pytest.fixture
def create_writer():
    """Return a function that starts writers, which are stopped with the test."""
    with ExitStack() as running:

        def create(database, **options):
            created = WriterWithEvents(database, **options)
            created.writer.start()
            running.callback(created.writer.stop, 5.0)
            return created

        yield create


@pytest.fixture
def sink_writer(create_writer, migrated):
    return create_writer(migrated)


@pytest.fixture
def connection(migrated):
    """Open a second connection to the database."""
    with connected(migrated) as connection:
        yield connection


@pytest.fixture
def proxy(migrated):
    with Proxy(int(migrated.rpartition("/")[0].rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
def proxied_writer(create_writer, migrated, proxy):
    """Return a writer that connects through the proxy."""
    server, _, name = migrated.rpartition("/")
    return create_writer(f"{server.rpartition(':')[0]}:{proxy.port}/{name}")


@pytest.fixture
def brief(monkeypatch):
    """Limits a test can wait for."""
    monkeypatch.setattr(session, "_LIMITS", "SET lock_timeout = '200ms'; SET statement_timeout = '400ms'")


def end_writers(connection):
    """End the writers' sessions, as an administrator would; how many there were."""
    others = "application_name LIKE 'tradepipe-sink/%' AND datname = current_database()"
    with connection.begin():
        ended = connection.scalars(text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"))
        return len(ended.all())


def test_claims_are_granted_with_their_next_offsets(sink_writer):
    first, second = sink_writer.claim(0, 1, start=3)

    assert ((Ownership(TOPIC, 0, 1), 3), (Ownership(TOPIC, 1, 1), 3)) == (first, second)


def test_a_batch_is_stored_and_reported(sink_writer, connection):
    claims = sink_writer.claim(0)
    sink_writer.store(*claims, entries=log(trade(), None, trade("T2")))
    sink_writer.rest()

    (stored,) = sink_writer.of(BatchResult)
    assert (2, 0, 1) == batches.counts(stored)
    assert [trade(), trade("T2")] == trades(connection)
    assert 3 == batches.next_offset(connection)


def test_tasks_are_done_in_the_order_they_were_given(sink_writer):
    claims = sink_writer.claim(0)
    sink_writer.store(*claims, entries=log(trade()))
    sink_writer.store(*[claim._replace(next_offset=1) for claim in claims], entries=log(trade("T2"), first=1))
    sink_writer.writer.request_progress(TOPIC)
    sink_writer.rest()

    assert [ClaimGranted, BatchResult, BatchResult, GroupProgress] == [type(event) for event in sink_writer.events]
    assert [GroupProgress({0: 2})] == sink_writer.of(GroupProgress)


def test_an_ownership_that_was_fenced_ends_and_the_rest_is_stored(sink_writer, create_writer, migrated, connection):
    """Only the records read under it are dropped; the new owner reads them again."""
    first, second = sink_writer.claim(0, 1)
    create_writer(migrated, owner="rival").claim(0)

    sink_writer.store(first, second, entries=[*log(trade(), None), *log(trade("T2"), partition=1)])
    sink_writer.rest()

    assert [OwnershipLost, BatchResult] == [type(event) for event in sink_writer.events[2:]]
    assert [OwnershipLost(first.ownership)] == sink_writer.of(OwnershipLost)
    assert ([trade("T2")], {}) == (trades(connection), batches.refused(connection))
    assert [0, 1] == [batches.next_offset(connection, partition) for partition in (0, 1)]


def test_a_batch_of_which_nothing_is_ours_any_more_is_dropped(sink_writer, create_writer, migrated, connection):
    claims = sink_writer.claim(0, 1)
    create_writer(migrated, owner="rival").claim(0, 1)

    sink_writer.store(*claims, entries=[*log(trade()), *log(trade("T2"), partition=1)])
    sink_writer.rest()

    assert [OwnershipLost(claim.ownership) for claim in claims] == sink_writer.of(OwnershipLost)
    assert ([], []) == (sink_writer.of(BatchResult), trades(connection))


def test_a_commit_whose_answer_was_lost_counts_once(proxied_writer, proxy, connection):
    """The stored offset shows that the batch is committed: it is reported, and not stored again."""
    claims = proxied_writer.claim(0)
    proxy.swallow_reply_after(b"COMMIT\0")
    proxied_writer.store(*claims, entries=log(trade(), trade(), None))
    proxied_writer.until(lambda: proxied_writer.of(DatabaseUp))
    proxied_writer.rest()

    assert [(1, 1, 1)] == [batches.counts(stored) for stored in proxied_writer.of(BatchResult)]
    assert ([], [trade()], 3) == (proxied_writer.of(OwnershipLost), trades(connection), batches.next_offset(connection))


def test_a_commit_whose_answer_was_lost_and_whose_partition_was_claimed_ends(
    proxied_writer, proxy, create_writer, migrated
):
    """The new owner continues after the committed batch."""
    claims = proxied_writer.claim(0)
    rival = create_writer(migrated, owner="rival")
    proxy.swallow_reply_after(b"COMMIT\0")
    proxied_writer.store(*claims, entries=log(trade()))
    proxied_writer.until(lambda: proxied_writer.of(DatabaseDown))
    claimed = rival.claim(0)
    proxied_writer.rest()

    assert 1 == claimed[0].next_offset
    assert 1 == len(proxied_writer.of(BatchResult)) + len(proxied_writer.of(OwnershipLost))


def test_a_session_that_ends_in_the_middle_of_a_batch_costs_nothing(sink_writer, connection, migrated):
    claims = sink_writer.claim(0)
    with create_engine_for(migrated, application_name="locking").connect() as locking:
        locking.execute(text("LOCK TABLE trades IN SHARE MODE"))
        sink_writer.store(*claims, entries=log(trade(), None))
        eventually(lambda: is_waiting(connection))
        assert 1 == end_writers(connection)
        sink_writer.until(lambda: sink_writer.of(DatabaseDown))
    sink_writer.rest()

    assert [DatabaseDown, DatabaseUp, BatchResult] == [type(event) for event in sink_writer.events[1:]]
    assert [(1, 0, 1)] == [batches.counts(stored) for stored in sink_writer.of(BatchResult)]
    assert [trade()] == trades(connection)


def test_an_idle_session_that_ended_is_replaced_for_the_next_batch(sink_writer, connection):
    claims = sink_writer.claim(0)
    sink_writer.rest()
    assert 1 == end_writers(connection)

    sink_writer.store(*claims, entries=log(trade()))
    sink_writer.until(lambda: sink_writer.of(BatchResult))

    assert [DatabaseDown, DatabaseUp, BatchResult] == [type(event) for event in sink_writer.events[1:]]


def test_a_batch_that_takes_the_server_too_long_is_stored_in_halves(brief, create_writer, migrated, connection):
    batches.execute(connection, SLOW_FOR_MANY)
    sink_writer = create_writer(migrated)
    claims = sink_writer.claim(0)

    sink_writer.store(*claims, entries=log(*(trade(f"T{number}") for number in range(7))), after=9)
    sink_writer.rest()

    assert [1, 2, 2, 2] == sorted(stored.inserted for stored in sink_writer.of(BatchResult))
    assert [f"T{number}" for number in range(7)] == [each.trade_id for each in trades(connection)]
    assert ([], 9) == (sink_writer.of(DatabaseDown), batches.next_offset(connection))


def test_a_batch_that_takes_longer_than_the_clients_deadline_is_stored_in_halves(
    create_writer, migrated, connection, monkeypatch
):
    """As a batch with many refusals may: it would never finish, and look like an outage."""
    monkeypatch.setattr(session, "_LIMITS", "SET lock_timeout = '200ms'; SET statement_timeout = '1s'")
    batches.execute(connection, SLOW_FOR_MANY)
    sink_writer = create_writer(migrated)
    claims = sink_writer.claim(0)
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 0.5)

    sink_writer.store(*claims, entries=log(*(trade(f"T{number}") for number in range(4))))
    sink_writer.rest()

    assert [2, 2] == [stored.inserted for stored in sink_writer.of(BatchResult)]
    assert 4 == len(trades(connection))


def test_a_single_record_that_takes_too_long_is_an_outage(brief, create_writer, migrated, connection):
    batches.execute(connection, SLOW_FOR_MANY.replace("> 2", "> 0"))
    sink_writer = create_writer(migrated)
    claims = sink_writer.claim(0)

    sink_writer.store(*claims, entries=log(trade()))
    sink_writer.until(lambda: sink_writer.of(DatabaseDown))
    batches.execute(connection, *UNLIMITED, "DROP TRIGGER slow ON trades")
    sink_writer.rest()

    (down,) = sink_writer.of(DatabaseDown)
    assert down.reason.startswith("PostgreSQL took too long for a single record: ")
    assert down.reason.endswith(("no answer within 0.5 s", "canceling statement due to statement timeout"))
    assert (1, 1) == (len(sink_writer.of(BatchResult)), len(sink_writer.of(DatabaseUp)))


def test_a_claim_that_takes_too_long_waits(brief, create_writer, migrated, connection):
    """It has few rows, so their number is not the reason."""
    slow = SLOW_FOR_MANY.replace("> 2", "> 0").replace("ON trades", "ON sink_offsets")
    batches.execute(connection, slow)
    sink_writer = create_writer(migrated)
    sink_writer.writer.claim([Claim(Assignment(0), TOPIC, TOPIC_ID, 0, 0)])

    sink_writer.until(lambda: sink_writer.of(DatabaseDown))
    batches.execute(connection, *UNLIMITED, "DROP TRIGGER slow ON sink_offsets")
    sink_writer.until(lambda: sink_writer.of(ClaimGranted))

    assert 1 == sink_writer.of(ClaimGranted)[0].result.ownership.epoch


def test_a_lock_that_is_held_for_long_is_reported_and_waited_for(brief, create_writer, migrated, connection):
    sink_writer = create_writer(migrated)
    claims = sink_writer.claim(0)
    with create_engine_for(migrated, application_name="locking").connect() as locking:
        locking.execute(text("LOCK TABLE trades IN SHARE MODE"))
        sink_writer.store(*claims, entries=log(trade()))
        sink_writer.until(lambda: sink_writer.of(DatabaseDown))
    sink_writer.rest()

    assert (1, 1) == (len(sink_writer.of(BatchResult)), len(sink_writer.of(DatabaseUp)))


def test_what_a_deferred_constraint_refuses_is_refused_alone(sink_writer, connection):
    """It speaks at COMMIT, of the whole batch; so the batch is stored again with all constraints at once."""
    batches.execute(connection, DEFERRED)
    claims = sink_writer.claim(0)

    sink_writer.store(*claims, entries=log(trade(), trade("T2", book_id="BAD"), trade("T3")))
    sink_writer.rest()

    assert [(2, 0, 1)] == [batches.counts(stored) for stored in sink_writer.of(BatchResult)]
    assert [trade(), trade("T3")] == trades(connection)
    assert {1: ["DATABASE_REFUSED"]} == batches.refused(connection)


def test_two_writers_with_crossing_keys_both_store_all(create_writer, migrated, connection):
    """Neither deadlock nor loss: each key is stored once, by the first of them."""
    one, other = create_writer(migrated), create_writer(migrated)
    (left,), (right,) = one.claim(0), other.claim(1)
    many = [trade(f"T{number:04}") for number in range(500)]

    for round_ in range(4):
        entries = log(*many, first=round_ * 500), log(*reversed(many), first=round_ * 500, partition=1)
        one.store(left._replace(next_offset=round_ * 500), entries=entries[0])
        other.store(right._replace(next_offset=round_ * 500), entries=entries[1])
    one.rest()
    other.rest()

    found = [stored for sink_writer in (one, other) for stored in sink_writer.of(BatchResult)]
    assert (500, 3_500) == (sum(each.inserted for each in found), sum(each.duplicates for each in found))
    assert many == trades(connection)


def test_a_writer_that_refuses_stale_versions_stores_none(create_writer, migrated, connection):
    sink_writer = create_writer(migrated, stale="refuse")

    sink_writer.store(*sink_writer.claim(0), entries=log(trade(version=2), trade(version=1)))
    sink_writer.rest()

    assert {1: ["STALE_VERSION"]} == batches.refused(connection)


def test_the_refusal_limit_stops_before_the_commit(create_writer, migrated, connection):
    sink_writer = create_writer(migrated, max_refused=0.5)
    claims = sink_writer.claim(0)

    sink_writer.store(*claims, entries=log(trade(), *[None] * 200))

    with pytest.raises(TooManyRefusals):
        sink_writer.rest()
    assert ([], {}, 0) == (trades(connection), batches.refused(connection), batches.next_offset(connection))


def test_what_was_refused_before_a_restart_counts(create_writer, migrated):
    first = create_writer(migrated, max_refused=0.5)
    first.store(*first.claim(0), entries=log(*[None] * 99))
    first.rest()
    second = create_writer(migrated, max_refused=0.5)

    second.store(*second.claim(0), entries=log(None, first=99))

    with pytest.raises(TooManyRefusals):
        second.rest()


def test_a_sink_that_would_start_at_the_end_counts_what_its_group_read_before_a_restart(create_writer, migrated):
    """Its group has stored offsets, so it starts behind them, and the end of the log means nothing."""
    first = create_writer(migrated, max_refused=0.5)
    first.store(*first.claim(0), entries=log(*[None] * 99))
    first.rest()
    second = create_writer(migrated, max_refused=0.5)

    second.store(*second.claim(0, start=1_000, begin=0), entries=log(None, first=99))

    with pytest.raises(TooManyRefusals, match="100 of the last 100 records"):
        second.rest()


def test_a_group_that_starts_late_has_not_seen_the_records_before(create_writer, migrated):
    sink_writer = create_writer(migrated, max_refused=0.5)

    sink_writer.store(*sink_writer.claim(0, start=1_000, begin=0), entries=log(*[None] * 100, first=1_000))

    with pytest.raises(TooManyRefusals, match="100 of the last 100 records"):
        sink_writer.rest()


def test_a_wait_lasts_until_an_event_or_the_end_of_the_last_task(sink_writer, connection):
    connection.execute(text("LOCK TABLE sink_offsets"))
    sink_writer.writer.request_progress(TOPIC)

    began = time.monotonic()
    sink_writer.writer.wait(0.1)
    waited = time.monotonic() - began
    connection.rollback()
    eventually(lambda: sink_writer.writer.wait(0.1) or not sink_writer.writer.is_busy)

    assert waited >= 0.1
    assert [GroupProgress({})] == sink_writer.listen()


def test_markers_do_not_end_a_run_of_refusals(create_writer, migrated):
    """A run of refusals continues after the markers of a transaction."""
    sink_writer = create_writer(migrated, max_refused=0.99)
    (claimed,) = sink_writer.claim(0)
    sink_writer.store(claimed, entries=log(*[None] * 99), after=99)
    sink_writer.store(claimed._replace(next_offset=99), entries=[], after=101)

    sink_writer.store(claimed._replace(next_offset=101), entries=log(None, first=101))

    with pytest.raises(TooManyRefusals):
        sink_writer.rest()


def test_a_recreated_topic_ends_the_thread(create_writer, migrated):
    create_writer(migrated).claim(0, topic_id="old")

    with pytest.raises(TopicUnusable):
        create_writer(migrated).claim(0, topic_id="new")


def test_a_database_without_our_tables_ends_the_thread(create_writer, database):
    with pytest.raises(DatabaseOutdated):
        create_writer(database).rest()


def test_a_revision_that_is_taken_back_meanwhile_ends_the_thread(create_writer, migrated, connection):
    sink_writer = create_writer(migrated)
    claims = sink_writer.claim(0)
    batches.execute(connection, "DELETE FROM tradepipe_revision")
    end_writers(connection)

    sink_writer.store(*claims, entries=log(trade()))

    with pytest.raises(ConfigurationError):
        sink_writer.rest()


def test_a_stop_lets_a_batch_finish(sink_writer, connection, migrated):
    claims = sink_writer.claim(0)
    with create_engine_for(migrated, application_name="locking").connect() as locking:
        locking.execute(text("LOCK TABLE trades IN SHARE MODE"))
        sink_writer.store(*claims, entries=log(trade()))
        eventually(lambda: is_waiting(connection))
        stopping = threading.Thread(target=sink_writer.writer.stop, args=(20.0,))
        stopping.start()
    stopping.join(60)

    assert 1 == len(sink_writer.of(BatchResult))
    assert [trade()] == trades(connection)


def test_a_stop_rolls_back_what_does_not_finish_in_time(create_writer, connection, migrated, monkeypatch):
    monkeypatch.setattr(session, "_LIMITS", "SET lock_timeout = '200s'; SET statement_timeout = '200s'")
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 200.0)
    sink_writer = create_writer(migrated)
    claims = sink_writer.claim(0)
    with create_engine_for(migrated, application_name="locking").connect() as locking:
        locking.execute(text("LOCK TABLE trades IN SHARE MODE"))
        sink_writer.store(*claims, entries=log(trade()))
        eventually(lambda: is_waiting(connection))
        began = time.monotonic()
        sink_writer.writer.stop(0.3)

        assert time.monotonic() - began < 100
    eventually(lambda: end_writers(connection) == 0)

    assert ([], []) == (sink_writer.of(BatchResult), trades(connection))
    assert 0 == batches.next_offset(connection)


def test_a_stop_ends_the_wait_for_an_unavailable_database(create_writer, migrated, proxy):
    proxy.close()
    server, _, name = migrated.rpartition("/")
    sink_writer = create_writer(f"{server.rpartition(':')[0]}:{proxy.port}/{name}")
    sink_writer.until(lambda: sink_writer.of(DatabaseDown))
    began = time.monotonic()

    sink_writer.writer.stop(120.0)

    assert time.monotonic() - began < 100


def test_a_writer_that_was_never_started_can_be_stopped(migrated):
    writer = WriterWithEvents(migrated).writer

    writer.stop(1.0)
    writer.stop(1.0)


def test_a_stopped_writer_leaves_no_session(sink_writer, connection):
    sink_writer.claim(0)
    sink_writer.writer.stop(5.0)

    eventually(lambda: end_writers(connection) == 0)


def test_waiting_ends_with_an_event(sink_writer):
    sink_writer.rest()
    began = time.monotonic()
    sink_writer.writer.claim([Claim(Assignment(0), TOPIC, TOPIC_ID, 0, 0)])

    sink_writer.writer.wait(120.0)

    assert time.monotonic() - began < 100
    assert sink_writer.of(ClaimGranted)


def test_an_invalid_value_of_stale_is_reported_at_construction(database):
    with pytest.raises(ConfigurationError, match="stale is 'ignore': it must be accept or refuse"):
        SinkWriter(database, group="g", owner="o", refusal_limit=RefusalLimit(None), stale="ignore")
