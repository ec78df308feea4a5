"""A sink with several connections: what is stored at the same time, and what an outage of one of them does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import Connection, make_url, text

from tests.eventually import eventually
from tests.pipeline.test_sink_writer import WriterWithEvents, end_writers
from tests.postgres import batches
from tests.postgres.batches import connected, log, trade, trades
from tests.proxy import Proxy, port_of
from tradepipe.errors import ConfigurationError
from tradepipe.pipeline.refusal_limit import RefusalLimit
from tradepipe.pipeline.sink_writer import DatabaseDown, DatabaseUp, Event, GroupProgress, SinkWriter
from tradepipe.postgres import migrate, reconnect
from tradepipe.postgres.batch import BatchResult
from tradepipe.postgres.offsets import ClaimResult
from tradepipe.postgres.reconnect import StopRequested
from tradepipe.postgres.sink_store import OwnershipLost, SinkStore
from tradepipe.postgres.tables import TRADES
from tradepipe.trade.model import Trade

CLOSED_PORT = 1

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tradepipe-sink/%'"
FIRST_SESSION = (
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tradepipe-sink/%' "
    "AND datname = current_database() ORDER BY backend_start LIMIT 1"
)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def connection(database) -> Iterator[Connection]:
    """Migrate the database, and open a connection beside those of the writers."""
    migrate.upgrade(database)
    with connected(database) as connection:
        yield connection


@pytest.fixture
def writer(connection, database) -> Iterator[WriterWithEvents]:
    """Run a writer with two connections."""
    with running(database) as writer:
        yield writer


@contextmanager
def running(database: str) -> Iterator[WriterWithEvents]:
    created = WriterWithEvents(database, connections=2)
    created.writer.start()
    yield created
    created.writer.stop(5.0)


@contextmanager
def held(database: str, trade_id: str) -> Iterator[None]:
    """Make whoever stores a trade wait, as for another sink that has not committed it yet."""
    with connected(database) as connection:
        source = {"source_topic": "other", "source_partition": 0, "source_offset": 0, "schema_id": 1}
        connection.execute(TRADES.insert().values(**trade(trade_id)._asdict(), **source))
        yield
        connection.rollback()


def count(connection: Connection, query: str) -> int:
    with connection.begin():
        return int(connection.scalar(text(query)))


def ends(writer: WriterWithEvents) -> list[dict[int, int]]:
    """Return how far each batch moved the offsets, in the order of the commits."""
    return [{each.ownership.partition: each.end for each in stored.batch.ranges} for stored in writer.of(BatchResult)]


def store_on_both(
    writer: WriterWithEvents, connection: Connection, first: ClaimResult, second: ClaimResult, *held: Trade | None
) -> None:
    """Queue a batch of each partition with a trade that is held, and wait until both connections wait for it."""
    for claim, partition in ((first, 0), (second, 1)):
        writer.store(claim, entries=log(*held, first=claim.next_offset, partition=partition))
    eventually(lambda: count(connection, WAITING) == 2)


def test_a_batch_that_waits_does_not_delay_other_partitions(writer, connection, database):
    first, second = writer.claim(0, 1)
    with held(database, "T1"):
        writer.store(first, entries=log(trade("T1")))
        eventually(lambda: count(connection, WAITING))

        writer.store(second, entries=log(trade("T2"), partition=1))
        writer.until(lambda: ends(writer) == [{1: 1}])
        assert writer.writer.is_busy
    writer.rest()

    assert [{1: 1}, {0: 1}] == ends(writer)
    assert [trade("T1"), trade("T2")] == trades(connection)


def test_batches_of_one_partition_are_stored_one_after_the_other(writer, connection, database):
    """Although a connection is idle: the second would find an offset that the first has not moved yet."""
    first, second = writer.claim(0, 1)
    with held(database, "T1"):
        writer.store(first, entries=log(trade("T1")))
        eventually(lambda: count(connection, WAITING))
        both = [*log(trade("T2"), first=1), *log(trade("T3"), partition=1)]
        writer.store(first._replace(next_offset=1), second, entries=both)
        writer.store(second._replace(next_offset=1), entries=log(trade("T4"), first=1, partition=1))
        idle = writer.writer.idle_connections
    writer.rest()

    assert (0, [{0: 1}, {0: 2, 1: 1}, {1: 2}]) == (idle, ends(writer))


def test_a_task_that_is_no_batch_waits_for_the_batches_before_it(writer, connection, database):
    first, second = writer.claim(0, 1)
    with held(database, "T1"):
        writer.store(first, entries=log(trade("T1")))
        eventually(lambda: count(connection, WAITING))
        writer.writer.request_progress(batches.TOPIC)
        writer.store(second, entries=log(trade("T2"), partition=1))
    writer.rest()

    assert [GroupProgress({0: 1, 1: 0})] == writer.of(GroupProgress)
    assert [{0: 1}, {1: 1}] == ends(writer)


def test_a_writer_without_two_batches_at_once_has_one_connection(writer, connection):
    claims = writer.claim(0, 1)
    for offset in range(3):
        writer.store(
            *[claim._replace(next_offset=offset) for claim in claims],
            entries=[*log(trade(f"T{offset}"), first=offset), *log(trade(f"U{offset}"), first=offset, partition=1)],
        )
        writer.rest()

    assert 6 == len(trades(connection))
    assert 1 == count(connection, f"{SESSIONS} AND datname = current_database()")


def test_the_idle_connections_are_those_that_could_store_another_batch(writer, connection, database):
    first, second = writer.claim(0, 1)
    writer.rest()
    idle = [writer.writer.idle_connections]
    with held(database, "T1"):
        writer.store(first, entries=log(trade("T1")))
        idle.append(writer.writer.idle_connections)
        partitions = [writer.writer.partitions]
        writer.store(second, entries=log(trade("T1"), partition=1))
        idle.append(writer.writer.idle_connections)
        partitions.append(writer.writer.partitions)
    writer.rest()

    assert ([2, 1, 0], [{0}, {0, 1}]) == (idle, partitions)


def test_an_outage_of_all_connections_is_reported_once(writer, connection, database):
    first, second = writer.claim(0, 1)
    with held(database, "T1"):
        store_on_both(writer, connection, first, second, trade("T1"))
        assert 2 == end_writers(connection)
        eventually(lambda: count(connection, WAITING) == 2)
    writer.rest()

    # Not that our connection is closed.
    reason = "PostgreSQL is unavailable: server closed the connection unexpectedly; its log has the reason"
    assert ([DatabaseDown(reason)], 1) == (writer.of(DatabaseDown), len(writer.of(DatabaseUp)))
    assert [(0, 1, 0), (1, 0, 0)] == sorted(batches.counts(stored) for stored in writer.of(BatchResult))


def test_an_outage_that_an_idle_connection_did_not_notice_is_no_other_one(writer, connection, database):
    first, second = writer.claim(0, 1)
    with held(database, "T1"):
        store_on_both(writer, connection, first, second, trade("T1"))
    writer.rest()
    assert 2 == end_writers(connection)

    writer.store(first._replace(next_offset=1), entries=log(trade("T2"), first=1))
    writer.rest()
    with held(database, "T3"):
        store_on_both(writer, connection, first._replace(next_offset=2), second._replace(next_offset=1), trade("T3"))
    writer.rest()

    assert (1, 1) == (len(writer.of(DatabaseDown)), len(writer.of(DatabaseUp)))
    assert [trade(f"T{number}") for number in (1, 2, 3)] == trades(connection)


def test_a_sink_goes_on_without_a_further_connection_that_is_refused(connection, database, caplog):
    """As by a server that has no session left: the first connection stores all."""
    with Proxy(port_of(database)) as proxy, running(proxy.instead_of(database)) as writer:
        first, second = writer.claim(0, 1)
        proxy.target = CLOSED_PORT
        with held(database, "T1"):
            writer.store(first, entries=log(trade("T1")))
            writer.store(second, entries=log(trade("T2"), partition=1))
            eventually(lambda: "the sink continues without it" in caplog.text)
            idle = writer.writer.idle_connections
        writer.rest()

        assert (0, [{0: 1}, {1: 1}], []) == (idle, ends(writer), writer.of(DatabaseDown))
    assert "could not open a further connection" in caplog.text


class LimitedRole:
    """A role that may have two connections at first: an administrator's are not limited."""

    def __init__(self, connection: Connection, database: str) -> None:
        self._connection = connection
        self._name = f"few_{make_url(database).database}"
        self._execute(
            f"CREATE ROLE {self._name} LOGIN PASSWORD 'few' CONNECTION LIMIT 2",
            f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {self._name}",
        )
        self.url = make_url(database).set(username=self._name, password="few").render_as_string(hide_password=False)

    def set_limit(self, connections: int) -> None:
        self._execute(f"ALTER ROLE {self._name} CONNECTION LIMIT {connections}")

    def drop(self) -> None:
        self._execute(f"DROP OWNED BY {self._name}", f"DROP ROLE {self._name}")

    def _execute(self, *statements: str) -> None:
        with self._connection.begin():
            for statement in statements:
                self._connection.execute(text(statement))


