"""
One measured program in a process: `python -m benchmarks.contender MODULE.FUNCTION TASK`.

Each contender runs in a separate process, so that CPU time and memory are its own.
The task and the result are JSON. This module imports nothing but the standard
library: a contender may run in another virtual environment.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple


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
    rows: str = ""
    """The file of encoded rows, for PostgreSQL alone."""
    count: int = 0
    seed: int = 1
    batch: int = 10_000
    rate: int = 0
    """Records a second that are published meanwhile; 0 if all are there before."""
    epoch: float = 0.0
    """Unix time to which the versions of such records are relative, in milliseconds: they say when each was sent."""


class Commit(NamedTuple):
    """
    Attributes:
        at: time of the commit on the system's monotonic clock, in seconds.

        cpu: CPU time of the process until then, in seconds.

        records: how many records were committed by then.
    """

    at: float
    cpu: float
    records: int


class Result(NamedTuple):
    """
    One run.

    Attributes:
        started_at: when the process was started, on the system's monotonic clock.

        mebibytes: peak memory of the process.

        latencies: seconds from the record's timestamp to its commit, ascending; only where they are measured.
    """

    started_at: float
    commits: list[Commit]
    mebibytes: float
    latencies: list[float]

    @property
    def records(self) -> int:
        """The records from the first commit to the last."""
        return self.commits[-1].records - self.commits[0].records

    @property
    def rate(self) -> float:
        """Records a second from the first commit to the last: joining a group takes seconds."""
        return self.records / max(self.commits[-1].at - self.commits[0].at, 1e-9)

    @property
    def rate_from_start(self) -> float:
        """Records a second from the start of the process to the last commit."""
        return self.commits[-1].records / (self.commits[-1].at - self.started_at)

    @property
    def cpu(self) -> float:
        """CPU time of the process from the first commit to the last, in µs a record."""
        return (self.commits[-1].cpu - self.commits[0].cpu) / max(self.records, 1) * 1e6

    def latency(self, share: float) -> float:
        """Return a quantile of the latencies in milliseconds."""
        return 1_000 * self.latencies[int(share * (len(self.latencies) - 1))]


class Progress:
    """
    Takes a contender's commits.

    A contender that has to prepare its input commits no records when it is ready.

    Attributes:
        mebibytes: peak memory, if the contender is not this process.
    """

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.latencies: list[float] = []
        self.mebibytes: float | None = None

    @property
    def records(self) -> int:
        """The records committed so far."""
        return self.commits[-1].records if self.commits else 0

    def commit(self, records: int) -> None:
        """Note a commit of further records."""
        self.commits.append(Commit(time.monotonic(), time.process_time(), self.records + records))

    def note_latencies(self, task: Task, versions: Iterable[int], at: float | None = None) -> None:
        """Note trades that are committed now, or were at a Unix time."""
        now = (at or time.time()) - task.epoch
        self.latencies += [now - version / 1_000 for version in versions]

    def result(self) -> tuple[list[Commit], float, list[float]]:
        """Return what the process reports."""
        # Without the first quarter, in which the group is joined.
        latencies = sorted(self.latencies[len(self.latencies) // 4 :])
        return self.commits, self.mebibytes or peak_mebibytes("self"), latencies


def peak_mebibytes(pid: int | str) -> float:
    """Return the peak memory of a process; unlike `ru_maxrss`, without that of the process that started it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


TIMEOUT: Final = 1_800


def measure(
    contender: str, task: Task, environment: Mapping[str, str] | None = None, python: str = sys.executable
) -> Result:
    """Run a contender, MODULE.FUNCTION of this package, in a process, and return what it measured."""
    command = [python, "-m", "benchmarks.contender", contender, json.dumps(asdict(task))]
    started_at = time.monotonic()
    done = subprocess.run(  # noqa: PLW1510 - the output says why it failed
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=TIMEOUT
    )
    if done.returncode:
        raise RuntimeError(f"{contender} failed:\n{done.stderr[-4_000:]}")
    commits, mebibytes, latencies = json.loads(done.stdout.splitlines()[-1])
    return Result(started_at, [Commit(*each) for each in commits], mebibytes, latencies)


def main() -> None:
    module, function = sys.argv[1].split(".")
    progress = Progress()
    getattr(import_module(f"benchmarks.{module}"), function)(Task(**json.loads(sys.argv[2])), progress)
    print(json.dumps(progress.result()))


if __name__ == "__main__":
    main()
