"""How long a thread waited: for a service, a lock or a timer, but neither while it ran nor for a processor."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OWN = Path("/proc/thread-self/schedstat")


class Waiting:
    """Seconds that were waited, known after the block."""

    seconds = 0.0


@contextmanager
def measure_waiting() -> Iterator[Waiting]:
    """Measure how long this thread waits within the block, on a busy machine as on an idle one."""
    measured = Waiting()
    begin = time.monotonic() - _busy_seconds(_OWN)
    yield measured
    measured.seconds = time.monotonic() - _busy_seconds(_OWN) - begin


def waiting_of(process: subprocess.Popen, begun: float) -> float:
    """Wait for the end of a process that was started at `begun`; return how long its main thread has waited."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # until it is reaped, its times can be read
    return time.monotonic() - begun - _busy_seconds(Path(f"/proc/{process.pid}/schedstat"))


def _busy_seconds(times: Path) -> float:
    """Return the seconds that a thread has run, and waited in the queue of a processor."""
    ran, queued, _slices = map(int, times.read_text().split())
    return (ran + queued) / 1e9
