"""Command `tradepipe sink offsets`: show and reset what a group has stored."""

import getpass
import json
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.deadline import RetryUntil
from tradepipe.cli.logs import configure
from tradepipe.cli.options import (
    DEADLINE,
    TOPIC,
    BootstrapServers,
    Database,
    DeadlineSeconds,
    Debug,
    LogLevel,
    Properties,
    Topic,
)
from tradepipe.cli.parsing import kafka_config, parse_time
from tradepipe.cli.terminal import format_table
from tradepipe.errors import ConfigurationError, OffsetOutOfRange, Unavailable
from tradepipe.kafka.admin import Topic as Described
from tradepipe.kafka.admin import TopicAdmin, Watermarks
from tradepipe.postgres import offsets as kept
from tradepipe.postgres.offsets import StoredOffset

app = command_line("How far a group has stored a topic, and from where it goes on.")

GROUP: Final = "tradepipe-sink"
UNKNOWN: Final = "-"

GroupName = Annotated[
    str,
    typer.Option(
        "--group",
        envvar="TRADEPIPE_GROUP",
        metavar="NAME",
        help="The consumer group; sinks of one group share the work.",
    ),
]
Format = Annotated[
    Literal["text", "json"],
    typer.Option("--format", envvar="TRADEPIPE_FORMAT", metavar="text|json", help="How to print it."),
]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="WHERE",
        help="earliest, latest, a time such as 2025-06-01T08:00:00Z, or an offset: what is stored next.",
        show_default=False,
    ),
]
Partitions = Annotated[
    list[int] | None,
    typer.Option(
        "--partition", min=0, metavar="N", help="Only this one; may be repeated. [default: all]", show_default=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be changed, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; without a terminal nothing is asked anyway.")]

Target = Literal["earliest", "latest"] | datetime | int


@app.command()
def show(
    *,
    bootstrap_servers: BootstrapServers,
    database: Database,
    topic: Topic = TOPIC,
    group: GroupName = GROUP,
    style: Format = "text",
    properties: Properties = None,
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """
    Show the offsets that are stored, the extent of the log, and the lag.

    While Kafka is away it shows what PostgreSQL knows.
    """
    configure("debug" if verbose else log_level)
    patience = RetryUntil(deadline)
    positions = patience(lambda: _positions(database, group, topic, patience))
    admin = TopicAdmin(kafka_config(bootstrap_servers, properties), request_timeout=patience.call_timeout)
    described, extents, notes = _query_kafka(admin, topic)
    found = build_report(group, topic, described, positions, extents)
    notes += found.problems
    if style == "json":
        typer.echo(json.dumps({**found.document(), "notes": notes}, indent=2))
        return
    typer.echo(found.text())
    for note in notes:
        typer.echo(f"Note: {note}", err=True)


@app.command()
def reset(
    *,
    bootstrap_servers: BootstrapServers,
    database: Database,
    to: To,
    partitions: Partitions = None,
    topic: Topic = TOPIC,
    group: GroupName = GROUP,
    dry_run: DryRun = False,
    yes: Yes = False,
    properties: Properties = None,
    deadline: DeadlineSeconds = DEADLINE,
    log_level: LogLevel = None,
    verbose: Debug = False,
) -> None:
    """
    Choose from where a group goes on: of this topic, even if it was created anew.

    Sinks that run are fenced first, and go on from there by themselves. Trades
    that are stored already are replayed: nothing is written twice.
    """
    configure("debug" if verbose else log_level)
    place = _parse_target(to)
    patience = RetryUntil(deadline)
    admin = TopicAdmin(kafka_config(bootstrap_servers, properties), request_timeout=patience.call_timeout)
    described = patience(lambda: admin.describe(topic))
    chosen = _select_partitions(described, partitions, place)
    targets = patience(lambda: _targets(admin, topic, chosen, place))
    before = {each.partition: each for each in patience(lambda: _positions(database, group, topic, patience))}
    typer.echo(_plan(before, targets))
    if dry_run or not (yes or _confirm(f"Reset the offsets of group {group} for topic {topic}?")):
        typer.echo("nothing was changed")
        return
    patience(lambda: _reset(database, group, described, targets, patience))
    typer.echo(f"group {group} goes on from there with topic {topic}; a sink that runs does so within seconds")


def _positions(database: str, group: str, topic: str, patience: RetryUntil) -> list[StoredOffset]:
    with kept.offsets_connection(database, seconds=patience.call_timeout) as connection:
        return kept.list_offsets(connection, group, topic)


def _reset(database: str, group: str, described: Described, targets: Mapping[int, int], patience: RetryUntil) -> None:
    with kept.offsets_connection(database, seconds=patience.call_timeout) as connection:
        kept.reset(
            connection,
            group,
            topic=described.name,
            topic_id=described.topic_id,
            next_offsets=targets,
            owner=f"reset by {_operator()}",
        )


def _confirm(question: str) -> bool:
    """Whether a person says yes; where none is there, nobody has to."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # the end of the input, by Ctrl-D
        typer.echo(err=True)
        return False


def _operator() -> str:
    name = "someone"
    with suppress(KeyError, OSError):  # a container's user may have no name
        name = getpass.getuser()
    return f"{name}@{socket.gethostname()}"


def _query_kafka(admin: TopicAdmin, topic: str) -> tuple[Described | None, dict[int, Watermarks], list[str]]:
    """What Kafka says now; asked once, since what PostgreSQL knows is worth showing without it."""
    try:
        described = admin.describe(topic)
        return described, admin.watermarks(topic, described.partitions), []
    except Unavailable as error:
        return None, {}, [f"Kafka is away, so this is only what PostgreSQL knows: {error}"]
    except ConfigurationError as error:
        return None, {}, [f"this is only what PostgreSQL knows: {error}"]


def _parse_target(text: str) -> Target:
    if text == "earliest":
        return "earliest"
    if text == "latest":
        return "latest"
    # Before a time: 20250601 is a date as well, to ISO 8601.
    if text.isascii() and text.isdigit():
        return int(text)
    if (time := parse_time(text)) is not None:
        return time
    raise typer.BadParameter(
        f"it is earliest, latest, a time such as 2025-06-01T08:00:00Z, or an offset, not {text!r}",
        param_hint="'--to'",
    )


def _select_partitions(described: Described, partitions: list[int] | None, place: Target) -> list[int]:
    there = described.partitions
    if unknown := sorted(set(partitions or ()) - set(there)):
        raise typer.BadParameter(
            f"topic {described.name} has no partition {unknown[0]}, its partitions are {there[0]} to {there[-1]}",
            param_hint="'--partition'",
        )
    if isinstance(place, int) and not partitions and len(there) > 1:
        raise typer.BadParameter(
            f"an offset is of one partition, and topic {described.name} has {len(there)}: say which by --partition",
            param_hint="'--to'",
        )
    return sorted(set(partitions or there))


def _targets(admin: TopicAdmin, topic: str, partitions: list[int], place: Target) -> dict[int, int]:
    """The offset of each partition; raises `OffsetOutOfRange` for one that is not in the log."""
    if isinstance(place, datetime):
        return admin.offsets_for_time(topic, partitions, int(place.timestamp() * 1000))
    extents = admin.watermarks(topic, partitions)
    if not isinstance(place, int):
        return {number: extent.low if place == "earliest" else extent.high for number, extent in extents.items()}
    for number, extent in extents.items():
        if not extent.low <= place <= extent.high:
            raise OffsetOutOfRange(
                f"offset {place} is not in {topic}[{number}], whose log reaches from {extent.low} to {extent.high}"
            )
    return dict.fromkeys(extents, place)


def _plan(before: Mapping[int, StoredOffset], targets: Mapping[int, int]) -> str:
    rows = [
        (str(number), str(before[number].next_offset) if number in before else UNKNOWN, str(after))
        for number, after in sorted(targets.items())
    ]
    return format_table(("partition", "before", "after"), rows)


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
    described: Described | None
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
            f"partition {line.partition}: {doubt}; decide where to go on: tradepipe sink offsets reset "
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
    described: Described | None,
    positions: Sequence[StoredOffset],
    extents: Mapping[int, Watermarks],
) -> OffsetsReport:
    """Put the two together, by partition."""
    stored = {position.partition: position for position in positions}
    numbers = sorted(stored.keys() | extents.keys())
    return OffsetsReport(
        group, topic, described, [PartitionRow(each, stored.get(each), extents.get(each)) for each in numbers]
    )


def _find_problems(line: PartitionRow, described: Described | None) -> Iterator[str]:
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
