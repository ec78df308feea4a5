"""Where a group stands in a topic: what PostgreSQL keeps beside what Kafka holds."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, Final, NamedTuple

from tradepipe.cli.terminal import format_table
from tradepipe.kafka.admin import Topic, Watermarks
from tradepipe.postgres.offsets import StoredOffset

UNKNOWN: Final = "-"


class PartitionRow(NamedTuple):
    """One partition: what is stored of it, and where its log begins and ends, as far as either is known."""

    partition: int
    position: StoredOffset | None
    watermarks: Watermarks | None

    @property
    def lag(self) -> int | None:
        """Offsets that are not stored yet, those that the log has dropped included."""
        if self.watermarks is None:
            return None
        return max(0, self.watermarks.high - (self.position.next_offset if self.position else self.watermarks.low))


class OffsetsReport(NamedTuple):
    """A group's partitions of a topic; `described` is None where Kafka could not be asked."""

    group: str
    topic: str
    described: Topic | None
    lines: Sequence[PartitionRow]

    @property
    def lag(self) -> int | None:
        """That of all partitions for which it is known."""
        known = [line.lag for line in self.lines if line.lag is not None]
        return sum(known) if known else None

    @property
    def problems(self) -> list[str]:
        """What keeps a sink from going on, and the command that decides."""
        return [
            f"partition {line.partition}: {doubt}; decide where to go on: python -m tradepipe.sink offsets reset "
            f"--topic {self.topic} --group {self.group} --partition {line.partition} --to earliest|latest|TIME|NUMBER"
            for line in self.lines
            for doubt in _find_problems(line, self.described)
        ]

    def text(self) -> str:
        """A table, below a line that sums it up."""
        lag = "lag unknown" if self.lag is None else f"lag {self.lag:,}"
        nothing = "" if any(line.position for line in self.lines) else ", nothing stored yet"
        headings = ("partition", "next offset", "log begin", "log end", "lag", "epoch", "updated", "owner")
        table = [format_table(headings, [_row(line) for line in self.lines], left={7})] if self.lines else []
        return "\n".join([f"group {self.group}, topic {self.topic}: {lag}{nothing}", *table])

    def document(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "group": self.group,
            "topic": self.topic,
            "topic_id": self.described.topic_id if self.described else None,
            "lag": self.lag,
            "partitions": [_entry(line) for line in self.lines],
        }


def build_report(
    group: str,
    topic: str,
    described: Topic | None,
    positions: Sequence[StoredOffset],
    extents: Mapping[int, Watermarks],
) -> OffsetsReport:
    """Put the two together, by partition."""
    stored = {position.partition: position for position in positions}
    numbers = sorted(stored.keys() | extents.keys())
    return OffsetsReport(
        group, topic, described, [PartitionRow(each, stored.get(each), extents.get(each)) for each in numbers]
    )


def _find_problems(line: PartitionRow, described: Topic | None) -> Iterator[str]:
    if line.position is None or described is None:
        return
    if line.position.topic_id and described.topic_id and line.position.topic_id != described.topic_id:
        yield "its offset is that of an earlier topic of this name"
    elif line.watermarks is None:
        yield "the topic has no such partition any more"
    elif line.position.next_offset < line.watermarks.low:
        yield f"the log begins at {line.watermarks.low}, records before that are lost"
    elif line.position.next_offset > line.watermarks.high:
        yield f"the log ends at {line.watermarks.high}, before what was stored of it"


def _row(line: PartitionRow) -> tuple[str, ...]:
    position, extent = line.position, line.watermarks
    return (
        str(line.partition),
        str(position.next_offset) if position else UNKNOWN,
        str(extent.low) if extent else UNKNOWN,
        str(extent.high) if extent else UNKNOWN,
        UNKNOWN if line.lag is None else str(line.lag),
        str(position.epoch) if position else UNKNOWN,
        f"{_age(position.age)} ago" if position else UNKNOWN,
        position.owner if position else UNKNOWN,
    )


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _entry(line: PartitionRow) -> dict[str, Any]:
    position, extent = line.position, line.watermarks
    return {
        "partition": line.partition,
        "next_offset": position.next_offset if position else None,
        "log_begin": extent.low if extent else None,
        "log_end": extent.high if extent else None,
        "lag": line.lag,
        "epoch": position.epoch if position else None,
        "owner": position.owner if position else None,
        "topic_id": position.topic_id if position else None,
        "updated_at": position.updated_at.astimezone(UTC).isoformat() if position else None,
        "age_seconds": round(position.age, 3) if position else None,
    }
