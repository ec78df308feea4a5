"""Separate processes that run programs on the embedded services."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest


@contextmanager
def program(
    code: str, *arguments: str, lines: int = 1, user: str | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Sequence[str]]]:
    """Yield a running program and the first lines it printed; kill it at the end if it still runs."""
    command = [_interpreter(user), "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_import_path()), "HOME": "/"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    groups: Sequence[int] | None = None if user is None else []
    with subprocess.Popen(command, cwd="/", env=environment, user=user, extra_groups=groups, **pipes) as process:
        try:
            yield process, [process.stdout.readline().decode().strip() for _ in range(lines)]
        finally:
            process.kill()


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    connection = psycopg2.connect(url)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall()
    finally:
        connection.close()


def _interpreter(user: str | None) -> str:
    """Return a Python of this version that the user may run: the current one may be in root's home."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, system):
        resolved = Path(path).resolve()
        if user is None or (resolved.exists() and all(part.stat().st_mode & 0o001 for part in resolved.parents)):
            return path
    pytest.skip(f"there is no Python that {user} may run")


def _import_path() -> list[str]:
    """Return the import path, with the sources, which an editable installation finds by a hook."""
    import tradepipe  # noqa: PLC0415 - only its place is of interest

    return [str(Path(tradepipe.__file__).parents[1]), *filter(None, sys.path)]
