"""
`python -m benchmarks.sink`: the sink on real services, beside a script that commits row by row.

The same trades, the same table, the same run: what counts is the ratio. Then what
no speed may cost: a fresh group stores nothing twice, and sinks that are killed lose nothing. Ends with 1
if any of that does not hold.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from benchmarks.check_table import Verdict, verdict
from benchmarks.contender import measure
from benchmarks.kill_sinks import kill_and_restart
from benchmarks.publish_trades import Published, publish, task_of
from benchmarks.report import line, machine, spread
from benchmarks.scratch_database import fresh_database
from tests.services.real import RealServices
from tradepipe import Sink
from tradepipe.pipeline.stats import SinkCounts


class Run(NamedTuple):
    """
    One sink from its start to the end of the topic.

    `seconds` counts all, joining the group included; `storing` from the first
    COMMIT to the last, in which `storing_records` were stored; `cpu` is the time
    of the sink's own process.
    """

    counts: SinkCounts
    seconds: float
    storing: float
    storing_records: int
    cpu: float

    @property
    def records(self) -> int:
        return self.counts.stored + self.counts.duplicates

    @property
    def rate(self) -> float:
        """Records per second, from start to end."""
        return self.records / self.seconds

    @property
    def steady(self) -> float:
        """Records per second, from the first COMMIT to the last."""
        return self.storing_records / self.storing


def main() -> int:
    options = _options()
    # A killed sink keeps its partitions until its session ends; warnings about that are expected here.
    logging.basicConfig(level=logging.ERROR)
    services = RealServices(is_optimized=True)
    try:
        return _measure(services, options)
    finally:
        services.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink", description="Measure the sink on real services.")
    parser.add_argument("--trades", type=int, default=100_000, help="how many are published")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--row-by-row", type=int, default=3_000, help="how many of them the reference stores")
    parser.add_argument("--runs", type=int, default=3, help="of the sink and of the reference, in turn")
    parser.add_argument("--kills", type=int, default=10, help="0 leaves them out")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _measure(services: RealServices, options: argparse.Namespace) -> int:
    line("machine", machine(services))
    line("seed", str(options.seed))
    published = publish(services, count=options.trades, partitions=options.partitions, seed=options.seed)
    line("made and published, trades/s", f"{published.count / published.seconds:,.0f}")
    runs, verdicts = _compare(services, published, options)
    if options.kills:
        verdicts.append(_kill(services, published, options, runs))
    holds = all(verdicts)
    line("every promise held", "yes" if holds else "NO")
    return 0 if holds else 1


def _compare(services: RealServices, published: Published, options: argparse.Namespace) -> tuple[list[Run], list[bool]]:
    """Measure reference and sink in turn, so that other load affects both."""
    rows, verdicts = min(options.row_by_row, published.count), []
    reference: list[float] = []
    runs: list[Run] = []
    repeated: list[Run] = []
    for number in range(options.runs):
        with fresh_database(services) as database:
            reference.append(
                measure(
                    "contenders_storing.row_by_row", replace(task_of(published), database=database, count=rows)
                ).rate
            )
        with fresh_database(services) as database:
            runs.append(_store(published, database, f"sink-{number}"))
            verdicts.append(_report(verdict(published, database, f"sink-{number}")))
            repeated.append(_store(published, database, f"again-{number}"))
            verdicts.append(_nothing_new(repeated[-1], published))
    line("row by row, records/s", spread(reference))
    _print(runs, repeated, reference)
    return runs, verdicts


def _print(runs: Sequence[Run], repeated: Sequence[Run], reference: Sequence[float]) -> None:
    line("sink, start to end, records/s", spread([run.rate for run in runs]))
    line("sink, first to last COMMIT, records/s", spread([run.steady for run in runs]))
    line("sink, CPU µs a record", spread([run.cpu / run.records * 1e6 for run in runs], 1))
    line("ratio, start to end", spread([run.rate / row for run, row in zip(runs, reference, strict=True)], 1))
    line("ratio, first to last COMMIT", spread([run.steady / row for run, row in zip(runs, reference, strict=True)], 1))
    line("fresh group, start to end, records/s", spread([run.rate for run in repeated]))
    line("fresh group: new rows, duplicates", f"{repeated[0].counts.stored}, {repeated[0].counts.duplicates}")


def _kill(services: RealServices, published: Published, options: argparse.Namespace, runs: list[Run]) -> bool:
    storing = median(run.storing for run in runs)
    starting = median(run.seconds for run in runs) - storing
    with fresh_database(services) as database:
        killed = kill_and_restart(
            published,
            database,
            "killed",
            kills=options.kills,
            seed=options.seed,
            starting=starting,
            storing=storing,
        )
        found = verdict(published, database, "killed")
    line("kill -9 and restart", f"{killed.hit} of {options.kills} hit a running sink, {killed.seconds:.0f} s in all")
    line("rows, missing, replayed, refused", f"{found.rows}, {found.missing}, {killed.replayed}, {found.refusals}")
    line("same content, every offset at its end", f"{found.same_content}, {found.at_end}")
    return found.holds and killed.replayed == 0


def _store(published: Published, database: str, group: str) -> Run:
    """Run one sink in this process."""
    commits: list[tuple[float, int]] = []
    begin, cpu = time.perf_counter(), time.process_time()
    with Sink(
        published.kafka,
        registry=published.registry,
        database=database,
        topic=published.topic,
        subject=published.subject,
        group=group,
        on_stored=lambda stored: commits.append((time.perf_counter(), len(stored.batch.records))),
    ) as sink:
        counts = sink.run(until_end=True)
    end = time.perf_counter()
    # The first batch was read before its COMMIT, so it is not counted.
    storing, records = commits[-1][0] - commits[0][0], sum(size for _, size in commits[1:])
    return Run(counts, end - begin, storing, records, time.process_time() - cpu)


def _report(found: Verdict) -> bool:
    if not found.holds:
        line("NOT AS ACKNOWLEDGED", str(found))
    return found.holds


def _nothing_new(run: Run, published: Published) -> bool:
    nothing_new = (run.counts.stored, run.counts.duplicates, dict(run.counts.refused)) == (0, published.count, {})
    if not nothing_new:
        line("A FRESH GROUP CAME TO", str(run.counts))
    return nothing_new


if __name__ == "__main__":
    sys.exit(main())
