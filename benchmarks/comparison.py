"""What is compared, and what all comparisons share."""

import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

import psycopg2

from benchmarks.contender import Result, Task, measure
from benchmarks.contenders_storing import encode_rows
from benchmarks.publish_trades import Published, task_of
from benchmarks.scratch_database import fresh_database
from tests.services.real import RealServices
from tradepipe.trade.samples import trades

STRAIGHT: Final = "PostgreSQL alone, straight COPY"
STAGING: Final = "PostgreSQL alone, through a staging table"
SINK: Final = "sink"

LIMITS: Final = {STRAIGHT: "contenders_storing.copy_straight", STAGING: "contenders_storing.copy_through_staging"}

Results = dict[str, list[Result]]
"""The results of each contender, run by run."""

_CONTENT: Final = """
SELECT count(*), count(notional), sum(hashtextextended(
    concat_ws(' ', trade_id, version, counterparty_id, book_id, maturity_date, {micros}, side,
        coalesce(notional::text, '-'), coalesce(currency, '-')), 0))
FROM trades
"""


class Comparison(NamedTuple):
    """
    A group of contenders that were measured in turn.

    Attributes:
        references: the contenders with which the others are compared.

        notes: what else was observed.

        has_latencies: whether latencies were measured, instead of rates.
    """

    title: str
    results: Results
    references: tuple[str, ...]
    notes: tuple[str, ...] = ()
    has_latencies: bool = False


class Content(NamedTuple):
    """The number of trades, of those with a notional, and a checksum of all values, independent of the order."""

    trades: int
    notionals: int
    checksum: Decimal


@dataclass
class Bench:
    """
    What the comparisons share.

    Attributes:
        folder: a temporary folder for encoded rows.
    """

    services: RealServices
    published: Published
    runs: int
    folder: Path
    _expected: dict[int, Content] = field(default_factory=dict)

    def task(self) -> Task:
        """Return a task that reads the topic, in a new group."""
        return task_of(self.published)

    def new_topic(self) -> str:
        """Create an empty topic."""
        topic = f"bench-{uuid.uuid4().hex[:8]}"
        self.services.create_topic(topic, partitions=len(self.published.ends))
        return topic

    def encoded(self, task: Task, *, every: int = 1) -> Task:
        """Return a task with a file of rows, of every n-th trade; it is written once."""
        path = self.folder / f"{task.seed}-{task.count}-{every}"
        if not path.exists():
            made = (trade for number, trade in enumerate(trades(task.seed)) if number % every == 0)
            encode_rows(replace(task, count=task.count // every), made, path)
        return replace(task, rows=str(path))

    def expected_content(self, task: Task) -> Content:
        """Return what the table contains when all trades of a task are stored."""
        if task.count not in self._expected:
            with fresh_database(self.services) as database:
                measure(LIMITS[STRAIGHT], self.encoded(replace(task, database=database)))
                self._expected[task.count] = content(database)
        return self._expected[task.count]


def ratios(results: Results, name: str, reference: str) -> list[float]:
    """Return the rate of a contender in each run, relative to that of another."""
    return [each.rate / other.rate for each, other in zip(results[name], results[reference], strict=True)]


def execute(database: str, statements: str) -> None:
    """Execute statements in one transaction."""
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(statements)
    connection.close()


def content(database: str, micros: str = "(extract(epoch FROM created_at) * 1000000)::bigint") -> Content:
    """Return what the table of trades contains, given an expression for created_at in microseconds since 1970."""
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(_CONTENT.format(micros=micros))
        found = Content._make(cursor.fetchone())
    connection.close()
    return found
