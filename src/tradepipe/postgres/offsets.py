"""Stored offsets and ownership of partitions: epochs and compare-and-set."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import dialect, insert

from tradepipe.errors import TopicUnusable, TradepipeError
from tradepipe.postgres import pooler
from tradepipe.postgres.driver import driver_cursor
from tradepipe.postgres.tables import SINK_OFFSETS


class Ownership(NamedTuple):
    """
    The right to move a partition's offset, until the next claim.

    The last claim owns the partition: an owner of an earlier epoch finds no row
    to update and stores nothing (fencing, as in Kleppmann, "How to do
    distributed locking", 2016, with a row of PostgreSQL as the guard).
    """

    topic: str
    partition: int
    epoch: int


class ClaimResult(NamedTuple):
    """An ownership, and the offset at which its owner resumes."""

    ownership: Ownership
    next_offset: int


class OffsetRange(NamedTuple):
    """Offsets of one partition that a batch covers, from `start` up to but not including `end`."""

    ownership: Ownership
    start: int
    end: int


class Fenced(TradepipeError):
    """Another sink has claimed a partition, or its offset was reset."""

    def __init__(self, ownership: Ownership) -> None:
        self.ownership = ownership
        super().__init__(
            f"{ownership.topic}[{ownership.partition}] was claimed by another sink or reset: "
            f"epoch {ownership.epoch} has ended"
        )


def claim(
    connection: sa.Connection, group: str, *, topic: str, partition: int, topic_id: str | None, start: int, owner: str
) -> ClaimResult:
    """
    Claim a partition; COMMIT fences every earlier owner.

    A group that never stored the partition starts at `start`. Waits for a batch
    that the previous owner is committing.

    Raises:
        TopicUnusable: the offset was stored for another topic of this name.
    """
    values = {"topic_id": topic_id, "start": start, "owner": owner}
    row = connection.execute(_CLAIM, {"group": group, "topic": topic, "partition": partition, **values}).one()
    if topic_id is not None and row.topic_id != topic_id:
        raise TopicUnusable(
            f"topic {topic} was recreated: the group {group} stored its offsets for topic id {row.topic_id}, "
            f"and the topic's id is now {topic_id}; choose where to resume: tradepipe sink offsets reset "
            f"--topic {topic} --group {group} --to earliest|latest|TIME|NUMBER"
        )
    return ClaimResult(Ownership(topic, partition, row.epoch), row.next_offset)


def advance(
    connection: sa.Connection,
    group: str,
    ranges: Iterable[OffsetRange],
    *,
    topic_id: str | None = None,
    preceded_by: str | None = None,
) -> None:
    """
    Move each offset of a batch, if the stored epoch and offset are still the expected ones.

    Args:
        topic_id: stored if it was unknown at the claim.

        preceded_by: a statement to execute first, in the same round trip.

    Raises:
        Fenced: an ownership has ended; roll the transaction back.

        psycopg2.Error: the server refuses a statement, or the connection is lost.
    """
    ranges = list(ranges)
    columns = {
        "topics": [each.ownership.topic for each in ranges],
        "partitions": [each.ownership.partition for each in ranges],
        "epochs": [each.ownership.epoch for each in ranges],
        "starts": [each.start for each in ranges],
        "ends": [each.end for each in ranges],
    }
    statements = f"{preceded_by}; {_EXECUTE}" if preceded_by else _EXECUTE
    with driver_cursor(connection) as cursor:
        # One statement for all partitions, prepared once for each connection: its planning takes longer than its
        # execution, and the writer waits for it before it can copy. PREPARE outlasts a rollback, as the connection's
        # `info` does.
        if pooler.ADVANCE not in connection.info:
            cursor.execute(_PREPARE)
            connection.info[pooler.ADVANCE] = True
        cursor.execute(statements, {"group": group, "topic_id": topic_id, **columns})
        moved = set(cursor.fetchall())
    # Compare-and-set: a row matches only under our epoch and at the offset we read from. A sink that lost the
    # partition while it was frozen or cut off matches no row, whatever it still believes.
    for each in ranges:
        if (each.ownership.topic, each.ownership.partition) not in moved:
            raise Fenced(each.ownership)


class CommitOutcome(NamedTuple):
    """The outcome of a COMMIT without an answer: whether it took place, and the ownerships that have ended."""

    committed: bool
    lost: tuple[Ownership, ...]


def resolve_unknown_commit(connection: sa.Connection, group: str, ranges: Iterable[OffsetRange]) -> CommitOutcome:
    """
    Find out whether a batch was committed after its COMMIT got no answer.

    Locks the rows, and so waits for a COMMIT that is still running. A batch is
    one transaction: one partition that moved under our epoch proves that all did.
    """
    ranges = list(ranges)
    partitions = [(each.ownership.topic, each.ownership.partition) for each in ranges]
    rows = connection.execute(_LOCK_OFFSETS, {"group": group, "partitions": partitions})
    stored = {(row.topic, row.partition): (row.epoch, row.next_offset) for row in rows}
    committed, lost = False, []
    for each in ranges:
        found = stored.get((each.ownership.topic, each.ownership.partition))
        # An empty range ends where it starts, so it says nothing about the COMMIT.
        if found == (each.ownership.epoch, each.end) and each.end != each.start:
            committed = True
        elif found != (each.ownership.epoch, each.start):
            lost.append(each.ownership)
    return CommitOutcome(committed, tuple(lost))


def stored_offsets(connection: sa.Connection, group: str, topic: str) -> dict[int, int]:
    """Return the next offset of each partition that the group has ever claimed."""
    rows = connection.execute(_STORED_OFFSETS, {"group": group, "of_topic": topic})
    return {row.partition: row.next_offset for row in rows}


class StoredOffset(NamedTuple):
    """The stored row of one partition; `age` is the seconds since `updated_at` by the clock of the database."""

    partition: int
    next_offset: int
    epoch: int
    owner: str
    topic_id: str | None
    updated_at: datetime
    age: float


def list_offsets(connection: sa.Connection, group: str, topic: str) -> list[StoredOffset]:
    """Return the stored row of each partition that the group has ever claimed, in order."""
    rows = connection.execute(_LIST_OFFSETS, {"group": group, "of_topic": topic})
    return [StoredOffset(*row) for row in rows]


def reset(
    connection: sa.Connection,
    group: str,
    *,
    topic: str,
    topic_id: str | None,
    next_offsets: Mapping[int, int],
    owner: str,
) -> None:
    """
    Set the next offsets of a group, for the topic with this id.

    COMMIT fences every owner: a running sink finds that its ownership has ended,
    claims again, and resumes here. Waits for a batch that is being committed.
    Creates the row of a partition that was never stored.
    """
    for partition, next_offset in sorted(next_offsets.items()):
        values = {"topic_id": topic_id, "start": next_offset, "owner": owner}
        connection.execute(_RESET, {"group": group, "topic": topic, "partition": partition, **values})


FIRST_EPOCH: Final = 1
"""Epoch of the first claim of a partition by a group."""

_columns = SINK_OFFSETS.columns
_new_owner = insert(SINK_OFFSETS).values(
    group_id=sa.bindparam("group"),
    topic=sa.bindparam("topic"),
    partition=sa.bindparam("partition"),
    topic_id=sa.bindparam("topic_id"),
    epoch=FIRST_EPOCH,
    next_offset=sa.bindparam("start"),
    owner=sa.bindparam("owner"),
)
_CLAIM = _new_owner.on_conflict_do_update(
    index_elements=[column.name for column in SINK_OFFSETS.primary_key],
    set_={
        "epoch": _columns.epoch + 1,
        "owner": _new_owner.excluded.owner,
        "topic_id": sa.func.coalesce(_columns.topic_id, _new_owner.excluded.topic_id),
        "updated_at": sa.func.now(),
    },
).returning(_columns.epoch, _columns.next_offset, _columns.topic_id)
_RESET = _new_owner.on_conflict_do_update(
    index_elements=[column.name for column in SINK_OFFSETS.primary_key],
    set_={
        "epoch": _columns.epoch + 1,
        "next_offset": _new_owner.excluded.next_offset,
        "owner": _new_owner.excluded.owner,
        "topic_id": _new_owner.excluded.topic_id,
        "updated_at": sa.func.now(),
    },
)
_topics = sa.bindparam("topics", type_=sa.ARRAY(sa.Text))
_partitions = sa.bindparam("partitions", type_=sa.ARRAY(sa.Integer))
_wanted = (
    # With several arrays this is syntax, and no function of the search path.
    sa.func.unnest(
        _topics,
        _partitions,
        *(sa.bindparam(name, type_=sa.ARRAY(sa.BigInteger)) for name in ("epochs", "starts", "ends")),
    )
    .table_valued("topic", "partition", "epoch", "start", "end")
    .render_derived("wanted")
)
# In the order of partitions, as every statement that locks these rows: if one sink locked partition 0 before 1 and
# another 1 before 0, PostgreSQL would abort one of them as a deadlock. The UPDATE alone would lock in any order.
_locked = (
    sa.select(_columns.topic, _columns.partition)
    .where(_columns.group_id == sa.bindparam("group"))
    .where(_columns.topic == sa.func.any(_topics), _columns.partition == sa.func.any(_partitions))
    .order_by(_columns.topic, _columns.partition)
    .with_for_update(key_share=True)  # the lock that an UPDATE takes
    .cte("locked")
)
_ADVANCE = (
    sa.update(SINK_OFFSETS)
    .where(_columns.group_id == sa.bindparam("group"))
    .where(_columns.topic == _locked.columns.topic, _columns.partition == _locked.columns.partition)
    .where(_columns.topic == _wanted.columns.topic, _columns.partition == _wanted.columns.partition)
    .where(_columns.epoch == _wanted.columns.epoch, _columns.next_offset == _wanted.columns.start)
    .values(
        next_offset=_wanted.columns.end,
        topic_id=sa.func.coalesce(_columns.topic_id, sa.bindparam("topic_id", type_=sa.Text)),
        updated_at=sa.func.now(),
    )
    .returning(_columns.topic, _columns.partition)
)
_compiled = _ADVANCE.compile(dialect=dialect(paramstyle="numeric_dollar"))  # type: ignore[no-untyped-call]  # untyped
_PREPARE: Final = f"PREPARE {pooler.ADVANCE} AS {_compiled}"
_EXECUTE: Final = f"EXECUTE {pooler.ADVANCE}({', '.join(f'%({name})s' for name in _compiled.positiontup or ())})"
_LOCK_OFFSETS = (
    sa.select(_columns.topic, _columns.partition, _columns.epoch, _columns.next_offset)
    .where(_columns.group_id == sa.bindparam("group"))
    .where(sa.tuple_(_columns.topic, _columns.partition).in_(sa.bindparam("partitions", expanding=True)))
    .order_by(_columns.topic, _columns.partition)
    .with_for_update()
)
_STORED_OFFSETS = (
    sa.select(_columns.partition, _columns.next_offset)
    .where(_columns.group_id == sa.bindparam("group"))
    .where(_columns.topic == sa.bindparam("of_topic"))
)
_LIST_OFFSETS = (
    sa.select(
        _columns.partition,
        _columns.next_offset,
        _columns.epoch,
        _columns.owner,
        _columns.topic_id,
        _columns.updated_at,
        sa.func.greatest(
            0.0, sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp() - _columns.updated_at), sa.Double)
        ),
    )
    .where(_columns.group_id == sa.bindparam("group"))
    .where(_columns.topic == sa.bindparam("of_topic"))
    .order_by(_columns.partition)
)
