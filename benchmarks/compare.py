"""
`python -m benchmarks.compare`: each stage beside its limit and beside other programs, on real services.

All in one run and in turn, each in a process of its own: what counts are the ratios
of a turn, since another machine, or this one at another time, gives other figures.
With `--write` the results become docs/comparison.md, a picture beside it, and the
picture of the README.
"""

import argparse
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median
from typing import Final, NamedTuple

from benchmarks.contender import Result, Task, measure, task_of
from benchmarks.publish_trades import Published, publish
from benchmarks.report import line, machine, spread
from benchmarks.scratch_database import fresh_database
from tests.services.real import RealServices

STRAIGHT: Final = "PostgreSQL alone, straight COPY"
STAGING: Final = "PostgreSQL alone, through a staging table"
SINK: Final = "sink"
DUPLICATES: Final = "sink, all duplicates"
PYTHON_SINK: Final = "sink without the compiled core"
SCRIPT: Final = "script: fastavro, execute_values"
ROWS: Final = "script: row by row"
COPY: Final = "transactional copy that looks at nothing"
VALIDATOR: Final = "validator"
RAW: Final = "confluent-kafka's produce with a callback"
PRODUCE: Final = "Producer.produce"
PRODUCE_MANY: Final = "Producer.produce_many"

LATENCY_RATE: Final = 1_000
"""Records a second that are published while latencies are measured."""

LATENCY_RECORDS: Final = 20_000

Results = dict[str, list[Result]]
"""The results of each contender, run by run."""


class Comparison(NamedTuple):
    """
    A group of contenders that were measured in turn.

    Attributes:
        references: the contenders with which the others are compared.

        has_latencies: whether latencies were measured, instead of rates.
    """

    title: str
    results: Results
    references: tuple[str, ...]
    has_latencies: bool = False


class Bench(NamedTuple):
    """What all comparisons share."""

    services: RealServices
    published: Published
    runs: int
    row_by_row: int

    def task(self) -> Task:
        """Return a task that reads the topic, in a group of its own."""
        return task_of(self.published)

    def new_topic(self) -> str:
        """Create an empty topic."""
        topic = f"bench-{uuid.uuid4().hex[:8]}"
        self.services.create_topic(topic, partitions=len(self.published.ends))
        return topic


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare the stages with others.")
    parser.add_argument("--trades", type=int, default=400_000, help="how many are published")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--row-by-row", type=int, default=5_000, help="how many of them the script stores row by row")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=COMPARISONS, action="append", help="which comparison")
    parser.add_argument("--write", action="store_true", help="write the page and the pictures")
    options = parser.parse_args()
    services = RealServices()
    try:
        line("machine", described := machine(services))
        published = publish(services, count=options.trades, partitions=options.partitions, seed=options.seed)
        bench = Bench(services, published, options.runs, min(options.row_by_row, options.trades))
        found = [COMPARISONS[name](bench) for name in options.only or COMPARISONS]
    finally:
        services.close()
    for comparison in found:
        _print(comparison)
    if options.write:
        from benchmarks import comparison_page  # noqa: PLC0415 - needs matplotlib

        comparison_page.write(found, described, options.trades)


def _compare_sinks(bench: Bench) -> Comparison:
    contenders: dict[str, tuple[str, Mapping[str, str]]] = {
        STRAIGHT: ("postgres straight", {}),
        STAGING: ("postgres staging", {}),
        SINK: ("sink", {}),
        PYTHON_SINK: ("sink", {"TRADEPIPE_NATIVE": "0"}),
        SCRIPT: ("script", {}),
        ROWS: ("row by row", {}),
    }
    results: Results = {name: [] for name in (STRAIGHT, STAGING, SINK, DUPLICATES, PYTHON_SINK, SCRIPT, ROWS)}
    for _ in range(bench.runs):
        for name, (program, environment) in contenders.items():
            with fresh_database(bench.services) as database:
                task = replace(bench.task(), database=database)
                if name == ROWS:
                    task.count = bench.row_by_row
                results[name].append(measure(program, task, environment))
                if name == SINK:
                    results[DUPLICATES].append(measure(program, replace(bench.task(), database=database)))
    return Comparison("Storing trades, records/s", results, (STRAIGHT, STAGING))


def _compare_validators(bench: Bench) -> Comparison:
    results: Results = {COPY: [], VALIDATOR: []}
    for _ in range(bench.runs):
        for name, program in ((COPY, "copy"), (VALIDATOR, "validator")):
            task = bench.task()
            task.target = f"{task.group}-{program}"
            for topic in (task.target, f"{task.target}.dlq"):
                config = {"max.message.bytes": "2000000"}
                bench.services.kafka.create_topic(topic, partitions=task.partitions, config=config)
            results[name].append(measure(program, task))
    return Comparison("Validating, records/s", results, (COPY,))


def _compare_producers(bench: Bench) -> Comparison:
    programs = {RAW: "produce raw", PRODUCE: "produce", PRODUCE_MANY: "produce many"}
    results: Results = {name: [] for name in programs}
    for _ in range(bench.runs):
        for name, program in programs.items():
            results[name].append(measure(program, replace(bench.task(), topic=bench.new_topic())))
    return Comparison("Producing, records/s", results, (RAW,))


def _compare_latencies(bench: Bench) -> Comparison:
    results: Results = {SCRIPT: [], SINK: []}
    for _ in range(bench.runs):
        for name, program in ((SCRIPT, "script"), (SINK, "sink")):
            with fresh_database(bench.services) as database, ThreadPoolExecutor() as threads:
                task = replace(
                    bench.task(),
                    database=database,
                    topic=bench.new_topic(),
                    count=LATENCY_RECORDS,
                    rate=LATENCY_RATE,
                    epoch=time.time(),
                )
                reading = threads.submit(measure, program, task)
                measure("pace", replace(task, kafka={"bootstrap.servers": bench.services.bootstrap_servers}))
                results[name].append(reading.result())
    return Comparison(f"Milliseconds from sending to COMMIT at {LATENCY_RATE:,} records/s", results, (), True)


def _print(comparison: Comparison) -> None:
    line(comparison.title, "")
    for name, found in comparison.results.items():
        if comparison.has_latencies:
            line(f"{name}, p50", spread([each.latency(0.5) for each in found], 1))
            line(f"{name}, p99", spread([each.latency(0.99) for each in found], 1))
            continue
        line(name, spread([each.rate for each in found]))
        for reference in comparison.references:
            if reference != name:
                line(f"  of {reference}", spread(ratios(comparison.results, name, reference), 2))
        line("  CPU µs a record", spread([each.cpu for each in found], 1))
        line("  peak memory, MiB", f"{median(each.mebibytes for each in found):.0f}")


def ratios(results: Results, name: str, reference: str) -> list[float]:
    """Return the rate of a contender in each run, relative to that of another."""
    return [each.rate / other.rate for each, other in zip(results[name], results[reference], strict=True)]


COMPARISONS: Final[dict[str, Callable[[Bench], Comparison]]] = {
    "sinks": _compare_sinks,
    "validators": _compare_validators,
    "producers": _compare_producers,
    "latencies": _compare_latencies,
}


if __name__ == "__main__":
    main()
