"""What a sink holds at most, and when it ends."""

from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import running
from tests.proxy import Proxy, port_of
from tradepipe import DatabaseOutdated
from tradepipe.metrics import ASSIGNED, CONSUMED, PAUSED
from tradepipe.pipeline import sink, sink_reader
from tradepipe.postgres import migrate


@pytest.fixture
def lock_trades(pipeline):
    """Lock the table of trades, which blocks a batch; return a function that unlocks it."""
    connection = psycopg2.connect(pipeline.database)
    connection.cursor().execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
    yield connection.rollback
    connection.close()


def test_a_sink_whose_database_is_blocked_reads_no_more_than_the_bytes_of_a_batch(
    pipeline, some_trades, lock_trades, monkeypatch
):
    """A batch of 5,000 records could contain all of them."""
    monkeypatch.setattr(sink_reader, "MAX_BATCH_BYTES", 1_000)
    monkeypatch.setattr(sink, "PAUSE_AFTER_SECONDS", 0.1)
    trades = some_trades(150)
    with running(pipeline.sink()) as stage:
        for begin in (0, 50):
            pipeline.publish(trades[begin : begin + 50])
            eventually(lambda: stage.meter.values(PAUSED)[()] or stage.meter.values(CONSUMED)[(pipeline.topic,)] == 50)
        eventually(lambda: stage.meter.values(PAUSED)[()])
        pipeline.publish(trades[100:])
        lock_trades()

        eventually(lambda: stage.counts.stored == 150)

    assert sorted(trades) == pipeline.stored()


def test_a_sink_without_records_to_store_succeeds_only_after_the_database_has_answered(pipeline):
    """It is at the end of an empty topic before the database has said that it could not take a record."""
    migrate.downgrade(pipeline.database, "base")
    with ThreadPoolExecutor(1) as thread, Proxy(port_of(pipeline.database)) as proxy:
        proxy.blackhole()
        with pipeline.sink(database=proxy.instead_of(pipeline.database)) as stage:
            ended = thread.submit(stage.run, until_end=True)
            eventually(lambda: stage.meter.values(ASSIGNED)[(pipeline.topic,)] == 4 or ended.done())
            proxy.heal()

            with pytest.raises(DatabaseOutdated):
                ended.result(120)
