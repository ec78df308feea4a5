"""Stages in threads of the test process."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeVar

from tests.eventually import eventually
from tests.pipeline.topic_contents import committed_records
from tradepipe import Sink, Validator
from tradepipe.trade import samples

S = TypeVar("S", Sink, Validator)


class Running(threading.Thread, Generic[S]):
    """
    A sink or a validator that runs in a separate thread.

    Args:
        barrier: what the thread waits at before it runs the stage.

    Attributes:
        raised: what ended it, if it was no stop.
    """

    def __init__(self, stage: S, barrier: threading.Barrier | None = None) -> None:
        super().__init__(name=type(stage).__name__.lower(), daemon=True)
        self.stage = stage
        self._barrier = barrier
        self.raised: BaseException | None = None

    def run(self) -> None:
        """Run in the thread."""
        try:
            if self._barrier is not None:
                self._barrier.wait()
            self.stage.run()
        except BaseException as error:  # raised again in the test
            self.raised = error

    def end(self) -> None:
        """Stop it, and wait until it has."""
        self.stage.stop()
        self.join(60)
        assert not self.is_alive()


@contextmanager
def running(stage: S) -> Iterator[S]:
    """Run a sink or validator inside the block; its exception is raised after it."""
    thread = Running(stage)
    thread.start()
    try:
        yield stage
    finally:
        thread.end()
    if thread.raised:
        raise thread.raised


FAULTS = 3
"""Of the broker in one test; the seed is printed."""


def disturb(kafka, progress: Callable[[], int], publish: Callable[[int], None]) -> None:
    """
    Kill, restart or freeze a broker while a stage works, three times, each time after it has made progress.

    Args:
        publish: publishes a share of the records, given its number.
    """
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for number in range(FAULTS):
        publish(number)
        before = progress()
        eventually(lambda before=before: progress() > before)  # type: ignore[misc]
        fault = moments.choice(("kill", "stop", "freeze"))
        print(f"fault {number}: {fault}")
        getattr(kafka, fault)()
        # The stage's requests time out, or it finds no broker at all: not a condition, but a length of the outage.
        threading.Event().wait(moments.uniform(0.1, 8.0))
        if fault == "freeze":
            kafka.thaw()
        else:
            kafka.start()


def mixture(pipeline, count: int, seed: int = 5) -> list[tuple[bytes, bytes | None]]:
    """Return keys and values of trades, with a bad record after every twenty."""
    bad = samples.bad_records(seed, pipeline.serialize)
    records: list[tuple[bytes, bytes | None]] = []
    for number, trade in enumerate(islice(samples.trades(seed), count)):
        records.append((trade.trade_id.encode(), pipeline.serialize(trade)))
        if number % 20 == 19:
            each = next(bad)
            records.append((each.key, each.value))
    return records


def done(validator: Validator) -> int:
    """Return how many records this validator has written."""
    return validator.counts.passed + validator.counts.refused.total()


def how_many_are_sorted(pipeline) -> int:
    """How many records all validators of a pipeline have sorted, as a reader of what is committed sees it."""
    return sum(len(committed_records(pipeline.kafka, name)) for name in (pipeline.clean, pipeline.dead_letters))


def undecodable(pipeline, count: int) -> list[tuple[bytes, bytes | None]]:
    """Return records whose bytes end too early: refused for what may be a mistake of ours, unlike FRAMING."""
    (trade,) = islice(samples.trades(5), 1)
    return [(trade.trade_id.encode(), pipeline.serialize(trade)[:-1])] * count
