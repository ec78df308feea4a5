"""Commands at a terminal, as a person runs them."""

import os
import pty
from collections.abc import Mapping
from typing import NamedTuple

from tests.preloaded import Command


class Seen(NamedTuple):
    """How a command ended, and the lines that were on the screen."""

    code: int
    lines: list[str]


def at_a_terminal(name: str, *arguments: str, env: Mapping[str, str], typing: str = "") -> Seen:
    """Run `tradepipe name` to its end; `typing` waits in its input from the start."""
    leader, follower = pty.openpty()
    os.write(leader, typing.encode())
    streams = {"stdin": follower, "stdout": follower, "stderr": follower}
    env = {**os.environ, "TERM": "xterm", **env}
    with Command(f"tradepipe.{name}", *arguments, env=env, **streams) as process:
        os.close(follower)
        seen = b"".join(iter(lambda: _read(leader), b""))
    os.close(leader)
    return Seen(process.returncode, seen.decode().splitlines())


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 4096)
    except OSError:  # the command has ended
        return b""
