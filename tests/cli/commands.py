"""Commands, run in this process or in another."""

import contextvars
import gc
import io
import logging
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest

from tests.conftest import CANARY
from tests.eventually import eventually
from tests.preloaded import Command
from tradepipe import entry, redaction
from tradepipe.cli import main


class Done(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def run_command(name: str, *arguments: str, env: Mapping[str, str]) -> Done:
    """
    Run `tradepipe name` to its end, in this process: a Python that starts takes half a second.

    The command runs the module under `__main__`, with separate streams and a separate
    environment, and leaves neither handlers nor settings behind.
    """
    return _run(lambda: runpy.run_module(f"tradepipe.{name}", run_name="__main__"), arguments, env)


def console(*arguments: str, env: Mapping[str, str]) -> Done:
    """Run the program `tradepipe` in the same way."""
    return _run(main.run, arguments, env)


def _run(entry: Callable[[], object], arguments: tuple[str, ...], env: Mapping[str, str]) -> Done:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with _as_a_process(arguments, env) as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            contextvars.Context().run(entry)
    return _checked(Done(int(ended.value.code or 0), *(stream.buffer.getvalue().decode() for stream in (out, err))))


@contextmanager
def _as_a_process(arguments: tuple[str, ...], env: Mapping[str, str]) -> Iterator[pytest.MonkeyPatch]:
    """Restore after the block what a command changes in the whole process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    thresholds = gc.get_threshold()
    with pytest.MonkeyPatch.context() as patch, _loggers():
        patch.setattr(sys, "argv", ["tradepipe", *arguments])
        patch.setattr(redaction, "_registered", set())
        patch.setattr(entry, "exit_process", sys.exit)
        for variable, value in env.items():
            patch.setenv(variable, value)
        try:
            yield patch
        finally:
            gc.set_threshold(*thresholds)
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _loggers() -> Iterator[None]:
    """Remove the configuration of logging within the block, and restore it afterwards."""
    root = logging.getLogger()
    levels = {logger: logger.level for logger in map(logging.getLogger, (None, *_LOGGERS))}
    handlers, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = handlers
        for logger, level in levels.items():
            logger.setLevel(level)


_LOGGERS = ("tradepipe", "tradepipe.kafka.librdkafka")
"""Those whose levels a command sets, beside the root's."""


def process(name: str, *arguments: str, env: Mapping[str, str], timeout: float = 200) -> Done:
    """Run `tradepipe name` to its end, in another process, which a new interpreter begins."""
    command = [sys.executable, "-m", f"tradepipe.{name}", *arguments]
    done = subprocess.run(command, env=_environment(env), capture_output=True, text=True, timeout=timeout, check=False)
    return _checked(Done(done.returncode, done.stdout, done.stderr))


def _checked(done: Done) -> Done:
    assert CANARY not in done.out + done.err, "a command printed the password of the database"
    return done


class Running:
    """A running command; its stderr is kept, its output can be read as `stdout`."""

    def __init__(self, process: subprocess.Popen[str], err: Path) -> None:
        self._process = process
        self._err = err
        self.stdout = process.stdout
        self.send_signal = process.send_signal
        self.pid = process.pid

    @property
    def err(self) -> str:
        """All it has written to stderr so far."""
        return self._err.read_text()

    def says(self, text: str) -> None:
        """Wait until it has written this to stderr."""
        eventually(lambda: text in self.err)

    def end(self, within: float = 200) -> Done:
        """Wait for its end; output that was read from `stdout` before may be missing."""
        if self.stdout.closed:
            return _checked(Done(self._process.wait(within), "", self.err))
        out, _ = self._process.communicate(timeout=within)
        return _checked(Done(self._process.returncode, out, self.err))


@contextmanager
def running(name: str, *arguments: str, env: Mapping[str, str], is_forked: bool = True) -> Iterator[Running]:
    """Run a command within the block; kill it at the end if it still runs."""
    with tempfile.NamedTemporaryFile() as err:
        options = {"stdout": subprocess.PIPE, "stderr": err, "text": True, "is_forked": is_forked}
        with Command(f"tradepipe.{name}", *arguments, env=_environment(env), **options) as process:
            try:
                yield Running(process, Path(err.name))
            finally:
                process.kill()


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **env}


def ask(database: str, query: str) -> list[tuple]:
    """Return the rows of a query."""
    connection = psycopg2.connect(database)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall()
    finally:
        connection.close()
