"""Blocks that a signal ends."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

LOST_EXCEPTION = """
import signal, weakref
from tradepipe.cli.signals import SignalWatch, StopOnSignal

class Lock: pass

with SignalWatch(grace=60):
    lock = Lock()
    callback = weakref.ref(lock, lambda _: signal.raise_signal(signal.SIGINT))
    del lock
    with StopOnSignal(print, "stopping", grace=60):
        print("work begins")
"""


def test_no_work_begins_after_a_signal_whose_exception_was_lost():
    done = subprocess.run([sys.executable, "-c", LOST_EXCEPTION], capture_output=True, text=True, check=False)

    assert (128 + signal.SIGINT, "", "") == (done.returncode, done.stdout, done.stderr)
