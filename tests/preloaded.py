"""
Commands that are forked from a process which has imported their libraries, in a third of the processor time.

That process is a new interpreter with one thread, started once for each process of pytest. It has imported nothing of
tradepipe: a command imports that itself, in its own environment, and handles signals from the same moment.
"""

import atexit
import ctypes
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]

LIBRARIES: Final = (
    "alembic.autogenerate",
    "alembic.command",
    "avro.compatibility",
    "confluent_kafka.admin",
    "fastavro",
    "http.server",
    "httpcore",
    "httpx",
    "psycopg2.extras",
    "psycopg2.sql",
    "pydantic.type_adapter",
    "rich.console",
    "sqlalchemy.dialects.postgresql",
    "typer.main",
)

READ_AT_THE_START: Final = ("COVERAGE_", "LANG", "LC_", "LD_", "MALLOC_", "OPENSSL_", "PYTHON", "TYPER_", "TZ")
"""Beginnings of the names of variables that the interpreter or a library reads before a command."""

TRACED: Final = "TRADEPIPE_TRACE_INTO"
"""Set where each interpreter traces what it executes, from its start; see tests/mutation/child."""

_SET_SUBREAPER: Final = 36
_LARGEST_MESSAGE: Final = 1 << 17


class Command(subprocess.Popen):
    """
    `python -m MODULE`: a child of this process, with its own pid, streams and folder, as any other Popen.

    A new interpreter begins it if `is_forked` is false, or if `env` has something for the interpreter itself.
    """

    def __init__(
        self, module: str, *arguments: str, env: Mapping[str, str], is_forked: bool = True, **streams: Any
    ) -> None:
        self._env = dict(env)
        self._is_forked = is_forked and TRACED not in env and _read_at_the_start(env) == _server().read_at_the_start
        super().__init__([sys.executable, "-m", module, *arguments], env=env, **streams)

    def _execute_child(self, *arguments: Any) -> None:
        """Start the process; the rest of Popen, such as its pipes and waiting for its end, is as it is."""
        if not self._is_forked:
            super()._execute_child(*arguments)
            return
        pipes = stdin, _, _, stdout, _, stderr = arguments[10:16]
        streams = [number if given == -1 else given for number, given in enumerate((stdin, stdout, stderr))]
        self.pid = _server().fork([self.args, self._env, os.getcwd()], streams)
        self._child_created = True
        self._close_pipe_fds(*pipes)


def _read_at_the_start(env: Mapping[str, str]) -> dict[str, str]:
    # A command is told whether its output is buffered.
    return {
        name: value
        for name, value in env.items()
        if name.startswith(READ_AT_THE_START) and value and name != "PYTHONUNBUFFERED"
    }


class _Server:
    """The process that forks, which ends with this one."""

    def __init__(self) -> None:
        self.read_at_the_start = _read_at_the_start(os.environ)
        self._starting = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.preloaded", str(theirs.fileno())]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        with theirs:
            process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], **streams)
        atexit.register(process.wait)
        atexit.register(self._socket.close)

    def fork(self, job: list[Any], streams: list[int]) -> int:
        """Return the pid of a new child of this process."""
        with self._starting:
            # The parent of the command ends at once, and then its nearest ancestor that reaps becomes the parent.
            ctypes.CDLL(None).prctl(_SET_SUBREAPER, 1)
            try:
                socket.send_fds(self._socket, [json.dumps(job).encode()], streams)
                return int(self._socket.recv(_LARGEST_MESSAGE))
            finally:
                ctypes.CDLL(None).prctl(_SET_SUBREAPER, 0)


def _server() -> _Server:
    """Return the server of this process."""
    return _server_of(os.getpid())


@cache  # for the pid: a process that pytest forks must not share the socket
def _server_of(client: int) -> _Server:
    return _Server()


def _serve(client: socket.socket) -> tuple[list[Any], list[int]]:
    """Fork for each request, and end with the client; returns in each command."""
    while True:
        message, streams, _, _ = socket.recv_fds(client, _LARGEST_MESSAGE, 3)
        if not message:
            sys.exit()
        if not (between := os.fork()):
            between = os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == between:
                time.sleep(0.001)
            client.send(str(os.getpid()).encode())
            client.close()
            return json.loads(message), streams
        os.waitpid(between, 0)
        for each in streams:
            os.close(each)


def _become(command: list[str], env: dict[str, str], folder: str, streams: list[int]) -> None:
    """Be what `python -m` is when it runs a module."""
    for number, given in enumerate(streams):
        os.dup2(given, number)
        os.close(given)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.orig_argv = command
    sys.argv = command[2:]
    sys.path[0] = folder
    sys.stdin = sys.__stdin__ = _open_stream(0, "r", sys.stdin)
    sys.stdout = sys.__stdout__ = _open_stream(1, "w", sys.stdout)
    sys.stderr = sys.__stderr__ = _open_stream(2, "w", sys.stderr)


def _open_stream(number: int, mode: str, same: Any) -> io.TextIOWrapper:
    """Open a standard stream as Python does when it starts; the encoding is that of the `same` stream before."""
    is_direct = bool(os.environ.get("PYTHONUNBUFFERED"))
    buffer = open(number, f"{mode}b", 0 if is_direct and mode == "w" else -1, closefd=False)  # noqa: SIM115 - kept open
    is_by_line = not is_direct and (buffer.isatty() or number == 2)
    return io.TextIOWrapper(buffer, same.encoding, same.errors, "\n", is_by_line, is_direct)


if __name__ == "__main__":
    # For Ctrl-C at a terminal, which the client handles. A signal to a command waits until it has become one.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    for library in LIBRARIES:
        importlib.import_module(library)
    if len(os.listdir("/proc/self/task")) > 1:
        sys.exit("a library that was imported has started a thread: a fork would not be safe")
    asked, given = _serve(socket.socket(fileno=int(sys.argv[1])))
    _become(*asked, given)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
