"""A Java program with other people's clients in it, asked and answering by lines of JSON."""

import hashlib
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.services import downloads
from tests.services.java import NEEDED, SHORT_LIVED, java

SOURCES: Final = Path(__file__).parent / "java"

_COMPILER: Final = "org.eclipse.jdt.internal.compiler.batch.Main"
_OPTIONS: Final = ("-Xmx512m", *SHORT_LIVED)


class Peer:
    """
    The program of `java/`, running until it is closed.

    It ends with its standard input, so it does not outlive us.

    Args:
        folder: where it writes its log.
    """

    def __init__(self, folder: Path) -> None:
        jars = f"{downloads.peer()}/*"
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [_program(), *_OPTIONS, "-cp", f"{_classes(jars)}:{jars}", "Peer"],
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


def _classes(jars: str) -> Path:
    """Return the folder of the compiled program, which is compiled again when it has changed: that takes 4 s of CPU."""
    arguments = [f"-{NEEDED}", "-proc:none", str(SOURCES)]
    content = b"".join(file.read_bytes() for file in sorted(SOURCES.rglob("*.java")))
    digest = hashlib.sha256(content + f"{arguments} {jars}".encode()).hexdigest()[:16]
    return downloads.kept(
        f"peer-classes-{digest}",
        lambda folder: _run(folder, *_OPTIONS, "-cp", jars, _COMPILER, "-d", str(folder / "whole"), *arguments),
    )


def _run(folder: Path, *arguments: str) -> None:
    """Run a Java program to its end; with `*` in a class path, as its shell would not do."""
    ran = subprocess.run([_program(), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"java {arguments[-1]} failed: {ran.stderr[-2000:]}")
