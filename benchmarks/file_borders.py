"""
`python -m benchmarks.file_borders`: file borders that one record crosses in the sink and in the validator.

A border is crossed when execution moves from one file of `src/tradepipe` to another, by a
call or by a return. The record measured is the second one of a run: the first has generated
the decoder, claimed the partitions and opened the connections.
"""

import argparse
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, get_args

import tradepipe
from benchmarks.report import line
from benchmarks.scratch_database import fresh_database
from tests.services.real import RealServices
from tradepipe import Producer, SchemaRegistry, Sink, Trade, Validator
from tradepipe.pipeline.validator import DeliveryGuarantee
from tradepipe.registry.registration import register

PACKAGE: Final = Path(tradepipe.__file__).parent
LOOPS: Final = {"_run_once", "_run"}
"""Functions whose direct calls are counted one by one: a stage's turn, and the sink's database thread."""

IDLE_SECONDS: Final = 7.0
"""Longer than the longest interval between two periodic checks of a stage without records."""
START_SECONDS: Final = 60.0
RECORD_SECONDS: Final = 3.0
"""Long enough for one record and for everything that follows its commit."""


class Call:
    """A call that a loop makes: the functions it executes, and the file borders it crosses."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.ended_at = 0.0
        self.functions: Counter[CodeType] = Counter()
        self.files: list[str] = []
        self.crossings = 0


class Recorder:
    """Profile function for threads: groups their work into the calls that loops make."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._stacks: defaultdict[int, list[CodeType]] = defaultdict(list)
        self._current: dict[int, Call] = {}

    def record(self, frame: FrameType, event: str, _: Any) -> None:
        """Take one event of the interpreter; frames of other packages belong to the caller of ours."""
        code = frame.f_code
        if event not in {"call", "return"} or not code.co_filename.startswith(str(PACKAGE)):
            return
        thread = threading.get_ident()
        stack = self._stacks[thread]
        if event == "return":
            if stack:
                stack.pop()
                self._move(thread, code, stack[-1] if stack else None)
                if stack and _is_loop(stack[-1]):
                    self._current.pop(thread).ended_at = time.monotonic()
            return
        if stack and _is_loop(stack[-1]):
            self._current[thread] = Call(code)
            self.calls.append(self._current[thread])
        if thread in self._current:
            self._current[thread].functions[code] += 1
        self._move(thread, stack[-1] if stack else None, code)
        stack.append(code)

    def _move(self, thread: int, before: CodeType | None, after: CodeType | None) -> None:
        call = self._current.get(thread)
        if call is not None and before is not None and after is not None and before.co_filename != after.co_filename:
            call.crossings += 1
            call.files.append(after.co_filename)


def _is_loop(code: CodeType) -> bool:
    return code.co_name in LOOPS and Path(code.co_filename).parent.name == "pipeline"


@contextmanager
def running(stage: Sink | Validator) -> Iterator[Recorder]:
    """Run a stage in a recorded thread, and stop it at the end of the block."""
    recorder = Recorder()
    threading.setprofile(recorder.record)
    thread = threading.Thread(target=stage.run)
    thread.start()
    try:
        yield recorder
    finally:
        stage.stop()
        thread.join()
        threading.setprofile(None)  # type: ignore[arg-type]  # typeshed lacks None, which ends it


def wait_for_change(stage: Sink | Validator, before: str) -> None:
    """Wait until the stage has counted a record."""
    deadline = time.monotonic() + START_SECONDS
    while str(stage.counts) == before:
        if time.monotonic() > deadline:
            sys.exit(f"the stage has counted no record within {START_SECONDS:.0f} s")
        time.sleep(0.1)


def report(stage: str, recorder: Recorder, idle_from: float, sent_at: float, *, verbose: bool) -> None:
    """Print the crossings of the calls that execute anything which a stage without records does not."""
    stopped_at = sent_at + RECORD_SECONDS
    idle = {function for call in recorder.calls if idle_from <= call.ended_at < sent_at for function in call.functions}
    record = [call for call in recorder.calls if sent_at <= call.ended_at < stopped_at and set(call.functions) - idle]
    functions = sum((call.functions for call in record), Counter[CodeType]())
    files = {function.co_filename for function in functions}
    crossings = sum(call.crossings for call in record)
    line(stage, f"{crossings} crossings, {functions.total()} calls, {len(files)} files")
    for call in record:
        names = [str(Path(name).relative_to(PACKAGE).with_suffix("")) for name in call.files] if verbose else []
        line(f"  {call.code.co_name}", f"{call.crossings:>3} {' '.join(names)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.file_borders", description="Count the file borders that one record crosses."
    )
    parser.add_argument("--delivery", choices=get_args(DeliveryGuarantee), default="exactly_once")
    parser.add_argument("--verbose", action="store_true", help="print the way, file by file")
    options = parser.parse_args()
    trade = Trade("T1", 1, "CP-1", "B1", maturity_date=date(2030, 1, 1), created_at=datetime(2026, 1, 1, tzinfo=UTC))
    services = RealServices(is_optimized=True)
    with closing(services), fresh_database(services) as database:
        kafka = {"bootstrap.servers": services.bootstrap_servers}
        registry = services.registry_url
        for topic in ("trades", "trades.clean", "trades.dlq"):
            # More than the records of the source: a dead letter has headers with the reasons.
            config = {"max.message.bytes": "2000000"} if topic == "trades.dlq" else {}
            services.kafka.create_topic(topic, partitions=1, config=config)
        with SchemaRegistry(registry) as client:
            register(client, "trades-value")
        sink = Sink(kafka, registry=registry, database=database)
        validator = Validator(kafka, registry=registry, delivery=options.delivery)
        with Producer(kafka, registry=registry, topic="trades") as producer:
            for name, stage in (("sink", sink), (f"validator, {options.delivery}", validator)):
                before = str(stage.counts)
                with running(stage) as recorder:
                    producer.produce(trade)
                    producer.flush()
                    wait_for_change(stage, before)
                    time.sleep(RECORD_SECONDS)
                    idle_from = time.monotonic()
                    time.sleep(IDLE_SECONDS)
                    sent_at = time.monotonic()
                    producer.produce(trade._replace(version=2))
                    producer.flush()
                    time.sleep(RECORD_SECONDS)
                report(name, recorder, idle_from, sent_at, verbose=options.verbose)
                print(stage.counts, file=sys.stderr)


if __name__ == "__main__":
    main()
