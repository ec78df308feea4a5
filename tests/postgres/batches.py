"""Batches for tests."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, func, select, text

from tradepipe.codec.copy_rows import pack_row
from tradepipe.postgres import batch as module
from tradepipe.postgres import offsets, session
from tradepipe.postgres.batch import Batch, BatchResult
from tradepipe.postgres.offsets import ClaimResult, OffsetRange
from tradepipe.postgres.session import create_engine_for
from tradepipe.postgres.tables import SINK_OFFSETS, TRADE_REFUSALS, TRADES
from tradepipe.trade.model import Trade
from tradepipe.trade.record import Record, Refusal, Violation
from tradepipe.trade.records import Run
from tradepipe.trade.validated import ValidatedRecords, ValidRecord

GROUP, TOPIC, TOPIC_ID = "tests", "trades", "an-id"


@contextmanager
def connected(database: str) -> Iterator[Connection]:
    """Open a session that can store batches."""
    engine = create_engine_for(database, application_name="test", connect_timeout=60.0)
    connection = session.open_session(engine)
    try:
        yield connection
    finally:
        connection.close()


def trade(trade_id: str = "T1", version: int = 1, **fields: Any) -> Trade:
    """Return a valid trade."""
    given = {"maturity_date": date(2030, 1, 1), "created_at": datetime(2025, 6, 1, tzinfo=UTC), **fields}
    return Trade(trade_id, version, given.pop("counterparty_id", "CP-1"), given.pop("book_id", "B1"), **given)


def record(offset: int, partition: int = 0) -> Record:
    """Build the record at an offset."""
    return Record(TOPIC, partition, offset, b"key", b"value")


def accepted(offset: int, of: Trade, partition: int = 0) -> ValidRecord:
    """Build the valid record of a trade at an offset."""
    return valid(record(offset, partition), of)


def valid(of: Record, trade: Trade, schema_id: int = 1) -> ValidRecord:
    """Build the valid record of a trade."""
    return ValidRecord(of, pack_row(of, schema_id, trade), trade)


def validated(*entries: ValidRecord | Refusal) -> ValidatedRecords:
    """Join records as a sink's reader does."""
    trades = {entry.record: entry.trade for entry in entries if isinstance(entry, ValidRecord)}
    joined = ValidatedRecords(trades.__getitem__)
    for entry in entries:
        if isinstance(entry, Refusal):
            joined.add_refusal(entry, entry.record.payload_bytes)
        else:
            joined.add_valid(Run.of([entry.record]), [entry.row])
    return joined


def refusal(offset: int, partition: int = 0, code: str = "BAD", detail: str = "it is bad") -> Refusal:
    """Build the refusal of a record at an offset."""
    return Refusal(record(offset, partition), (Violation(code, detail),), 1)


def log(*trades: Trade | None, first: int = 0, partition: int = 0) -> list[ValidRecord | Refusal]:
    """Build validated records at consecutive offsets; None is a refused one."""
    return [
        accepted(offset, each, partition) if each is not None else refusal(offset, partition)
        for offset, each in enumerate(trades, first)
    ]


def claim(
    connection: Connection, partition: int = 0, *, group: str = GROUP, start: int = 0, **given: Any
) -> ClaimResult:
    """Claim a partition, without COMMIT."""
    given = {"topic": TOPIC, "topic_id": TOPIC_ID, "owner": "test", **given}
    return offsets.claim(connection, group, partition=partition, start=start, **given)


def batch(
    *claims: ClaimResult, entries: Iterable[ValidRecord | Refusal], after: int | None = None, group: str = GROUP
) -> Batch:
    """Build a batch from the next offset of each claim to the end of its last record, or to `after`."""
    entries = list(entries)
    spans = []
    for ownership, next_offset in claims:
        ends = [entry.record.offset + 1 for entry in entries if entry.record.partition == ownership.partition]
        spans.append(OffsetRange(ownership, next_offset, max(ends) if after is None else after))
    return Batch(group, TOPIC_ID, tuple(spans), validated(*entries))


def store(connection: Connection, *entries: ValidRecord | Refusal, group: str = GROUP, **options: Any) -> BatchResult:
    """Claim the partitions of some records, store them as one batch, and commit."""
    with connection.begin():
        begins: dict[int, int] = {}
        for entry in entries:
            begins.setdefault(entry.record.partition, entry.record.offset)
        claims = [claim(connection, part, group=group, start=begin) for part, begin in begins.items()]
        for each in claims:
            offsets.advance(connection, group, [OffsetRange(*each, begins[each.ownership.partition])])
        moved = [each._replace(next_offset=begins[each.ownership.partition]) for each in claims]
        return module.store(connection, batch(*moved, entries=entries, group=group), **options)


def counts(stored: BatchResult) -> tuple[int, int, int]:
    """Return the numbers of inserted, duplicate and refused records."""
    return stored.inserted, stored.duplicates, len(stored.refusals)


def places(connection: Connection) -> dict[tuple[str, int], int]:
    """Return the source offset of each stored trade."""
    columns = TRADES.columns
    rows = connection.execute(select(columns.trade_id, columns.version, columns.source_offset)).all()
    connection.rollback()
    return {(row.trade_id, row.version): row.source_offset for row in rows}


def trades(connection: Connection) -> list[Trade]:
    """Return the trades of the table in the order of the key."""
    rows = connection.execute(select(*(TRADES.columns[field] for field in Trade._fields))).all()
    connection.rollback()
    return sorted(Trade(*row) for row in rows)


def refused(connection: Connection) -> dict[int, list[str]]:
    """Return the codes of the refusal at each offset."""
    columns = TRADE_REFUSALS.columns
    rows = connection.execute(select(columns.offset, columns.codes).order_by(columns.offset)).all()
    connection.rollback()
    return {row.offset: row.codes for row in rows}


def is_waiting(connection: Connection) -> bool:
    """Return whether a session waits for a lock."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with connection.begin():
        return bool(connection.scalar(text(waits)))


def next_offset(connection: Connection, partition: int = 0) -> int | None:
    """Return the next offset of the group."""
    columns = SINK_OFFSETS.columns
    found: int | None = connection.scalar(
        select(columns.next_offset).where(columns.partition == partition, columns.group_id == GROUP)
    )
    connection.rollback()
    return found


def count(connection: Connection, table: Any) -> int:
    """Count the rows of a table."""
    found: int = connection.scalar(select(func.count()).select_from(table))
    connection.rollback()
    return found


def execute(connection: Connection, *statements: str) -> None:
    """Run statements and commit."""
    with connection.begin():
        for statement in statements:
            connection.execute(text(statement))
