"""What must hold while processes die, freeze and come back: every offset's effect exactly once."""

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg2
import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import FAULTS, disturb, running
from tests.proxy import Proxy, port_of
from tradepipe.postgres import session


def the_sink_waits_for_a_lock(pipeline) -> bool:
    return bool(
        pipeline.query(
            "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'tradepipe-sink%%' AND wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
    )


def is_frozen_at_the_lock(pipeline, sink) -> bool:
    """
    Freeze a sink while it waits for a lock; let it continue if it no longer waits by then.

    The wait ends after 5 s, and the sink tries again. Frozen while it sends rows, it would keep the locks of its
    transaction: PostgreSQL cancels no COPY that waits for its client.
    """
    if not the_sink_waits_for_a_lock(pipeline):
        return False
    sink.freeze()
    if the_sink_waits_for_a_lock(pipeline):
        return True
    sink.signal(signal.SIGCONT)
    return False


@pytest.fixture
def lock_trades(pipeline) -> Iterator[Callable[[], None]]:
    """Lock the table of trades, which blocks a batch in its transaction; return a function that unlocks it."""
    connection = psycopg2.connect(pipeline.database)
    connection.cursor().execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
    yield connection.rollback
    connection.close()


@pytest.mark.real
def test_killed_before_its_commit_a_sink_leaves_nothing_of_the_batch(
    pipeline, some_trades, start_sink, lock_trades, journal
):
    trades = pipeline.publish(some_trades(400))
    sink = start_sink()
    eventually(lambda: the_sink_waits_for_a_lock(pipeline))

    sink.kill()
    lock_trades()

    assert ([], {0}) == (pipeline.stored(), set(pipeline.next_offsets().values()))
    assert 400 == pipeline.store().stored
    assert sorted(trades) == pipeline.stored()
    journal()


@pytest.fixture
def delay_commits(pipeline, services) -> Callable[[], AbstractContextManager[Callable[[], bool]]]:
    """
    Within the block each COMMIT is done, but answered only after the block: it waits for a standby that does not exist.

    The block is given a question: does a COMMIT wait now?
    """
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()"

    @contextmanager
    def block() -> Iterator[Callable[[], bool]]:
        with services.postgres.setting("synchronous_standby_names", "nobody"):
            yield lambda: bool(pipeline.query(waiting))

    return block


@pytest.mark.real
def test_a_sink_that_is_killed_after_its_commit_has_stored_the_batch_and_its_offsets(
    pipeline, some_trades, start_sink, delay_commits, journal
):
    sink = start_sink()
    eventually(lambda: len(pipeline.next_offsets()) == 4)
    with delay_commits() as waiting:
        trades = pipeline.publish(some_trades(400))
        eventually(waiting)
        sink.kill()
    eventually(pipeline.stored)
    before = len(pipeline.stored())

    counts = pipeline.store()

    assert (400 - before, 0) == (counts.stored, counts.duplicates)
    assert sorted(trades) == pipeline.stored()
    journal()


@pytest.mark.real
def test_a_frozen_sink_wakes_up_and_writes_nothing(pipeline, some_trades, start_sink, lock_trades, journal):
    """It is frozen in the middle of a transaction; its partitions go to another sink, which stores all."""
    trades = pipeline.publish(some_trades(400))
    frozen = start_sink("--batch-rows", "50")
    eventually(lambda: is_frozen_at_the_lock(pipeline, frozen))
    lock_trades()
    other = start_sink()
    eventually(lambda: len(pipeline.stored()) == 400)
    epochs = pipeline.query("SELECT partition, epoch, next_offset FROM sink_offsets ORDER BY 1")

    frozen.signal(signal.SIGCONT)
    eventually(lambda: "claimed by another sink" in frozen.log.read_text() or "revoked" in frozen.log.read_text())
    more = pipeline.publish([trade._replace(book_id="LATER", version=trade.version + 500) for trade in trades[:50]])
    eventually(lambda: len(pipeline.stored()) == 450)

    assert {2} == {epoch for _, epoch, _ in epochs}
    assert sorted(trades + more) == pipeline.stored()
    assert [] == pipeline.refused()
    for sink in (frozen, other):
        sink.signal(signal.SIGTERM)
        assert 0 == sink.wait(200)
    journal()


@pytest.mark.real
def test_a_rebalance_under_load_loses_and_duplicates_nothing(pipeline, start_sink, some_trades, journal):
    trades = some_trades(6_000)
    publishing = threading.Thread(target=lambda: [pipeline.publish(trades[n : n + 500]) for n in range(0, 6_000, 500)])
    publishing.start()
    sinks = [start_sink()]
    for share in (1_000, 2_000, 3_000):
        eventually(lambda share=share: len(pipeline.stored()) >= share)
        sinks.append(start_sink())
    sinks[0].signal(signal.SIGTERM)
    sinks[1].kill()
    publishing.join()

    eventually(lambda: len(pipeline.stored()) == 6_000)
    assert 0 == sinks[0].wait(200)
    assert sorted(trades) == pipeline.stored()
    journal()


def count_stored(pipeline):
    return pipeline.query("SELECT count(*) FROM trades")[0][0]


@pytest.mark.real
def test_killed_again_and_again_sinks_store_every_trade_once(pipeline, start_sink, some_trades, journal):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    moments = random.Random(seed)
    trades = pipeline.publish(some_trades(25_000))
    for _ in range(3):
        sink, share = start_sink("--batch-rows", "200"), count_stored(pipeline) + moments.randrange(1, 5_000)
        # All at most: a sink may have stored the rest before its kill.
        wanted = min(share, len(trades))
        eventually(lambda wanted=wanted: count_stored(pipeline) >= wanted, every=moments.uniform(0.005, 0.05))
        sink.kill()

    pipeline.store()

    assert sorted(trades) == pipeline.stored()
    assert [] == pipeline.refused()
    journal()


@pytest.mark.real
def test_a_crash_of_the_database_pauses_the_sink_which_resumes_on_its_own(pipeline, some_trades, services, journal):
    trades = some_trades(2_000)
    pipeline.publish(trades[:1_000])
    sink = pipeline.sink(batch_rows=100)
    running = threading.Thread(target=sink.run)
    running.start()
    eventually(lambda: sink.counts.stored > 0)
    services.postgres.stop("immediate")
    pipeline.publish(trades[1_000:])
    services.postgres.start()

    eventually(lambda: sink.counts.stored == 2_000)
    sink.stop()
    running.join(60)
    assert 0 == sink.counts.duplicates
    assert sorted(trades) == pipeline.stored()
    journal()


@pytest.mark.real
@pytest.mark.timeout(400)
def test_broker_crashes_restarts_and_freezes_never_end_the_sink(pipeline, some_trades, own_kafka, journal):
    trades = some_trades(3_000)
    share = len(trades) // FAULTS
    with running(pipeline.sink(batch_rows=20)) as sink:
        disturb(
            own_kafka,
            lambda: sink.counts.stored,
            lambda number: pipeline.publish(trades[number * share : (number + 1) * share]),
        )
        eventually(lambda: sink.counts.stored == len(trades))

    assert 0 == sink.counts.duplicates
    assert sorted(trades) == pipeline.stored()
    journal()


@pytest.mark.real
def test_an_idle_sink_reports_an_unavailable_broker(pipeline, some_trades, own_kafka):
    """It looks like a log without new records, so the sink queries the brokers."""
    pipeline.publish(some_trades(10))
    sink = pipeline.sink()
    running = threading.Thread(target=sink.run)
    running.start()
    eventually(lambda: sink.lag == 0)
    assert sink.waiting_for is None
    own_kafka.kill()
    try:
        eventually(lambda: sink.waiting_for == "Kafka")
    finally:
        own_kafka.start()

    eventually(lambda: sink.waiting_for is None)
    sink.stop()
    running.join(60)


def test_a_topic_id_that_becomes_known_late_is_stored_without_waiting_for_a_record(pipeline, some_trades):
    pipeline.publish(some_trades(10))
    sink = pipeline.sink()
    running = threading.Thread(target=sink.run)
    running.start()
    eventually(lambda: sink.lag == 0)
    pipeline.execute("UPDATE sink_offsets SET topic_id = NULL")

    sink._reader.topic_id_watch.topic_id = "learned"

    eventually(lambda: {("learned",)} == set(pipeline.query("SELECT topic_id FROM sink_offsets")))
    sink.stop()
    running.join(60)
    assert 10 == sink.counts.stored


def test_a_commit_without_an_answer_is_resolved_and_counted_once(pipeline, some_trades, journal, caplog):
    trades = pipeline.publish(some_trades(300))
    with Proxy(port_of(pipeline.database)) as proxy:
        batches = []

        def arm(stored):
            """Arm the proxy after the first batch, so that it drops the answer to a later one."""
            batches.append(stored)
            if len(batches) == 1:
                proxy.swallow_reply_after(b"COMMIT\0")  # not BEGIN ISOLATION LEVEL READ COMMITTED

        counts = pipeline.store(database=proxy.instead_of(pipeline.database), batch_rows=50, on_stored=arm)

    assert "PostgreSQL is unavailable" in caplog.text
    assert (300, 0) == (counts.stored, counts.duplicates)
    assert sorted(trades) == pipeline.stored()
    journal()


@pytest.fixture
def short_deadline(monkeypatch):
    """Cut the connection of a transaction after one second instead of twenty."""
    monkeypatch.setattr(session, "CLIENT_DEADLINE", 1.0)


@pytest.mark.real
def test_a_frozen_database_is_disconnected_and_nothing_is_lost(pipeline, some_trades, services, short_deadline, caplog):
    """Only the client's deadline ends the wait for a frozen backend."""
    trades = some_trades(1_000)
    pipeline.publish(trades[:500])
    sink = pipeline.sink(batch_rows=50)
    running = threading.Thread(target=sink.run)
    running.start()
    eventually(lambda: sink.counts.stored > 0)
    services.postgres.freeze()
    pipeline.publish(trades[500:])
    eventually(lambda: "PostgreSQL is unavailable" in caplog.text)
    services.postgres.thaw()

    eventually(lambda: sink.counts.stored == 1_000)
    sink.stop()
    running.join(60)
    assert 0 == sink.counts.duplicates
    assert sorted(trades) == pipeline.stored()


def test_no_record_is_refused_while_the_registry_is_unavailable(pipeline, some_trades):
    trades = pipeline.publish(some_trades(100))
    with Proxy(port_of(pipeline.registry_url)) as proxy:
        proxy.blackhole()
        sink = pipeline.sink(registry=proxy.instead_of(pipeline.registry_url))
        heal = threading.Timer(3, proxy.heal)
        heal.start()
        counts = sink.run(until_end=True)
        heal.join()

    assert (100, {}) == (counts.stored, counts.refused)
    assert sorted(trades) == pipeline.stored()


@pytest.mark.real
def test_a_stop_during_an_outage_ends_the_sink_in_time(pipeline, some_trades, start_sink, services):
    pipeline.publish(some_trades(10))
    sink = start_sink()
    eventually(lambda: len(pipeline.stored()) == 10)
    services.postgres.stop("immediate")
    try:
        pipeline.publish(some_trades(20)[10:])
        eventually(lambda: "PostgreSQL is unavailable" in sink.log.read_text())
        sink.signal(signal.SIGTERM)

        assert 0 == sink.wait(200)
    finally:
        services.postgres.start()


@pytest.mark.real
def test_a_second_signal_ends_the_sink_at_once(pipeline, some_trades, start_sink, lock_trades):
    pipeline.publish(some_trades(10))
    sink = start_sink()
    eventually(lambda: the_sink_waits_for_a_lock(pipeline))

    sink.signal(signal.SIGTERM)
    eventually(lambda: "second" in sink.log.read_text())
    sink.signal(signal.SIGTERM)

    assert 128 + signal.SIGTERM == sink.wait(200)
