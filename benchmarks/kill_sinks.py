"""A sink that is killed repeatedly; run as a program, the sink itself."""

import json
import random
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from benchmarks.publish_trades import Published
from tradepipe import Sink

BEFORE_ITS_FIRST_BATCH = 0.3
"""Share of the kills while a sink starts, joins or claims."""

PATIENCE = 90.0
"""Seconds without a batch after which a sink counts as stalled."""


# A killed member keeps its partitions until its session ends: a short session, or the run would mostly wait.
_BRIEF = {"session.timeout.ms": 2000, "heartbeat.interval.ms": 500}


class Killed(NamedTuple):
    """
    What a series of kills came to.

    `hit` kills found a sink alive; `replayed` is what all sinks together
    counted as stored before, which exact offsets keep at zero.
    """

    hit: int
    replayed: int
    seconds: float


def kill_and_restart(
    published: Published, database: str, group: str, *, kills: int, seed: int, starting: float, storing: float
) -> Killed:
    """
    SIGKILL a sink at moments that `seed` decides, start another each time, and let the last one reach the end.

    Args:
        starting: seconds a sink needs until its first batch is stored.

        storing: seconds it needs for the rest; the kills are spread over them.

    Raises:
        RuntimeError: a sink stalled, or ended with an error.
    """
    moments = random.Random(seed)
    begin, hit, replayed = time.perf_counter(), 0, 0
    for _ in range(kills):
        early = moments.random() < BEFORE_ITS_FIRST_BATCH
        after = moments.uniform(0, starting if early else storing / kills)
        with _SinkProcess(published, database, group) as sink:
            hit += sink.kill(after, behind_first_batch=not early)
            replayed += sink.replayed()
    with _SinkProcess(published, database, group) as sink:
        replayed += sink.finish(PATIENCE + 20 * storing)
    return Killed(hit, replayed, time.perf_counter() - begin)


class _SinkProcess:
    """A sink in a separate process, which prints the number of duplicates of each batch."""

    def __init__(self, published: Published, database: str, group: str) -> None:
        options = {
            "kafka": {**published.kafka, **_BRIEF},
            "registry": published.registry,
            "database": database,
            "topic": published.topic,
            "subject": published.subject,
            "group": group,
        }
        command = [sys.executable, "-m", "benchmarks.kill_sinks", json.dumps(options)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._said: list[str] = []
        self._first = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def kill(self, after: float, *, behind_first_batch: bool) -> bool:
        """Kill it after some seconds, or after its first batch; return whether it was still running."""
        if behind_first_batch and not self._first.wait(PATIENCE):
            raise RuntimeError(f"a sink stored nothing within {PATIENCE:g} s of its start")
        time.sleep(after)
        alive = self._process.poll() is None
        self._process.kill()
        if not alive and self._process.returncode:
            raise RuntimeError(f"a sink ended with {self._process.returncode} before it was killed")
        return alive

    def finish(self, timeout: float) -> int:
        """Wait until it reaches the end of the topic; return the number of duplicates."""
        if self._process.wait(timeout):
            raise RuntimeError(f"the last sink ended with {self._process.returncode}")
        return self.replayed()

    def replayed(self) -> int:
        """Return the number of duplicates that it printed."""
        self._reader.join()
        return sum(int(line) for line in self._said if line.endswith("\n"))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)
            self._first.set()
        self._first.set()

    def __enter__(self) -> "_SinkProcess":
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    with Sink(**json.loads(sys.argv[1]), on_stored=lambda stored: print(stored.duplicates, flush=True)) as sink:
        sink.run(until_end=True)
