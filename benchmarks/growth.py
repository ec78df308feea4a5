"""How the sink's rate changes with the backlog, the table and the number of processes, beside PostgreSQL's own."""

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.comparison import LIMITS, SINK, STAGING, STRAIGHT, execute
from benchmarks.contender import Commit, Result, Task, measure
from benchmarks.contenders_storing import encode_rows
from benchmarks.publish_trades import publish, task_of
from benchmarks.scratch_database import copied_database, fresh_database, settle
from tests.services.real import RealServices
from tradepipe import Trade
from tradepipe.trade import samples

PROCESSES: Final = (1, 2, 4)
TRADES_BY_PROCESSES: Final = 10
"""How many times as many trades the processes of one group store: they join at different times."""

_DISTINCT: Final = 400_000
"""Trades that are made one by one; more are the same with other ids, which takes a tenth of the time."""

_EARLIER_ROWS: Final = """
INSERT INTO trades (trade_id, version, counterparty_id, book_id, maturity_date, created_at, side, notional, currency,
    source_topic, source_partition, source_offset, schema_id)
SELECT 'T1-' || n / 5, 1000000 + n % 5, 'CP-' || n % 20, 'B' || n % 5, DATE '2035-01-01',
    TIMESTAMPTZ '2025-01-01Z' + n * INTERVAL '1 second', 'BUY', n % 100000 + 0.01, 'EUR', 'earlier', n % 4, n, 1
FROM generate_series(1, {}) AS n
"""
"""Five versions of each trade, among whose keys those of the sample trades are scattered."""


class Growth(NamedTuple):
    """
    One size.

    Attributes:
        limits: rates of PostgreSQL alone, run by run; empty where they are not measured.

        cpu: µs a record, of all processes.

        mebibytes: the largest process's peak memory.
    """

    case: str
    rates: list[float]
    limits: dict[str, list[float]]
    cpu: list[float]
    mebibytes: float

    def shares(self, limit: str) -> list[float]:
        """Return the rates relative to those of a limit in the same run."""
        return [rate / other for rate, other in zip(self.rates, self.limits[limit], strict=True)]


def measure_growth(
    services: RealServices, folder: Path, *, backlogs: Sequence[int], tables: Sequence[int], trades: int, runs: int
) -> Iterator[Growth]:
    """
    Measure each size; sink and limits of a size in turn.

    Args:
        tables: rows that are stored before.

        trades: how many are stored into such a table.
    """
    for size in backlogs:
        task = _task(services, folder, size)
        yield _in_turn(services, f"backlog of {size:,}", task, runs, None)
    task = _task(services, folder, trades)
    for size in tables:
        with fresh_database(services) as earlier:
            execute(earlier, _EARLIER_ROWS.format(size))
            settle(earlier)
            yield _in_turn(services, f"table of {size:,}", task, runs, earlier)
    task = _task(services, folder, TRADES_BY_PROCESSES * trades)
    for processes in PROCESSES:
        yield _together(services, task, processes, runs)


def _task(services: RealServices, folder: Path, size: int) -> Task:
    task = task_of(publish(services, count=size, partitions=4, seed=1, made=_many_trades()))
    path = folder / str(size)
    if not path.exists():
        encode_rows(task, _many_trades(), path)
    return replace(task, rows=str(path))


def _many_trades() -> Iterator[Trade]:
    """Generate trades without end, each set of keys after the last one."""
    made = list(islice(samples.trades(1), _DISTINCT))
    yield from made
    for number in count(1):
        for trade in made:
            yield trade._replace(trade_id=f"U{number:04}{trade.trade_id[2:]}")


def _in_turn(services: RealServices, case: str, task: Task, runs: int, template: str | None) -> Growth:
    found: dict[str, list[Result]] = {STRAIGHT: [], STAGING: [], SINK: []}
    for _ in range(runs):
        for name, results in found.items():
            with _database(services, template) as database:
                program = LIMITS.get(name, "contenders_storing.sink")
                results.append(measure(program, replace(task, database=database, group=f"growth-{time.time_ns()}")))
    sinks = found.pop(SINK)
    limits = {name: [each.rate for each in results] for name, results in found.items()}
    return Growth(
        case, [each.rate for each in sinks], limits, [each.cpu for each in sinks], max(each.mebibytes for each in sinks)
    )


def _together(services: RealServices, task: Task, processes: int, runs: int) -> Growth:
    rates, cpu, mebibytes = [], [], 0.0
    for _ in range(runs):
        with fresh_database(services) as database, ThreadPoolExecutor(processes) as threads:
            group = replace(task, database=database, group=f"growth-{time.time_ns()}")
            running = [threads.submit(measure, "contenders_storing.sink", group) for _ in range(processes)]
            results = [each.result() for each in running]
        rates.append(joint_rate([each.commits for each in results]))
        cpu.append(sum(each.cpu * each.records for each in results) / sum(each.records for each in results))
        mebibytes = max(mebibytes, *(each.mebibytes for each in results))
    return Growth(f"processes of one group: {processes}", rates, {}, cpu, mebibytes)


def joint_rate(commits: Sequence[Sequence[Commit]]) -> float:
    """Return the records a second of all processes while each of them stores."""
    begin = max((each[0].at for each in commits if each), default=0.0)
    end = min((each[-1].at for each in commits if each), default=0.0)
    if begin >= end or not all(commits):
        raise RuntimeError("the processes did not store at the same time; store more trades")
    return sum(_records_at(each, end) - _records_at(each, begin) for each in commits) / (end - begin)


def _records_at(commits: Sequence[Commit], at: float) -> int:
    return commits[bisect_right(commits, at, key=lambda each: each.at) - 1].records


@contextmanager
def _database(services: RealServices, template: str | None) -> Iterator[str]:
    with fresh_database(services) if template is None else copied_database(services, template) as database:
        yield database
