"""Doors in processes of their own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg2

from tests.conftest import CANARY
from tests.eventually import eventually


class Done(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def door(name: str, *arguments: str, env: Mapping[str, str], timeout: float = 60) -> Done:
    """Run `python -m tradepipe.name` to its end."""
    done = subprocess.run(
        _command(name, arguments), env=_environment(env), capture_output=True, text=True, timeout=timeout, check=False
    )
    return _checked(Done(done.returncode, done.stdout, done.stderr))


def _checked(done: Done) -> Done:
    assert CANARY not in done.out + done.err, "a command told the password of the database"
    return done


class Running:
    """A running door; what it says on stderr is kept, what it prints can be read as `stdout`."""

    def __init__(self, process: subprocess.Popen[str], err: Path) -> None:
        self._process = process
        self._err = err
        self.stdout = process.stdout
        self.send_signal = process.send_signal

    @property
    def err(self) -> str:
        """All it has said on stderr so far."""
        return self._err.read_text()

    def says(self, text: str) -> None:
        """Wait until it has said this on stderr."""
        eventually(lambda: text in self.err)

    def end(self, within: float = 25) -> Done:
        """Wait until it has ended; what is read of `stdout` before may be missing."""
        if self.stdout.closed:
            return _checked(Done(self._process.wait(within), "", self.err))
        out, _ = self._process.communicate(timeout=within)
        return _checked(Done(self._process.returncode, out, self.err))


@contextmanager
def running(name: str, *arguments: str, env: Mapping[str, str]) -> Iterator[Running]:
    """A running door, killed in the end if need be."""
    with tempfile.NamedTemporaryFile() as err:
        pipes = {"stdout": subprocess.PIPE, "stderr": err}
        with subprocess.Popen(_command(name, arguments), env=_environment(env), text=True, **pipes) as process:
            try:
                yield Running(process, Path(err.name))
            finally:
                process.kill()


def _command(name: str, arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", f"tradepipe.{name}", *arguments]


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **env}


def ask(database: str, query: str) -> list[tuple]:
    """The rows of a query."""
    connection = psycopg2.connect(database)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall()
    finally:
        connection.close()
