"""Child processes that end with their parent, temporary folders, and free ports."""

import contextlib
import fcntl
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Final, NamedTuple, Self

_PREFIX: Final = "tradepipe-"
_LOCK: Final = "owner"
_UNLOCKED_IS_ABANDONED_AFTER: Final = 60.0  # seconds; a folder has its lock within milliseconds
_WRITERS_END_WITHIN: Final = 5.0  # seconds


class StartCancelled(Exception):
    """The start of a service was cancelled; what it had begun is stopped and removed."""


class TempFolder:
    """
    A new temporary folder, locked for as long as its owner lives.

    Other users may pass through it but not list it. The system releases the lock
    when the process ends, so a folder with a free lock is abandoned; the next
    folder that the same user creates removes it.
    """

    def __init__(self, name: str) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-"))
        self.path.chmod(0o711)
        # Locked before it gets its name: another process that locked it first would take this one for dead.
        unnamed = self.path / f"{_LOCK}.new"
        self._lock = unnamed.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(self.path / _LOCK)

    def close(self) -> None:
        """Remove the folder with its content; processes that were just killed may still be writing."""
        deadline = time.monotonic() + _WRITERS_END_WITHIN
        shutil.rmtree(self.path, ignore_errors=True)
        while self.path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def sweep() -> None:
    """Remove the folders whose owners have ended."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            # In a folder that all users write to, a link may lead anywhere.
            is_ours = not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.geteuid()
            if is_ours and _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    try:
        with (path / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return time.time() - path.stat().st_mtime > _UNLOCKED_IS_ABANDONED_AFTER
    except OSError:
        return False
    # The lock is free as soon as the owner ends; its server notices that a moment later, and runs until then.
    processes = [Path("/proc", file.read_text().split("\n", 1)[0]) for file in path.glob("*/postmaster.pid")]
    return not any(os.readlink(each / "cwd").startswith(f"{path}/") for each in processes if each.exists())


_BELOW_OUTGOING: Final = range(15_000, 32_000)
"""Linux gives outgoing connections ports from 32768 on: one of those may be taken when a stopped server restarts."""


def free_port() -> int:
    """Return a port on which nothing listens and which no outgoing connection takes."""
    # Not the module's own generator: a program that seeds it would get the same ports in all its processes.
    generator = random.SystemRandom()
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As servers do: a port with connections in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port := generator.choice(_BELOW_OUTGOING)))
            return port


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


_PASSED_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH")


class User(NamedTuple):
    """A user and a group of the system, by number."""

    uid: int
    gid: int

    @classmethod
    def by_name(cls, *names: str) -> Self:
        """Return the first of these users that exists; a RuntimeError if none does."""
        for name in names:
            with contextlib.suppress(KeyError):
                account = pwd.getpwnam(name)
                return cls(account.pw_uid, account.pw_gid)
        raise RuntimeError(f"none of the users {' and '.join(names)} exists, and PostgreSQL does not run as root")


class ChildProcess:
    """
    A running process.

    When the process that started it ends, even by SIGKILL, Linux sends it the
    `death` signal. Linux does so when the *thread* that started the child ends, so
    each child has its own thread as long as it runs, and can be started from any
    thread. Its output goes to `log`, which only this user can read.

    Raises:
        OSError: the command cannot be started.
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
        uid, gid = ("-", "-") if user is None else map(str, user)
        self._command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(death)), uid, gid]
        self._command += map(str, command)
        self._folder = folder
        self._environment = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ} | dict(
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
            # Interrupted by a signal: the caller gets no object with which it could stop the process.
            self._started.wait()
            self.stop(SIGKILL)
            raise
        if self._failure is not None:
            raise self._failure

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running.pid

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._keeper.is_alive() and self._running.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._running.poll()

    @property
    def output(self) -> str:
        """The end of the output, for an error message."""
        return self.log.read_text(errors="replace")[-2000:].strip()

    def send(self, number: Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.is_alive:
            self._running.send_signal(number)

    def send_all(self, number: Signals) -> None:
        """Send a signal to the process, its group and its children, including those that it starts meanwhile."""
        if not self.is_alive:
            return
        # Twice: a child that was started between the two looks is in the second one.
        before = _children_of(self.pid)
        # The group has what the children have started, and the children have left it if they lead groups themselves.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        for pid in {*before, *_children_of(self.pid)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the process has ended, at most `timeout` seconds; return True if it has."""
        self._keeper.join(timeout)
        return not self._keeper.is_alive()

    def stop(self, number: Signals = SIGTERM, *, timeout: float = 10.0) -> None:
        """Send a signal, and SIGKILL if the process has not ended after `timeout` seconds."""
        self.send(number)
        if not self.wait(timeout):
            self.send(SIGKILL)
            self.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _keep(self) -> None:
        try:
            # Logs quote statements and values, and the folder is open to other users.
            with open(self.log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    env=self._environment,
                    # Its own process group: Ctrl-C at a terminal ends this program, which then ends the child.
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
