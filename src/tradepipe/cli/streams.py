"""Standard streams whose readers cannot keep a command from stopping."""

import io
import os
import select
import stat
import sys
import time
from typing import Any, Final

DRAIN_SECONDS: Final = 0.5
"""Seconds after a signal in which a pipe's reader, or a stopped terminal, may still take output."""

_CHECK_SECONDS: Final = 0.1

_stop_requested_at = [float("inf")]


def request_stop() -> None:
    """Limit from now on how long output waits for its reader."""
    _stop_requested_at[0] = min(_stop_requested_at[0], time.monotonic())


def is_writable(descriptor: int) -> bool:
    """Return whether a short write would not wait."""
    return _wait_until_writable(descriptor, 0)


def replace_streams() -> None:
    """Replace the process's stdout and stderr, but neither those that a test or another program has set."""
    for name, is_result in (("stdout", True), ("stderr", False)):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):
            continue
        stream.flush()
        output = _Output(stream.fileno(), is_result=is_result)
        wrapped = io.TextIOWrapper(
            # PYTHONUNBUFFERED makes Python's own one unbuffered.
            output if stream.write_through else io.BufferedWriter(output),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, wrapped)


class _Output(io.FileIO):
    """
    A file, a pipe or a terminal.

    Some time after a stop was requested, log lines without a reader are dropped; for
    results the pipe counts as closed then. Log lines that a full disk does not take
    are dropped too. Lost results are reported once: the rest, at exit, is dropped.
    """

    def __init__(self, descriptor: int, *, is_result: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._is_result = is_result
        self._is_lost = False
        # More than this could wait for a reader, though the pipe has room for some of it.
        self._piece = None if stat.S_ISREG(os.fstat(descriptor).st_mode) else select.PIPE_BUF

    def write(self, data: Any, /) -> int:
        left = memoryview(data)
        try:
            while left and not self._is_lost:
                while not _wait_until_writable(self.fileno(), _CHECK_SECONDS):
                    if time.monotonic() > _stop_requested_at[0] + DRAIN_SECONDS:
                        raise BrokenPipeError("nothing reads the output") if self._is_result else TimeoutError
                left = left[super().write(left[: self._piece]) or 0 :]
        except OSError as error:
            if self._is_result:
                self._is_lost = True
                raise
            if isinstance(error, BrokenPipeError):
                raise
        return len(data)


def _wait_until_writable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()  # unlike `select`, it takes descriptors above 1023
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
