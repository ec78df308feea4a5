"""Records that were not stored, kept with their bytes and all that speaks against them."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.postgresql import insert

from tradepipe.contract.refusal import Refusal
from tradepipe.postgres.tables import TRADE_REFUSALS


def record(connection: Connection, refusals: Sequence[Refusal], *, group: str, topic_id: str | None) -> None:
    """Keep refusals; one that is kept already, by a group that read the topic before, stays as it is."""
    if refusals:
        connection.execute(_RECORD, [_row(refusal, group, topic_id) for refusal in refusals])


def between(
    connection: Connection, first: int, end: int, *, topic: str, topic_id: str | None, partition: int
) -> list[int]:
    """The offsets from `first` up to, but without, `end` at which a partition's records were refused, in order."""
    place = {"of_topic": topic, "of_topic_id": topic_id or "", "of_partition": partition}
    return list(connection.scalars(_BETWEEN, {**place, "first": first, "end": end}))


def _row(refusal: Refusal, group: str, topic_id: str | None) -> dict[str, object]:
    record = refusal.record
    return {
        "topic": record.topic,
        "topic_id": topic_id or "",
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key,
        "value": record.value,
        "codes": [_storable(code) for code in refusal.codes],
        "details": [_storable(detail) for detail in refusal.details],
        "schema_id": _storable_id(refusal.schema_id),
        "group_id": group,
    }


def _storable(text: str) -> str:
    """Text as PostgreSQL takes it: a detail may quote what made the record unfit, NUL and surrogates too."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _storable_id(schema_id: int | None) -> int | None:
    """A frame has room for ids that no registry gives and no column takes; the value's bytes tell such a one."""
    return schema_id if schema_id is not None and schema_id < 2**31 else None


_RECORD = insert(TRADE_REFUSALS).on_conflict_do_nothing(
    index_elements=[column.name for column in TRADE_REFUSALS.primary_key]
)
_BETWEEN = (
    select(TRADE_REFUSALS.columns.offset)
    .where(TRADE_REFUSALS.columns.topic == bindparam("of_topic"))
    .where(TRADE_REFUSALS.columns.topic_id == bindparam("of_topic_id"))
    .where(TRADE_REFUSALS.columns.partition == bindparam("of_partition"))
    .where(TRADE_REFUSALS.columns.offset >= bindparam("first"))
    .where(TRADE_REFUSALS.columns.offset < bindparam("end"))
    .order_by(TRADE_REFUSALS.columns.offset)
)
