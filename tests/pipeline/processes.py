"""Stages as commands in processes of their own, to be frozen and killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests.eventually import eventually

Stage = Literal["sink", "validate"]

_GROUPS = {"sink": "sink", "validate": "validator"}


class StageProcess:
    """
    `python -m tradepipe.sink`, or another stage, on a test's pipeline.

    Attributes:
        log: the file of all it says.
    """

    def __init__(self, stage: Stage, pipeline, log: Path, *options: str) -> None:
        command = [sys.executable, "-m", f"tradepipe.{stage}", *_arguments(stage, pipeline), *options]
        self.log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(command, env=_environment(pipeline), stdout=stream, stderr=stream)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def says(self, text: str, within: float = 40) -> None:
        """Wait until it has said this."""
        eventually(lambda: text in self.log.read_text(), within=within)

    def wait(self, timeout: float = 60) -> int:
        """Wait until it has ended; its exit code."""
        return self._process.wait(timeout)

    def kill(self) -> None:
        """End it on the spot, frozen or not."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.wait()


@contextmanager
def processes(stage: Stage, pipeline, folder: Path) -> Iterator[Callable[..., StageProcess]]:
    """Within the block, call it to start one more with further options; those that still run are killed behind it."""
    started: list[StageProcess] = []

    def start(*options: str) -> StageProcess:
        started.append(StageProcess(stage, pipeline, folder / f"{stage}-{len(started)}.log", *options))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            if process.runs:
                process.kill()
            print(process.log, process.log.read_text(), sep="\n")


def _arguments(stage: Stage, pipeline) -> list[str]:
    named = {"topic": pipeline.topic, "group": f"{pipeline.topic}-{_GROUPS[stage]}", "subject": pipeline.subject}
    if stage == "validate":
        named |= {"clean": pipeline.clean, "dead-letters": pipeline.dead_letters}
    given = [(f"--{name}", value) for name, value in named.items()]
    given += [("-X", f"{key}={value}") for key, value in pipeline.kafka.items()]
    return [part for pair in given for part in pair]


def _environment(pipeline) -> dict[str, str]:
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": pipeline.kafka["bootstrap.servers"],
        "SCHEMA_REGISTRY_URL": pipeline.registry_url,
        "DATABASE_URL": pipeline.database,
    }
