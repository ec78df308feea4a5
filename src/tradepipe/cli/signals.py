"""Signals that end a command soon, even while a C library, or a reader of its output, keeps it waiting."""

import io
import json
import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final, Self

from tradepipe.cli.terminal import CLEAR_LINE, can_rewrite_line, log_format

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


SIGNAL_BASE: Final = 128
"""Added to the number of a signal that ended the command before it was done."""

EXIT_SECONDS: Final = 1.5
"""Seconds that an interrupted command has to close its files and connections."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class SignalWatch:
    """
    Exit at the first SIGINT or SIGTERM within the block, as there is nothing to finish.

    Python runs its signal handlers in the main thread, between two instructions.
    While that thread waits in librdkafka, in libpq or for a name lookup, a handler
    would run only when the call returns, which may take half a minute. So a thread
    watches for signals too; it exits the process `grace` seconds after the first
    signal, and at the second one.
    """

    def __init__(self, grace: float = EXIT_SECONDS) -> None:
        self._grace = grace
        self.number = 0
        """The signal that was received, 0 for none."""

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        # Python requires it of a wakeup descriptor: a full pipe must not block a signal handler.
        os.set_blocking(self._writer, False)
        # Before the handlers: a signal between the two finds the old handler, which exits.
        self._former_descriptor = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._former = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        self._thread = threading.Thread(target=self._watch, name="tradepipe-signals", daemon=True)
        self._thread.start()
        outer = getattr(self._former[signal.SIGINT], "__self__", None)
        if isinstance(outer, SignalWatch) and outer.number:
            # Python drops an exception that is raised in a callback of C code, and each import has one, a weak
            # reference to its lock. So the signal has not ended the enclosing block, but no work may begin in this one.
            self.__exit__(None, None, None)
            sys.exit(SIGNAL_BASE + outer.number)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_descriptor)
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal in the main thread, when Python gets to it."""
        self.number = number
        # Python would print a traceback of the exception if it is raised in such a callback.
        sys.unraisablehook = lambda lost: None if lost.exc_type is SystemExit else sys.__unraisablehook__(lost)
        sys.exit(SIGNAL_BASE + number)

    def _begin(self) -> None:
        """Handle the first signal in the watching thread, at once."""

    def _watch(self) -> None:
        number = self._next_signal(None)
        if number is None:
            return
        self.number = number
        request_stop()
        self._begin()
        # The block may end meanwhile; otherwise this is the second signal, or the grace is over.
        if self._next_signal(self._grace) is not None:
            os._exit(SIGNAL_BASE + number)

    def _next_signal(self, timeout: float | None) -> int | None:
        """Return the next signal, 0 after `timeout` seconds without one, or None at the end of the block."""
        poll = select.poll()  # unlike `select`, it takes descriptors above 1023
        poll.register(self._reader, select.POLLIN)
        while poll.poll(None if timeout is None else timeout * 1000):
            read = os.read(self._reader, 1)
            if not read:
                return None
            if read[0] in _SIGNALS:
                return read[0]
        return 0


class StopOnSignal(SignalWatch):
    """
    Call `stop` at the first SIGINT or SIGTERM within the block, and exit the process at the second.

    Args:
        stop: makes the block end soon; called in another thread.
        message: describes what is finished before the block ends, or returns that.
        grace: seconds that the block may then take; afterwards the process exits.
    """

    def __init__(self, stop: Callable[[], None], message: str | Callable[[], str], *, grace: float) -> None:
        super().__init__(grace)
        self._stop = stop
        self._message = message

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        """Do nothing: the watching thread reacts to the signal, also while the main thread is inside a call."""

    def _begin(self) -> None:
        message = self._message if isinstance(self._message, str) else self._message()
        text = f"{message}; a second signal exits immediately"
        line = json.dumps({"level": "INFO", "message": text}) if log_format.get() == "json" else text
        # Without sys.stderr and without the logger, whose locks the main thread may hold. An exception would end this
        # thread, and then no signal would stop the command: stderr may be closed, or a pipe whose reader has ended. So
        # would a pipe that is full.
        with suppress(OSError):
            if is_writable(2):
                os.write(2, f"{CLEAR_LINE if can_rewrite_line() else ''}{line}\n".encode())
        self._stop()
