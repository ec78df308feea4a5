"""A child process that ends with its parent, however the parent ends."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Final, NamedTuple

_LAUNCHER: Final = """
import ctypes, os, sys
parent, death, uid, gid, *command = sys.argv[1:]
if uid != "-":
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(death), 0, 0, 0)
if os.getppid() != int(parent):
    sys.exit(1)
os.execv(command[0], command)
"""
# A launcher and not `preexec_fn`: that runs Python between fork and exec, which can deadlock a program with threads.
# prctl(1) is PR_SET_PDEATHSIG. It comes after setuid, which clears it, and the parent may have died before it.


_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH")


class User(NamedTuple):
    """A user of the system, by number."""

    uid: int
    gid: int


class Child:
    """
    A running process.

    When the process that made it dies, even by SIGKILL, the system sends it the
    `death` signal (on Linux). The system counts the death of the *thread* that
    started the child, so each child has a thread of its own for as long as it
    lives, and may be started from any thread.

    Raises:
        OSError: the command cannot be started at all.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        death: Signals = SIGKILL,
        user: User | None = None,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self._command = self._launched([str(word) for word in command], death, user)
        self._folder = folder
        self._environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(
            environment or {}
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._started = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"child {Path(command[0]).name}", daemon=True)
        self._keeper.start()
        try:
            self._started.wait()
        except BaseException:
            # Interrupted by a signal: nobody will hold what is being started.
            self._started.wait()
            self.stop(SIGKILL)
            raise
        if self._failure is not None:
            raise self._failure

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._running.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._keeper.is_alive() and self._running.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; nothing while it runs."""
        return self._running.poll()

    @property
    def said(self) -> str:
        """The end of what it printed, for an error message."""
        return self.log.read_text(errors="replace")[-2000:].strip()

    def send(self, number: Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.is_alive:
            self._running.send_signal(number)

    def send_all(self, number: Signals) -> None:
        """Send a signal to the process and to its own children, those included that it makes meanwhile."""
        if not self.is_alive:
            return
        before = _children_of(self.pid)
        self.send(number)
        for pid in {*before, *_children_of(self.pid)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, at most `timeout` seconds; tells whether it has."""
        self._keeper.join(timeout)
        return not self._keeper.is_alive()

    def stop(self, number: Signals = SIGTERM, *, timeout: float = 10.0) -> None:
        """Ask it to end by a signal, and kill it if it has not ended after `timeout` seconds."""
        self.send(number)
        if not self.wait(timeout):
            self.send(SIGKILL)
            self.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _launched(self, command: list[str], death: Signals, user: User | None) -> list[str]:
        uid, gid = ("-", "-") if user is None else (str(user.uid), str(user.gid))
        return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(death)), uid, gid, *command]

    def _keep(self) -> None:
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    env=self._environment,
                    # Its own group: Ctrl-C at a terminal ends our program, and our program ends the child.
                    start_new_session=True,
                )
        except OSError as error:
            self._failure = error
        self._started.set()
        if self._process is not None:
            self._process.wait()


def _children_of(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in listed.split()]
