"""
`python -m benchmarks.kill_replays`: replays of dead letters that are killed repeatedly.

On real Kafka. Each selected dead letter must be written to its source topic exactly
once, with its bytes, and every other one must stay open. Ends with 1 otherwise.
"""

import argparse
import random
import subprocess
import sys
import time
from collections import Counter

from benchmarks.report import line, machine
from benchmarks.subprocess_stages import Stage
from tests.pipeline.dead_letter_helpers import DeadLetterTopic
from tests.services.real import RealServices
from tradepipe.kafka.admin import TopicAdmin
from tradepipe.trade.dead_letter import DeadLetterFilter

PARTITIONS = 4
SELECTED = 0.8
"""Share of the dead letters that the replay selects, by their code."""

EARLY = 0.3
"""Share of the kills soon after a start: while taking over, reading, or in the first transaction."""

STALLED = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kill_replays", description="Kill running replays repeatedly."
    )
    parser.add_argument("--letters", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    services = RealServices()
    try:
        return _run(services, options)
    finally:
        services.close()


def _run(services: RealServices, options: argparse.Namespace) -> int:
    line("machine", machine(services))
    line("seed, letters", f"{options.seed}, {options.letters:,}")
    kafka = {"bootstrap.servers": services.bootstrap_servers, **services.client_settings}
    letters = DeadLetterTopic(kafka, f"replays-{options.seed}", f"replays-{options.seed}.dlq")
    for topic in (letters.source, letters.topic):
        services.create_topic(topic, partitions=PARTITIONS)
    moments = random.Random(options.seed)
    selected = {number for number in range(options.letters) if moments.random() < SELECTED}
    letters.write(letters.refusal(n, "VERSION" if n in selected else "BOOK_ID") for n in range(options.letters))
    replay = Stage("dlq", ["replay", *_options(letters), "--bootstrap-servers", services.bootstrap_servers])
    begin = time.monotonic()
    hit = sum(_kill(replay, letters, moments, mark) for mark in _marks(moments, len(selected), options.kills))
    ended = _finish(replay)
    line(
        "kill -9 and repeat", f"{hit} of {options.kills} hit a running replay, {time.monotonic() - begin:.0f} s in all"
    )
    return 0 if _report(letters, selected, options.letters) and ended == 0 else 1


def _options(letters: DeadLetterTopic) -> list[str]:
    # Unverified: the records that the dead letters name were never in the source topic.
    return ["--dead-letters", letters.topic, "--topic", letters.source, "--unverified", "--code", "VERSION"]


def _marks(moments: random.Random, selected: int, kills: int) -> list[float]:
    """Return the number of replayed records before each kill."""
    return sorted(moments.uniform(0, selected * 0.9) for _ in range(kills))


def _kill(replay: Stage, letters: DeadLetterTopic, moments: random.Random, mark: float) -> bool:
    """Kill a replay at its mark, or soon after its start; return whether it was still running."""
    with replay.running() as process:
        if moments.random() < EARLY:
            time.sleep(moments.uniform(0.0, 3.0))
        else:
            _wait_for(process, letters, mark)
        alive = process.poll() is None
        process.kill()
    return alive


def _wait_for(process: subprocess.Popen[bytes], letters: DeadLetterTopic, mark: float) -> None:
    admin, until = TopicAdmin(letters.kafka), time.monotonic() + STALLED
    while sum(extent.high for extent in admin.watermarks(letters.source, range(PARTITIONS)).values()) < mark:
        if process.poll() is not None:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"a replay stalled for {STALLED:g} s")


def _finish(replay: Stage) -> int:
    with replay.running() as process:
        code = process.wait(STALLED)
    if code:
        line("THE LAST REPLAY ENDED WITH", f"{code}: {replay.said()}")
    return code


def _report(letters: DeadLetterTopic, selected: set[int], count: int) -> bool:
    """Print where the records are; return whether that is correct."""
    found = Counter(record.value for record in letters.records())
    wanted = {b"v%d" % number for number in selected}
    open_ones = {letter.record.offset for letter in letters.dead_letters()}
    closed = len(letters.dead_letters(DeadLetterFilter(replayed=True))) - len(open_ones)
    line("selected, replayed", f"{len(wanted):,}, {found.total():,}")
    line("lost, replayed twice, not selected", _three(wanted - found.keys(), found, found.keys() - wanted))
    line("still open, closed by markers", f"{len(open_ones):,}, {closed:,}")
    rest = set(range(count)) - selected
    holds = set(found) == wanted and set(found.values()) == {1} and open_ones == rest and closed == len(selected)
    line("all guarantees held", "yes" if holds else "NO")
    return holds


def _three(lost: set[bytes], found: Counter[bytes], unselected: set[bytes]) -> str:
    return f"{len(lost)}, {sum(number > 1 for number in found.values())}, {len(unselected)}"


if __name__ == "__main__":
    sys.exit(main())