@pytest.fixture
def role(connection, database) -> Iterator[LimitedRole]:
    created = LimitedRole(connection, database)
    yield created
    created.drop()


def test_the_begin_and_the_end_of_outages_are_reported_in_turn_although_two_connections_have_them(monkeypatch):
    """
    A sink that saw the end of an outage after the begin of the next would be ready while it waits.

    Whenever something is about to be reported of one connection, the other one is lost: at once, or, if it has to wait
    for the writer's lock, afterwards.
    """
    writer = SinkWriter("postgresql://h/d", group="g", owner="o", refusal_limit=RefusalLimit(None), connections=2)
    one, two = writer._stores
    for store in (one, two):
        store.stop()  # so that it does not wait between tries
    publish, blocked, other = writer._publish, list[SinkStore](), two

    def lose(store: SinkStore) -> None:
        with suppress(StopRequested):
            store.report_outage("gone")

    def recover(store: SinkStore) -> None:
        store.retry(lambda: None)

    def lose_unless_locked(store: SinkStore) -> None:
        if writer._changed.acquire(blocking=False):
            writer._changed.release()
            lose(store)
        else:
            blocked.append(store)

    def publish_while_the_other_is_lost(event: Event) -> None:
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=lose_unless_locked, args=(other,))
            thread.start()
            thread.join()
        publish(event)

    monkeypatch.setattr(writer, "_publish", publish_while_the_other_is_lost)
    for store, act in ((one, lose), (one, recover), (two, recover), (one, recover)):
        other = two if store is one else one
        act(store)
        while blocked:
            lose(blocked.pop())

    assert [DatabaseDown, DatabaseUp, DatabaseDown, DatabaseUp, DatabaseDown] == list(map(type, writer.events()))


