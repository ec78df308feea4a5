"""Blocks that a signal ends."""

import os
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


STOPPED_BY_A_SIGNAL = """
import os, signal, threading
from tradepipe.cli.signals import StopOnSignal

stopped = threading.Event()
with StopOnSignal(stopped.set, "stopping", grace=300):
    os.kill(os.getpid(), signal.SIGTERM)
    print(stopped.wait(60))
"""


def test_a_signal_stops_a_command_whose_stderr_has_no_reader():
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(
        [sys.executable, "-c", STOPPED_BY_A_SIGNAL], stdout=subprocess.PIPE, stderr=writer, text=True, check=False
    )

    os.close(writer)
    assert (0, "True\n") == (done.returncode, done.stdout)
