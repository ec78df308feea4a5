"""A Java program with other people's clients in it, asked and answering by lines of JSON."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.services import downloads
from tests.services.java import NEEDED, java

SOURCES: Final = Path(__file__).parent / "java"

_COMPILER: Final = "org.eclipse.jdt.internal.compiler.batch.Main"
# It lives for a minute: what starts quickly counts.
_QUICK: Final = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class Peer:
    """
    The program of `java/`, compiled into a folder and running until it is closed.

    It ends with its standard input, so it does not outlive us.
    """

    def __init__(self, folder: Path) -> None:
        jars = f"{downloads.peer()}/*"
        _run(folder, "-cp", jars, _COMPILER, f"-{NEEDED}", "-proc:none", "-d", str(folder), str(SOURCES))
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [_program(), *_QUICK, "-cp", f"{folder}:{jars}", "Peer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )

    def ask(self, task: str, **request: Any) -> Any:
        """The answer to a request; fails with what Java raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"task": task, **request}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        said = json.loads(line or '{"failure": "it has ended"}')
        if "failure" in said:
            raise AssertionError(f"Java's {task}: {said['failure']}; more in {self._log.name}")
        return said["answer"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        self._log.close()


def _program() -> Path:
    return java() / "bin" / "java"


def _run(folder: Path, *arguments: str) -> None:
    """Run a Java program to its end; with `*` in a class path, as its shell would not do."""
    ran = subprocess.run([_program(), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"java {arguments[-1]} failed: {ran.stderr[-2000:]}")
