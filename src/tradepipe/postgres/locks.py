"""The sessions that hold a lock which another session has waited for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg2
from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import SQLAlchemyError

from tradepipe.postgres.revision import VERSION_TABLE
from tradepipe.postgres.tables import METADATA

MAX_LOCK_SECONDS: Final = 5.0
"""Longest wait for a lock by a command that reads or resets."""

MAX_NAMED: Final = 3
"""Sessions that a message names."""

_HOLDERS: Final = """
    SELECT DISTINCT session.pid, session.usename, session.application_name, session.xact_start, held.mode
      FROM pg_catalog.pg_locks AS held JOIN pg_catalog.pg_stat_activity AS session ON session.pid = held.pid
     WHERE held.granted AND held.pid <> pg_catalog.pg_backend_pid() AND {}
     ORDER BY session.xact_start, session.pid
"""
_TABLE_HOLDERS: Final = text(_HOLDERS.format("held.relation = ANY (CAST(:tables AS pg_catalog.oid[]))"))
_ADVISORY_HOLDERS: Final = _HOLDERS.format(
    # A lock by a bigint key is listed with the halves of the key.
    "held.locktype = 'advisory' AND held.objsubid = 1::smallint AND held.database = "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND "
    "(held.classid::bigint << 32) | held.objid::bigint = {}::bigint"
)
_OID: Final = text("SELECT pg_catalog.to_regclass(:name)::oid")

# Of the locks of whole tables, the first one keeps everyone out, and the next ones all who write. All who write hold
# the last ones, so then it is a row that is locked.
_EXCLUSIVE: Final = frozenset({"AccessExclusiveLock"})
_AGAINST_WRITERS: Final = frozenset({"ExclusiveLock", "ShareRowExclusiveLock", "ShareLock"})
_OF_WRITERS: Final = frozenset({"RowExclusiveLock", "RowShareLock"})


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether a statement was cancelled because it waited too long for a lock."""
    return isinstance(getattr(error, "orig", error), LockNotAvailable)


def limit_lock_waits(connection: Connection, seconds: float) -> None:
    """Cancel statements of this transaction that wait for a lock, in time for a message within `seconds`."""
    milliseconds = max(1, int(min(MAX_LOCK_SECONDS, seconds / 2) * 1000))
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")


@contextmanager
def name_lock_holders(connection: Connection) -> Iterator[None]:
    """Add a note to a lock timeout in the block, which is a transaction: the sessions that hold the tables' locks."""
    try:
        yield
    except (SQLAlchemyError, psycopg2.Error) as error:
        if is_lock_timeout(error):
            with suppress(SQLAlchemyError, psycopg2.Error), connection.begin():
                error.add_note(_describe_blockers(_table_holders(connection)))
        raise


def describe_table_holders(connection: Connection) -> str:
    """Name the sessions that hold any lock of tradepipe's tables, the one with the oldest transaction first."""
    return _describe(_table_holders(connection))


def describe_advisory_holders(connection: Connection, key: str) -> str:
    """Name the sessions that hold an advisory lock; `key` is an SQL expression."""
    return _describe(connection.execute(text(_ADVISORY_HOLDERS.format(key))).all())


def _table_holders(connection: Connection) -> list[Row[Any]]:
    names = (*METADATA.tables, VERSION_TABLE, "current_trades")
    oids = [connection.scalar(_OID, {"name": name}) for name in names]
    return [*connection.execute(_TABLE_HOLDERS, {"tables": [oid for oid in oids if oid is not None]})]


def _describe_blockers(holders: list[Row[Any]]) -> str:
    """Name the sessions with the strongest locks."""
    for modes in (_EXCLUSIVE, _AGAINST_WRITERS):
        if found := [row for row in holders if row.mode in modes]:
            return f"the tables are locked: {_describe(found)}"
    # Which of those who write has locked the row is not in pg_locks.
    return f"a row is locked, probably by {_describe([row for row in holders if row.mode in _OF_WRITERS])}"


def _describe(holders: Sequence[Row[Any]]) -> str:
    sessions = {}
    for row in holders:
        # Only members of pg_read_all_stats see the transactions of other users.
        since = f", in a transaction since {row.xact_start:%Y-%m-%d %H:%M:%S%z}" if row.xact_start else ""
        application = row.application_name or "without application_name"
        sessions[row.pid] = f"process {row.pid} of user {row.usename}, {application}{since}"
    return "; ".join([*sessions.values()][:MAX_NAMED]) or "a session that has ended meanwhile"
