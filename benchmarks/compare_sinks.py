"""The sink beside PostgreSQL's limits and other programs that store trades: rates and latencies."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, NamedTuple

from benchmarks import contender_connect, quixstreams_environment
from benchmarks.comparison import (
    LIMITS,
    SINK,
    STAGING,
    STRAIGHT,
    Bench,
    Comparison,
    Content,
    Results,
    content,
    execute,
)
from benchmarks.contender import Result, Task, measure
from benchmarks.publish_trades import publish, task_of
from benchmarks.scratch_database import fresh_database

SOME_DUPLICATES: Final = "sink, 1 % duplicates"
DUPLICATES: Final = "sink, all duplicates"
PYTHON_SINK: Final = "sink without the compiled core"
BARE_SINK: Final = "compiled core and straight COPY, no guarantees"
SCRIPT: Final = "script: fastavro, execute_values"
ROWS: Final = "script: row by row"
QUIXSTREAMS: Final = "quixstreams' PostgreSQL sink"
CONNECT: Final = "Kafka Connect, Debezium's JDBC sink"

_SINK: Final = "contenders_storing.sink"
_SCRIPT: Final = "contenders_storing.script"

_NULLABLE: Final = "".join(
    f"ALTER TABLE trades ALTER {column} DROP NOT NULL;"
    for column in ("source_topic", "source_partition", "source_offset", "schema_id")
)
"""For programs that store the trade's fields alone."""

LATENCY_RATE: Final = 1_000
"""Records a second that are published while latencies are measured."""

LATENCY_RECORDS: Final = 20_000


class Storing(NamedTuple):
    """
    A contender that stores trades.

    Attributes:
        preparation: statements that prepare the database.

        first: with this many trades only, since it is slow.
    """

    program: str
    environment: Mapping[str, str] = {}
    preparation: str = ""
    first: int | None = None
    python: Callable[[], str] | None = None


def compare_sinks(bench: Bench, *, row_by_row: int, quixstreams: int, connect: bool) -> Comparison:
    """Compare all programs that store trades; the slow ones store the first of them."""
    contenders = {
        **{name: Storing(program) for name, program in LIMITS.items()},
        BARE_SINK: Storing("contenders_storing.bare_sink"),
        SINK: Storing(_SINK),
        SOME_DUPLICATES: Storing(_SINK),
        DUPLICATES: Storing(_SINK),
        PYTHON_SINK: Storing(_SINK, {"TRADEPIPE_NATIVE": "0"}),
        SCRIPT: Storing(_SCRIPT),
        QUIXSTREAMS: Storing(
            "contender_quixstreams.store",
            preparation=_NULLABLE,
            first=quixstreams,
            python=quixstreams_environment.python,
        ),
        ROWS: Storing("contenders_storing.row_by_row", first=row_by_row),
    }
    if connect:
        contenders[CONNECT] = Storing("contender_connect.store", preparation=_NULLABLE + contender_connect.PREPARATION)
    # quixstreams reads in another order than the log's, so what it stores of a longer topic is not known.
    short = publish(bench.services, count=quixstreams, partitions=bench.task().partitions, seed=bench.published.seed)
    results: Results = {name: [] for name in contenders}
    missing: dict[str, list[int]] = {}
    given: dict[str, int] = {}
    for _ in range(bench.runs):
        for name, contender in contenders.items():
            task = task_of(short if name == QUIXSTREAMS else bench.published)
            with fresh_database(bench.services) as database:
                task = replace(task, database=database, count=contender.first or task.count)
                results[name].append(_measure(bench, name, contender, task))
                expected = bench.expected_content(task)
                if (nulls := _check(name, database, expected)) is not None:
                    missing.setdefault(name, []).append(nulls)
                    given[name] = expected.notionals
    notes = tuple(_note(name, nulls, given[name]) for name, nulls in sorted(missing.items()))
    return Comparison("Storing trades, records/s", results, (STRAIGHT, STAGING), notes)


def _measure(bench: Bench, name: str, contender: Storing, task: Task) -> Result:
    if contender.preparation:
        execute(task.database, contender.preparation)
    if name in LIMITS:
        task = bench.encoded(task)
    if name in (SOME_DUPLICATES, DUPLICATES):
        measure(LIMITS[STRAIGHT], bench.encoded(task, every=100 if name == SOME_DUPLICATES else 1))
    python = {} if contender.python is None else {"python": contender.python()}
    return measure(contender.program, task, contender.environment, **python)


def _note(name: str, missing: list[int], given: int) -> str:
    """Say what another program stored differently, from the number of missing notionals of each run that did."""
    least, most = min(missing), max(missing)
    number = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{name} stored other values: {number} of {given:,} given notionals are NULL."


def _check(name: str, database: str, expected: Content) -> int | None:
    """
    Compare the table with the trades of the topic.

    Returns:
        how many notionals another program has not stored; None if all values are equal.

    Raises:
        RuntimeError: ours did not store every trade once, with all values.
    """
    if name == ROWS:
        return None
    found = content(database, "created_at") if name == CONNECT else content(database)
    if found == expected:
        return None
    if name in (QUIXSTREAMS, CONNECT):
        return expected.notionals - found.notionals
    raise RuntimeError(f"{name} stored {found}, not {expected}")


def compare_latencies(bench: Bench) -> Comparison:
    """Compare how long a trade takes from the producer to its COMMIT, while trades arrive at a rate."""
    results: Results = {SCRIPT: [], SINK: []}
    for _ in range(bench.runs):
        for name, program in ((SCRIPT, _SCRIPT), (SINK, _SINK)):
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
                producing = replace(task, kafka={"bootstrap.servers": bench.services.bootstrap_servers})
                measure("contenders_sending.pace", producing)
                results[name].append(reading.result())
    title = f"Milliseconds from sending to COMMIT at {LATENCY_RATE:,} records/s"
    return Comparison(title, results, (), has_latencies=True)
