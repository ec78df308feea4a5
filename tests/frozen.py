"""Processes that stand still."""

import os
import signal
from pathlib import Path

from tests.eventually import eventually


def freeze(pid: int) -> None:
    """Stop a process, and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    wait_until_frozen(pid)


def wait_until_frozen(pid: int) -> None:
    """
    Wait until a process that was sent SIGSTOP stands still, and its children.

    On a busy machine the thread that gets the signal waits for a processor, and meanwhile the others go on.
    """
    eventually(lambda: _is_frozen(pid), every=0.001)


def _is_frozen(pid: int) -> bool:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        states = {(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads}
    except (FileNotFoundError, ProcessLookupError):  # it has ended, or a thread of it has
        return not Path(f"/proc/{pid}").exists()
    return states <= {"T", "Z"} and all(_is_frozen(int(child)) for child in children)
