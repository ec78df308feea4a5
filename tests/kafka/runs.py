"""Runs of records at given places."""

from collections.abc import Sequence

from tradepipe.trade.record import Record
from tradepipe.trade.records import Records, Run


def runs_at(partitions: Sequence[int], offsets: Sequence[int]) -> list[Run]:
    """Return records of partitions and offsets in runs."""
    places = zip(partitions, offsets, strict=True)
    return Records.of(Record("trades", *place, b"key", b"value") for place in places).runs
