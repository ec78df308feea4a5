"""
`python -m benchmarks.compare`: each stage beside its limit and beside other programs, on real services.

All in one run and in turn, each in a separate process: what counts are the ratios
within a run, since another machine, or this one at another time, gives other
rates. With `--write` the results become docs/comparison.md, a picture beside it,
and the picture of the README. Raises an error unless all records were stored or passed once.
"""

import argparse
from dataclasses import replace
from statistics import median
from typing import Final

from benchmarks.compare_sinks import compare_latencies, compare_sinks
from benchmarks.comparison import SINK, Bench, Comparison, Results, ratios
from benchmarks.contender import measure
from benchmarks.contenders_copying import content
from benchmarks.growth import Growth, measure_growth
from benchmarks.publish_trades import publish, warm_up
from benchmarks.report import line, machine, spread
from tests.services.real import RealServices
from tradepipe.embedded.process import TempFolder

COPY: Final = "transactional copy that looks at nothing"
VALIDATOR: Final = "validator"
RAW: Final = "confluent-kafka's produce with a callback"
PRODUCE: Final = "Producer.produce"
PRODUCE_MANY: Final = "Producer.produce_many"

COMPARISONS: Final = ("sinks", "validators", "producers", "latencies")


def main() -> None:
    options = _options()
    services, folder = RealServices(is_optimized=True), TempFolder("compare")
    try:
        line("machine", described := machine(services))
        if options.growth:
            sizes = measure_growth(
                services,
                folder.path,
                backlogs=options.backlogs,
                tables=options.tables,
                trades=options.trades,
                runs=options.runs,
            )
            growth = [_print_growth(size) for size in sizes]
        else:
            published = publish(services, count=options.trades, partitions=options.partitions, seed=options.seed)
            warm_up(published)
            bench = Bench(services, published, options.runs, folder.path)
            found = [_compare(name, bench, options) for name in options.only or COMPARISONS]
    finally:
        services.close()
        folder.close()
    if options.write:
        from benchmarks import comparison_page  # noqa: PLC0415 - needs matplotlib

        if options.growth:
            comparison_page.write_growth(growth, described, options.trades, options.runs)
        else:
            comparison_page.write(found, described, options.trades)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare the stages with others.")
    parser.add_argument("--trades", type=int, default=400_000, help="how many are published")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--row-by-row", type=int, default=5_000, help="how many of them the script stores row by row")
    parser.add_argument("--quixstreams", type=int, default=40_000, help="how many of them quixstreams stores")
    parser.add_argument("--connect", action="store_true", help="Kafka Connect too, which takes minutes")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=COMPARISONS, action="append", help="which comparison")
    parser.add_argument("--growth", action="store_true", help="rates by backlog, table and processes instead")
    parser.add_argument("--backlogs", type=int, nargs="*", default=(100_000, 1_000_000))
    parser.add_argument("--tables", type=int, nargs="*", default=(1_000_000, 10_000_000), help="rows that are there")
    parser.add_argument("--write", action="store_true", help="write the page and the pictures")
    return parser.parse_args()


def _compare(name: str, bench: Bench, options: argparse.Namespace) -> Comparison:
    comparison = {
        "sinks": lambda: compare_sinks(
            bench,
            row_by_row=min(options.row_by_row, options.trades),
            quixstreams=min(options.quixstreams, options.trades),
            connect=options.connect,
        ),
        "validators": lambda: _compare_validators(bench),
        "producers": lambda: _compare_producers(bench),
        "latencies": lambda: compare_latencies(bench),
    }[name]()
    _print(comparison)
    return comparison


def _compare_validators(bench: Bench) -> Comparison:
    results: Results = {COPY: [], VALIDATOR: []}
    expected = content(bench.task(), bench.published.topic)
    for _ in range(bench.runs):
        for name, program in ((COPY, "contenders_copying.copy"), (VALIDATOR, "contenders_copying.validator")):
            task = bench.task()
            task.target = task.group
            for topic in (task.target, f"{task.target}.dlq"):
                config = {"max.message.bytes": "2000000"}
                bench.services.kafka.create_topic(topic, partitions=task.partitions, config=config)
            results[name].append(measure(program, task))
            found = content(task, task.target), content(task, f"{task.target}.dlq")[0]
            if found != (expected, 0):
                raise RuntimeError(f"{name} passed {found}, not {expected} and no dead letter")
    return Comparison("Validating, records/s", results, (COPY,))


def _compare_producers(bench: Bench) -> Comparison:
    programs = {
        RAW: "contenders_sending.produce_raw",
        PRODUCE: "contenders_sending.produce",
        PRODUCE_MANY: "contenders_sending.produce_many",
    }
    results: Results = {name: [] for name in programs}
    for _ in range(bench.runs):
        for name, program in programs.items():
            results[name].append(measure(program, replace(bench.task(), topic=bench.new_topic())))
    return Comparison("Producing, records/s", results, (RAW,))


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
        if SINK in comparison.results and name != SINK:
            line("  the sink's rate to it", spread(ratios(comparison.results, SINK, name), 1))
        line("  from its start", spread([each.rate_from_start for each in found]))
        line("  CPU µs a record", spread([each.cpu for each in found], 1))
        line("  peak memory, MiB", f"{median(each.mebibytes for each in found):.0f}")
    for note in comparison.notes:
        line("note", note)


def _print_growth(size: Growth) -> Growth:
    line(f"sink, {size.case}", spread(size.rates))
    for limit, rates in size.limits.items():
        line(f"  {limit}", spread(rates))
        line(f"  of {limit}", spread(size.shares(limit), 2))
    line("  CPU µs a record", spread(size.cpu, 1))
    line("  peak memory, MiB", f"{size.mebibytes:.0f}")
    return size


if __name__ == "__main__":
    main()
