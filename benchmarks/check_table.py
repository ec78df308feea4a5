"""Comparison of a database with the acknowledged records of a topic."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import psycopg2

from benchmarks.publish_trades import Published
from tradepipe import Trade
from tradepipe.trade.samples import trades


class Verdict(NamedTuple):
    """
    The sink's whole promise, as figures.

    `same_content` says that the trades in the table are those that were made:
    every field of every one.
    """

    rows: int
    missing: int
    refusals: int
    same_content: bool
    at_end: bool

    @property
    def holds(self) -> bool:
        """Return whether every acknowledged trade is stored once, without refusals, and all offsets are at the end."""
        return (self.missing, self.refusals, self.same_content, self.at_end) == (0, 0, True, True)


def verdict(published: Published, database: str, group: str) -> Verdict:
    """Compare a database with a topic."""
    connection = psycopg2.connect(database)
    try:
        rows, refusals = _one(connection, "SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM trade_refusals)")
        same = _sum(_stored(connection)) == _sum(islice(trades(published.seed), published.count))
        at_end = _next_offsets(connection, published.topic, group) == published.ends
        return Verdict(rows, published.count - rows, refusals, same, at_end)
    finally:
        connection.close()


def _one(connection, query):
    cursor = connection.cursor()
    cursor.execute(query)
    return cursor.fetchone()


def _stored(connection) -> Iterable[Trade]:
    # A named cursor: the rows stay on the server and are fetched in portions.
    cursor = connection.cursor("stored")
    cursor.itersize = 20_000
    cursor.execute(f"SELECT {', '.join(Trade._fields)} FROM trades")
    return map(Trade._make, cursor)


def _sum(found: Iterable[Trade]) -> int:
    """Return a checksum, independent of the order, that detects lost, duplicate and changed trades."""
    return sum(hash(trade) for trade in found)


def _next_offsets(connection, topic: str, group: str) -> dict[int, int]:
    cursor = connection.cursor()
    cursor.execute("SELECT partition, next_offset FROM sink_offsets WHERE topic = %s AND group_id = %s", (topic, group))
    return dict(cursor.fetchall())
