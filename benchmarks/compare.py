"""
`python -m benchmarks.compare`: each stage beside its limit and beside other programs, on real services.

All in one run and in turn, each in a process of its own: what counts are the ratios
of a turn, since another machine, or this one at another time, gives other figures.
"""

import argparse
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median
from typing import Final, NamedTuple

from benchmarks.contender import Result, Task, measure
from benchmarks.publish_trades import Published, publish
from benchmarks.report import line, machine, spread
from benchmarks.scratch_database import fresh_database
from tests.services.real import RealServices

_PYTHON: Final = {"TRADEPIPE_NATIVE": "0"}
_DUPLICATE_SHARE: Final = 100


class Entry(NamedTuple):
    """A contender in the table: how its task is made, and of which program."""

    program: str
    environment: Mapping[str, str] = {}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare the stages with others.")
    parser.add_argument("--trades", type=int, default=200_000, help="how many are published")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rows", type=int, default=3_000, help="how many of them the script stores row by row")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=GROUPS, action="append", help="which comparison")
    options = parser.parse_args()
    services = RealServices()
    try:
        line("machine", machine(services))
        published = publish(services, count=options.trades, partitions=options.partitions, seed=options.seed)
        for group in options.only or GROUPS:
            GROUPS[group](services, published, options)
    finally:
        services.close()


def _task(published: Published) -> Task:
    return Task(
        kafka=published.kafka,
        registry=published.registry,
        topic=published.topic,
        subject=published.subject,
        partitions=len(published.ends),
        count=published.count,
        seed=published.seed,
        group=f"bench-{uuid.uuid4().hex[:8]}",
    )


def _compare_sinks(services: RealServices, published: Published, options: argparse.Namespace) -> None:
    entries = {
        "PostgreSQL, straight COPY": Entry("postgres straight"),
        "PostgreSQL, through staging": Entry("postgres staging"),
        "sink": Entry("sink"),
        "sink without the compiled core": Entry("sink", _PYTHON),
        "script with execute_values": Entry("script"),
        "script, row by row": Entry("row by row"),
    }
    results: dict[str, list[Result]] = {name: [] for name in (*entries, "sink, all duplicates")}
    for _ in range(options.runs):
        for name, entry in entries.items():
            with fresh_database(services) as database:
                task = replace(_task(published), database=database)
                if entry.program == "row by row":
                    task.count = min(options.rows, task.count)
                results[name].append(measure(entry.program, task, entry.environment))
                if name == "sink":
                    again = replace(_task(published), database=database)
                    results["sink, all duplicates"].append(measure("sink", again))
    _print(results, "PostgreSQL, straight COPY", "PostgreSQL, through staging", "sink")


def _compare_validators(services: RealServices, published: Published, options: argparse.Namespace) -> None:
    results: dict[str, list[Result]] = {"transactional copy": [], "validator": []}
    for _ in range(options.runs):
        for name, program in (("transactional copy", "copy"), ("validator", "validator")):
            task = _task(published)
            task.target = f"{task.group}-{program}"
            for topic in (task.target, f"{task.target}.dlq"):
                services.kafka.create_topic(
                    topic, partitions=options.partitions, config={"max.message.bytes": "2000000"}
                )
            results[name].append(measure(program, task))
    _print(results, "transactional copy")


def _compare_producers(services: RealServices, published: Published, options: argparse.Namespace) -> None:
    results: dict[str, list[Result]] = {"raw produce with a callback": [], "produce": []}
    for _ in range(options.runs):
        for name, program in (("raw produce with a callback", "produce raw"), ("produce", "produce")):
            results[name].append(measure(program, replace(_task(published), topic=_new_topic(services, options))))
    _print(results, "raw produce with a callback")


def _compare_latencies(services: RealServices, published: Published, options: argparse.Namespace) -> None:
    for name, program in (("script with execute_values", "script"), ("sink", "sink")):
        found = []
        for _ in range(options.runs):
            with fresh_database(services) as database, ThreadPoolExecutor() as threads:
                task = replace(
                    _task(published),
                    database=database,
                    topic=_new_topic(services, options),
                    kafka={**published.kafka, "topic.metadata.refresh.interval.ms": 1_000},
                    count=20_000,
                    rate=1_000,
                    epoch=time.time(),
                )
                reading = threads.submit(measure, program, task)
                measure("pace", replace(task, kafka={"bootstrap.servers": services.bootstrap_servers}))
                found.append(reading.result())
        line(f"{name}, latency p50, ms", spread([each.latency(0.5) for each in found], 1))
        line(f"{name}, latency p99, ms", spread([each.latency(0.99) for each in found], 1))


def _new_topic(services: RealServices, options: argparse.Namespace) -> str:
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    services.create_topic(topic, partitions=options.partitions)
    return topic


def _print(results: Mapping[str, list[Result]], *references: str) -> None:
    for name, found in results.items():
        line(f"{name}, records/s", spread([each.rate for each in found]))
        for reference in references:
            if reference != name:
                ratios = [each.rate / other.rate for each, other in zip(found, results[reference], strict=True)]
                line(f"  of {reference}", spread(ratios, 2))
        line("  CPU µs a record", spread([each.cpu for each in found], 1))
        line("  peak memory, MiB", f"{median(each.mebibytes for each in found):.0f}")


GROUPS: Final[dict[str, Callable[[RealServices, Published, argparse.Namespace], None]]] = {
    "sinks": _compare_sinks,
    "validators": _compare_validators,
    "producers": _compare_producers,
    "latencies": _compare_latencies,
}


if __name__ == "__main__":
    main()
