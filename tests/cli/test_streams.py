"""Full pipes and full disks as the output of commands."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.test_wrong_starts import ADDRESSES

HANG_SECONDS = 20.0
"""More than a busy machine needs, and less than a stage may take to finish a batch."""


class Pipe:
    """A pipe that another process writes to."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()

    def read_until(self, text: bytes) -> None:
        """Read until a text has come."""
        seen = b""
        while text not in seen:
            seen += os.read(self._reader, 4096)

    def fill(self) -> None:
        """Write until nothing more fits; the writer of the other process stays one that waits."""
        writer = os.open(f"/proc/self/fd/{self.writer}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(writer, bytes(4096))
        except BlockingIOError:
            os.close(writer)

    def close(self) -> None:
        os.close(self._reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


STAGE, OTHER = (signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [
        (["sink", "--log-level=debug"], *STAGE),
        (["validate", "--clean=c", "--dead-letters=d", "--log-level=debug"], *STAGE),
        (["schema", "drift"], *OTHER),
        (["migrate", "current"], *OTHER),
        (["produce", "--count=1"], *OTHER),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_command_whose_stderr_nobody_reads_stops(pipe, arguments, number, code):
    """A signal ends a stage in order, and interrupts another command."""
    command = [sys.executable, "-m", "tradepipe", *arguments]
    with subprocess.Popen(command, env={**os.environ, **ADDRESSES}, stderr=pipe.writer) as process:
        pipe.read_until(b"unavailable")
        pipe.fill()
        process.send_signal(number)
        try:
            assert code == process.wait(HANG_SECONDS)
        finally:
            process.kill()


STOPPED = """
import sys
from tradepipe.cli import signals
signals.replace_streams()
{}
try:
    print("x" * 1_000_000, file=sys.{}, flush=True)
except BrokenPipeError:
    signals.os._exit(7)
signals.os._exit(0)
"""


@pytest.mark.parametrize(("stream", "code"), [("stdout", 7), ("stderr", 0)])
def test_after_a_signal_logs_without_a_reader_are_dropped_and_results_end_the_command(pipe, stream, code):
    program = STOPPED.format("signals.request_stop()", stream)

    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=HANG_SECONDS, **{stream: pipe.writer})

    assert code == done.returncode


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_slow_reader_gets_everything(stream):
    program = STOPPED.format("", stream)

    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)

    assert (0, b"x" * 1_000_000 + b"\n") == (done.returncode, getattr(done, stream))