REFUSED = "could not open a further connection, the sink continues without it: PostgreSQL is unavailable: "


def test_a_sink_goes_on_without_a_connection_that_is_refused_after_an_outage(role, connection, database, caplog):
    """Whichever it is: the other stores its batch, and grants claims, which wait for the batches before them."""
    with running(role.url) as writer:
        first, second = writer.claim(0, 1)
        with held(database, "T1"):
            store_on_both(writer, connection, first, second, trade("T1"))
            role.set_limit(1)
            assert 2 == end_writers(connection)
        writer.claim(2)
        writer.rest()

    assert [(0, 1, 0), (1, 0, 0)] == sorted(batches.counts(stored) for stored in writer.of(BatchResult))
    assert (1, 1) == (len(writer.of(DatabaseDown)), len(writer.of(DatabaseUp)))
    (refused,) = [each for each in caplog.messages if each.startswith(REFUSED)]
    assert "too many connections for role" in refused


def test_a_claim_of_a_connection_that_is_refused_is_granted_over_the_other(
    role, connection, database, caplog, monkeypatch
):
    monkeypatch.setattr(reconnect, "TRIES_WITHOUT_SESSION", 1)
    with running(role.url) as writer:
        first, second = writer.claim(0, 1)
        with held(database, "T1"):
            store_on_both(writer, connection, first, second, trade("T1"))
        writer.rest()
        role.set_limit(1)
        # That of the first thread, which takes the claim.
        assert count(connection, f"SELECT count(pg_terminate_backend(pid, 5000)) FROM ({FIRST_SESSION}) AS first")
        (third,) = writer.claim(2)

    assert 2 == third.ownership.partition
    assert REFUSED in caplog.text


def test_a_sink_without_another_open_connection_waits_until_postgresql_has_a_session_for_it(
    role, connection, caplog, monkeypatch
):
    """One that was never opened cannot do its work."""
    caplog.set_level("INFO")
    monkeypatch.setattr(reconnect, "TRIES_WITHOUT_SESSION", 1)
    with running(role.url) as writer:
        (claim,) = writer.claim(0)
        role.set_limit(0)
        assert 1 == end_writers(connection)
        writer.store(claim, entries=log(trade("T1")))
        eventually(lambda: "too many connections for role" in caplog.text)
        role.set_limit(2)
        writer.rest()

    assert (1, 1) == (len(writer.of(DatabaseDown)), len(writer.of(DatabaseUp)))
    assert ([trade("T1")], False) == (trades(connection), REFUSED in caplog.text)


def test_a_batch_that_another_connection_takes_over_counts_once_though_its_commit_had_no_answer(
    role, connection, database, caplog
):
    with Proxy(port_of(role.url)) as proxy, running(proxy.instead_of(role.url)) as writer:
        first, second = writer.claim(0, 1)
        with held(database, "T1"):
            store_on_both(writer, connection, first, second, trade("T1"), None)
            role.set_limit(1)
            proxy.swallow_reply_after(b"COMMIT\0")
        writer.rest()

    assert REFUSED in caplog.text
    assert [(0, 1, 1), (1, 0, 1)] == sorted(batches.counts(stored) for stored in writer.of(BatchResult))
    assert {0: (1,), 1: (1,)} == {number: window.refused for number, window in writer.limit.windows.items()}
    assert ([], [trade("T1")]) == (writer.of(OwnershipLost), trades(connection))


def test_a_sink_needs_a_connection(database):
    with pytest.raises(ConfigurationError, match="connections is 0"):
        SinkWriter(database, group="g", owner="o", refusal_limit=RefusalLimit(), connections=0)
