"""
One measured program in a process: `python -m benchmarks.contender NAME ARGUMENTS`.

A program of its own, so that CPU time and memory are those of the contender alone,
and two of them do not share an interpreter. The arguments and the result are JSON.
"""

import json
import os
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from benchmarks.publish_trades import Published


@dataclass
class Task:
    """What a contender gets: the addresses, a topic with records, and how many of them to process."""

    kafka: dict[str, Any] = field(default_factory=dict)
    registry: str = ""
    topic: str = ""
    subject: str = ""
    partitions: int = 4
    database: str = ""
    group: str = ""
    target: str = ""
    count: int = 0
    seed: int = 1
    batch: int = 10_000
    rate: int = 0
    """Records a second that are published meanwhile; 0 if all are there before."""
    epoch: float = 0.0
    """Unix time to which the versions of such records are relative, in milliseconds: they say when each was sent."""


def task_of(published: Published) -> Task:
    """Return a task that reads a topic, in a group of its own."""
    return Task(
        kafka=published.kafka,
        registry=published.registry,
        topic=published.topic,
        subject=published.subject,
        partitions=len(published.ends),
        count=published.count,
        seed=published.seed,
        group=f"bench-{uuid.uuid4().hex[:8]}",
    )


class Result(NamedTuple):
    """
    One run.

    Attributes:
        rate: records a second from the first commit to the last: joining a group takes seconds.

        cpu: CPU time of the process in that time, in µs a record.

        mebibytes: its peak memory.

        latencies: seconds from the record's timestamp to its commit, ascending; only where they are asked for.
    """

    rate: float
    cpu: float
    mebibytes: float
    latencies: list[float]

    def latency(self, share: float) -> float:
        """Return a quantile of the latencies in milliseconds."""
        return 1_000 * self.latencies[int(share * (len(self.latencies) - 1))]


class Progress:
    """Takes a contender's commits."""

    def __init__(self) -> None:
        self.commits: list[tuple[float, float, int]] = []
        self.latencies: list[float] = []

    @property
    def records(self) -> int:
        """The records committed so far."""
        return self.commits[-1][2] if self.commits else 0

    def commit(self, records: int) -> None:
        """Note a commit of further records."""
        self.commits.append((time.perf_counter(), time.process_time(), self.records + records))

    def note_latencies(self, task: Task, versions: Iterable[int]) -> None:
        """Note trades that are committed now; not the first quarter, in which the group is joined."""
        if self.records > task.count // 4:
            now = time.time() - task.epoch
            self.latencies += [now - version / 1_000 for version in versions]

    def result(self) -> Result:
        (begin, cpu, first), (end, cpu_end, last) = self.commits[0], self.commits[-1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        done = last - first
        rate = done / (end - begin) if done else 0.0
        return Result(rate, (cpu_end - cpu) / max(done, 1) * 1e6, peak, sorted(self.latencies))


Contender = Callable[[Task, Progress], None]

TIMEOUT: Final = 900


def measure(name: str, task: Task, environment: Mapping[str, str] | None = None) -> Result:
    """Run a contender in a process, and return what it measured."""
    command = [sys.executable, "-m", "benchmarks.contender", name, json.dumps(asdict(task))]
    done = subprocess.run(  # noqa: PLW1510 - the output says why it failed
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=TIMEOUT
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-4_000:]}")
    return Result(*json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    # They import this module.
    from benchmarks import contenders_copying, contenders_sending, contenders_storing  # noqa: PLC0415

    contenders = contenders_storing.CONTENDERS | contenders_copying.CONTENDERS | contenders_sending.CONTENDERS
    name, arguments = sys.argv[1:]
    progress = Progress()
    contenders[name](Task(**json.loads(arguments)), progress)
    print(json.dumps(progress.result()))


if __name__ == "__main__":
    main()
