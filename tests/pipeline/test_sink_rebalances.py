"""What must hold while sessions, disks and members come and go: each record a row or a refusal, once."""

import random
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import islice
from types import TracebackType
from typing import Self

import psycopg2
import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import Running, mixture, running
from tests.pipeline.tiny_filesystem import SmallDisk
from tradepipe import Sink
from tradepipe.metrics import OUTAGES, REBALANCES
from tradepipe.trade import samples

pytestmark = pytest.mark.real

SEED = 5


class Storm(threading.Thread):
    """
    Does the same again and again while the block lasts; what it raised is raised after it.

    Attributes:
        gusts: how often it has done it.
    """

    def __init__(self, gust: Callable[[], object], *, every: float) -> None:
        super().__init__(name="storm", daemon=True)
        self.repetitions = 0
        self._gust = gust
        self._every = every
        self._over = threading.Event()
        self._raised: BaseException | None = None

    def run(self) -> None:
        """Run in the thread."""
        try:
            while not self._over.wait(self._every):
                self._gust()
                self.repetitions += 1
        except BaseException as error:  # raised again in the test
            self._raised = error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join(60)
        if self._raised is not None:
            raise self._raised


@pytest.fixture
def assert_stored(pipeline, journal) -> Callable[[int], None]:
    """Assert that each trade of a mixture is a row, and each bad record one refusal with its code."""

    def check(trades: int) -> None:
        assert sorted(islice(samples.trades(SEED), trades)) == pipeline.stored()
        bad = islice(samples.bad_records(SEED, pipeline.serialize), trades // 20)
        refused = sorted((row.key, row.value or b"", row.codes[0]) for row in pipeline.refused())
        assert sorted((each.key, each.value or b"", each.code) for each in bad) == refused
        journal()

    return check


def count_done(sink: Sink) -> int:
    """Return how many records this sink has stored or refused."""
    return sink.counts.stored + sink.counts.duplicates + sink.counts.refused.total()


def count_tries(sink: Sink) -> int:
    """Return the number of failed tries of this sink since PostgreSQL became unavailable."""
    return max(store._backoff.failures for store in sink._writer._stores)


END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE starts_with(application_name, 'tradepipe-sink') AND datname = current_database()
"""
"""Ends the sinks' sessions, as an administrator would."""


@contextmanager
def taken_connections(pipeline) -> Iterator[Callable[[], None]]:
    """Yield a function that ends the sinks' sessions and takes all connections; the block's end gives them back."""
    with ExitStack() as taken:
        administrator = taken.enter_context(closing(psycopg2.connect(pipeline.database)))
        administrator.autocommit = True

        def take_all() -> None:
            administrator.cursor().execute(END_SESSIONS)
            with suppress(psycopg2.OperationalError):  # too many clients already
                while True:
                    taken.enter_context(closing(psycopg2.connect(pipeline.database)))

        yield take_all


def test_sessions_that_are_ended_five_times_a_second_lose_and_duplicate_nothing(pipeline, assert_stored):
    records = mixture(pipeline, 2_000)
    with (
        running(pipeline.sink(batch_rows=20)) as sink,
        Storm(lambda: pipeline.query(END_SESSIONS), every=0.2) as storm,
    ):
        for begin in range(0, len(records), 100):
            pipeline.publish_bytes(records[begin : begin + 100])
            eventually(lambda begin=begin: storm.repetitions > begin // 100)
        eventually(lambda: count_done(sink) == len(records))

    assert sink.meter.values(OUTAGES)[()] > 5
    assert 0 == sink.counts.duplicates
    assert_stored(2_000)


def test_a_server_that_turns_read_only_is_waited_for(pipeline, services, assert_stored, caplog):
    """As a primary that is demoted does: first the session that is open is refused, then each new one."""
    records = mixture(pipeline, 1_000)
    pipeline.publish_bytes(records[:500])
    with running(pipeline.sink(batch_rows=50)) as sink:
        eventually(lambda: sink.counts.stored > 0)
        with services.postgres.setting("default_transaction_read_only", "on"):
            pipeline.publish_bytes(records[500:])
            eventually(lambda: sink.waiting_for == "PostgreSQL" and count_tries(sink) > 2)
        eventually(lambda: count_done(sink) == len(records))

    begin, end = (each for each in caplog.messages if "PostgreSQL is " in each)
    assert re.fullmatch(r"cannot store, retrying: PostgreSQL is unavailable: .* in a read-only transaction", begin)
    assert re.fullmatch(r"PostgreSQL is available again after \d+\.\d s", end)
    assert_stored(1_000)


def test_a_server_without_a_free_connection_is_waited_for(pipeline, assert_stored):
    records = mixture(pipeline, 1_000)
    pipeline.publish_bytes(records[:500])
    with running(pipeline.sink(batch_rows=50)) as sink:
        eventually(lambda: sink.counts.stored > 0)
        with taken_connections(pipeline) as take_all:
            pipeline.publish_bytes(records[500:])
            eventually(lambda: take_all() or (sink.waiting_for == "PostgreSQL" and count_tries(sink) > 2))
        eventually(lambda: count_done(sink) == len(records))

    assert_stored(1_000)


@pytest.fixture
def disk(pipeline, services) -> Iterator[SmallDisk]:
    """Put the table of trades on a small file system."""
    try:
        disk = SmallDisk()
    except OSError as error:
        pytest.skip(f"only where a disk may be mounted can one be filled up: {error}")
    with disk, services.postgres.tablespace("small", disk.folder):
        pipeline.execute("ALTER TABLE trades SET TABLESPACE small")
        yield disk
        pipeline.execute("ALTER TABLE trades SET TABLESPACE pg_default")


def test_a_full_disk_of_the_database_is_waited_for_and_refuses_nothing(pipeline, disk, assert_stored, caplog):
    records = mixture(pipeline, 2_000)
    pipeline.publish_bytes(records[:500])
    with running(pipeline.sink(batch_rows=200)) as sink:
        eventually(lambda: sink.counts.stored > 0)
        disk.fill()
        pipeline.publish_bytes(records[500:])
        eventually(lambda: sink.waiting_for == "PostgreSQL" and count_tries(sink) > 2)
        disk.free()
        eventually(lambda: count_done(sink) == len(records))

    assert "No space left on device" in caplog.text
    assert_stored(2_000)


def test_a_sink_that_polls_too_late_loses_its_partitions_and_rejoins(pipeline, assert_stored):
    """It stops polling after its first batch, with more records buffered; another sink stores all of them."""
    records = mixture(pipeline, 800)
    paused, resumed = threading.Event(), threading.Event()

    def pause(_stored: object) -> None:
        paused.set()
        assert resumed.wait(200)

    pipeline.publish_bytes(records[:420])
    pipeline.kafka |= {"max.poll.interval.ms": 6_000, "heartbeat.interval.ms": 500}
    with running(pipeline.sink(batch_rows=50, on_stored=pause)) as slow:
        assert paused.wait(200)
        with running(pipeline.sink()) as other:
            eventually(lambda: len(pipeline.stored()) + len(pipeline.refused()) == 420)
            resumed.set()
            eventually(lambda: slow.meter.values(REBALANCES)[pipeline.topic, "assign"] > 1)
            pipeline.publish_bytes(records[420:])
            eventually(lambda: count_done(slow) + count_done(other) == len(records))

    assert 0 == slow.counts.duplicates + other.counts.duplicates
    assert_stored(800)


def test_sinks_that_start_and_stop_every_second_store_all_once(pipeline, assert_stored):
    print(f"seed {(seed := random.randrange(1_000_000))}")
    chance, records = random.Random(seed), mixture(pipeline, 3_000)
    members: deque[Running[Sink]] = deque()
    gone: list[Running[Sink]] = []

    def change() -> None:
        for _ in range(chance.randrange(max(0, len(members) - 2), len(members) + 1)):
            gone.append(members.popleft())
            gone[-1].end()
        members.append(Running(pipeline.sink(batch_rows=50)))
        members[-1].start()

    def stored() -> int:
        return sum(count_done(member.stage) for member in (*gone, *members))

    try:
        with Storm(change, every=1.0) as storm:
            for begin in range(0, len(records), 500):
                pipeline.publish_bytes(records[begin : begin + 500])
                eventually(lambda begin=begin: storm.repetitions > begin // 500)
        eventually(lambda: stored() == len(records))
    finally:
        for member in members:
            member.end()

    assert {None} == {member.raised for member in (*gone, *members)}
    assert_stored(3_000)
