"""Doors in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import psycopg2


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
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def running(name: str, *arguments: str, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A running door, killed in the end if need be."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(_command(name, arguments), env=_environment(env), text=True, **pipes) as process:
        try:
            yield process
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
