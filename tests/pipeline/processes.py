"""Stages as commands in separate processes, which tests freeze and kill."""

import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from tests.eventually import eventually
from tests.frozen import freeze
from tests.preloaded import Command

Stage = Literal["sink", "validate"]

_GROUPS = {"sink": "sink", "validate": "validator"}


class StageProcess:
    """
    `tradepipe sink`, or another stage, on a test's pipeline.

    Args:
        kafka: librdkafka's properties, in addition to the pipeline's or instead of them.

    Attributes:
        log: the file of all it says.
    """

    def __init__(self, stage: Stage, pipeline, log: Path, *options: str, kafka: Mapping[str, Any]) -> None:
        settings = pipeline.kafka | kafka
        arguments = [*_arguments(stage, pipeline, settings), *options]
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": settings["bootstrap.servers"],
            "SCHEMA_REGISTRY_URL": pipeline.registry_url,
            "DATABASE_URL": pipeline.database,
        }
        self.log = log
        with log.open("ab") as stream:
            self._process = Command(f"tradepipe.{stage}", *arguments, env=environment, stdout=stream, stderr=stream)

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def peak_memory(self) -> int:
        """The peak memory of the process so far, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024  # type: ignore[index]  # each process has one

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it, and wait until it stands still."""
        freeze(self._process.pid)

    def says(self, text: str, within: float = 120) -> None:
        """Wait until the process has printed a text."""
        eventually(lambda: text in self.log.read_text(), within=within)

    def wait(self, timeout: float = 200) -> int:
        """Wait until it has ended; its exit code."""
        return self._process.wait(timeout)

    def kill(self) -> None:
        """End it on the spot, frozen or not."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.wait()


@contextmanager
def processes(stage: Stage, pipeline, folder: Path) -> Iterator[Callable[..., StageProcess]]:
    """Yield a function that starts a process with further options; running ones are killed after the block."""
    started: list[StageProcess] = []

    def start(*options: str, kafka: Mapping[str, Any] = MappingProxyType({})) -> StageProcess:
        log = folder / f"{stage}-{len(started)}.log"
        started.append(StageProcess(stage, pipeline, log, *options, kafka=kafka))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            if process.runs:
                process.kill()
            print(process.log, process.log.read_text(), sep="\n")


def _arguments(stage: Stage, pipeline, settings: Mapping[str, Any]) -> list[str]:
    named = {"topic": pipeline.topic, "group": f"{pipeline.topic}-{_GROUPS[stage]}", "subject": pipeline.subject}
    if stage == "validate":
        named |= {"clean": pipeline.clean, "dead-letters": pipeline.dead_letters}
    given = [(f"--{name}", value) for name, value in named.items()]
    given += [("-X", f"{key}={value}") for key, value in settings.items()]
    return [part for pair in given for part in pair]
