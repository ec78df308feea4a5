"""Where a group goes in that was never there."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from tradepipe.kafka.topics import Extent, Topics

Start = Literal["earliest", "latest"] | datetime
"""The first record, behind the last, or the first that is not older."""


def offsets(start: Start, topics: Topics, topic: str, extents: Mapping[int, Extent]) -> dict[int, int]:
    """
    The offsets of a start, by partition.

    Raises:
        BrokerAway, Misconfigured: as the methods of `Topics`.
    """
    if isinstance(start, datetime):
        return topics.offsets_at(topic, list(extents), int(start.timestamp() * 1000))
    return {number: extent.end if start == "latest" else extent.begin for number, extent in extents.items()}
