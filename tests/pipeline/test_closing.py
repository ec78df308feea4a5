"""A stage that several threads run, stop and close."""

import sys
import threading
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.pipeline.running_stages import Running, running
from tests.pipeline.test_sink_connections import WAITING, count, held
from tests.postgres.batches import connected, trade
from tradepipe import TopicUnusable, Validator


@pytest.fixture(params=["sink", "validator"])
def stage(request, pipeline):
    if request.param == "validator":
        request.getfixturevalue("targets")
        return pipeline.validator(delivery="at_least_once")
    return pipeline.sink()


AGAIN = "this (Sink|Validator) is running, has run or is closed: create another one"


def test_a_stage_runs_once(stage):
    stage.run(until_end=True)

    with pytest.raises(RuntimeError, match=AGAIN):
        stage.run(until_end=True)
    stage.close()


def test_a_closed_stage_does_not_run(stage):
    stage.close()
    stage.close()

    with pytest.raises(RuntimeError, match=AGAIN):
        stage.run(until_end=True)


def test_another_thread_cannot_run_a_stage_that_is_running(stage):
    with running(stage):
        eventually(lambda: stage.is_ready)

        with pytest.raises(RuntimeError, match=AGAIN):
            stage.run()


def test_of_two_threads_that_run_a_stage_at_once_one_does():
    """Both would read the same partitions."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            stage = Validator({"bootstrap.servers": "127.0.0.1:1"}, registry="http://127.0.0.1:1")
            stage.stop()
            barrier = threading.Barrier(2)
            threads = [Running(stage, barrier) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert [False, True] == sorted(thread.raised is None for thread in threads)
    finally:
        sys.setswitchinterval(interval)


def count_threads():
    """Return the number of threads, those of Kafka's clients included."""
    return len(list(Path("/proc/self/task").iterdir()))


def test_what_is_closed_holds_no_thread(pipeline, some_trades, stage):
    """The caller may keep a closed stage, for its counts."""
    before = count_threads()
    producer = pipeline.producer()
    producer.produce(*some_trades(1))
    producer.close()
    eventually(lambda: count_threads() <= before)

    stage.run(until_end=True)
    stage.close()

    eventually(lambda: count_threads() <= before)


def test_a_producer_that_could_not_connect_holds_no_thread(pipeline, some_trades):
    """Not even while its exception is kept, whose traceback refers to what it used."""
    before = count_threads()

    with pipeline.producer(topic=f"{pipeline.topic}-missing") as producer, pytest.raises(TopicUnusable) as _raised:
        producer.produce(*some_trades(1))

    eventually(lambda: count_threads() <= before)


def test_closing_a_stage_in_another_thread_ends_its_run(pipeline, some_trades, stage, caplog):
    """When `close` returns, other members of the group may have its partitions."""
    caplog.set_level("INFO")
    pipeline.publish(some_trades(10))
    thread = Running(stage)
    thread.start()
    eventually(lambda: 0 == stage.lag)

    stage.close()

    assert f"revoked partitions [0, 1, 2, 3] of {pipeline.topic}" in caplog.messages
    thread.join(60)
    assert not thread.is_alive()
    assert thread.raised is None


def test_a_callback_may_close_its_sink(pipeline, some_trades):
    """The sink closes at the end of the turn; the batch is stored."""
    trades = pipeline.publish(some_trades(10))
    sink = pipeline.sink(on_stored=lambda _stored: sink.close())

    counts = sink.run()

    assert 0 < counts.stored == len(pipeline.stored()) <= len(trades)


def test_a_sink_leaves_its_group_although_a_callback_raises_while_it_closes(pipeline, caplog):
    caplog.set_level("INFO")

    def fail(_stored):
        raise LookupError("no such desk")

    thread = Running(pipeline.sink(on_stored=fail))
    pipeline.publish([trade("T1")])
    with connected(pipeline.database) as connection, held(pipeline.database, "T1"):
        thread.start()
        eventually(lambda: count(connection, WAITING))
        thread.stage.stop()
    thread.join(60)

    assert ["T1"] == [each.trade_id for each in pipeline.stored()]
    assert isinstance(thread.raised, LookupError)
    assert f"revoked partitions [0, 1, 2, 3] of {pipeline.topic}" in caplog.messages
