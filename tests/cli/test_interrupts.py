"""SIGINT at random moments of every command: it ends soon, with the right code and no traceback."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.cli.commands import Done, running
from tests.eventually import eventually

MOMENTS = 6
LONGEST_SECONDS = 1.5
"""A command has begun its work by then, unless the machine is busy."""

WITHIN_SECONDS = 10.0
"""A generous bound of what takes a fraction of a second."""

INTERRUPTED = 130

COMMANDS = {
    # For how long a signal lets it finish: the exit code says whether it did.
    "produce": (["produce", "--rate=200"], {0, INTERRUPTED}),
    "sink": (["sink"], {0, INTERRUPTED}),
    "validate": (["validate", "--delivery=at_least_once", "--start=earliest"], {0, INTERRUPTED}),
    # These end by themselves: with findings, without, or because another command has not written anything yet.
    "dlq ls": (["dlq", "ls", "--from=table"], {0, 1, INTERRUPTED}),
    "topics check": (["topics", "check"], {0, 1, INTERRUPTED}),
    "schema drift": (["schema", "drift"], {0, 1, INTERRUPTED}),
}


def interrupt(arguments: list[str], env: dict[str, str], after: float) -> Done:
    """Start a command, send it SIGINT some time after its first line has run, and wait for its end."""
    with running(arguments[0], *arguments[1:], env=env) as command:
        eventually(lambda: _handles_sigterm(command.pid))
        time.sleep(after)  # the moment is random, nothing is waited for
        command.send_signal(signal.SIGINT)
        return command.end(within=WITHIN_SECONDS)


def _handles_sigterm(pid: int) -> bool:
    """Return whether a process catches SIGTERM, as commands do from their first line on and Python itself does not."""
    status = Path(f"/proc/{pid}/status")
    caught = re.search(r"^SigCgt:\s*(\w+)", status.read_text(), re.MULTILINE)
    return caught is None or bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def interrupt_often(name: str, env: dict[str, str]) -> list[Done]:
    """Interrupt a command at random moments, one in each part of the time."""
    arguments, _ = COMMANDS[name]
    random = Random(name)
    moments = [(part + random.random()) * LONGEST_SECONDS / MOMENTS for part in range(MOMENTS)]
    with ThreadPoolExecutor(3) as threads:
        return list(threads.map(lambda after: interrupt(arguments, env, after), moments))


@pytest.mark.embedded
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupted_command_ends_soon_with_its_code(ready, services, topic, name):
    for suffix in (".clean", ".dlq"):
        services.create_topic(topic + suffix)
    env = ready | {"TRADEPIPE_CLEAN": f"{topic}.clean"}
    if name == "validate":
        env |= {"TRADEPIPE_DEAD_LETTERS": f"{topic}.dlq"}

    ended = interrupt_often(name, env)

    _, codes = COMMANDS[name]
    assert [] == [done for done in ended if "Traceback" in done.err or done.code not in codes]
    assert [] == [done for done in ended if done.code == INTERRUPTED and "acknowledged" in done.out]


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["sink", "validate"])
def test_a_stage_that_waits_for_kafka_has_no_batch_to_finish(ready, unresponsive, name):
    """A request to a broker that does not answer takes up to ten seconds."""
    arguments, _ = COMMANDS[name]
    with running(arguments[0], *arguments[1:], env=ready | {"KAFKA_BOOTSTRAP_SERVERS": unresponsive}) as command:
        eventually(lambda: _handles_sigterm(command.pid))
        time.sleep(LONGEST_SECONDS)
        command.send_signal(signal.SIGINT)
        done = command.end(within=WITHIN_SECONDS - 1)

    assert done.code in (0, INTERRUPTED)
    assert "batch" not in done.err


@pytest.fixture
def unresponsive() -> Iterator[str]:
    """Return the address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"
